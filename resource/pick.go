// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"time"

	"github.com/apiary-go/apiary/store"
)

// pick builds the next event and marks it as outstanding. The token is nil if there is
// none. The caller holds the mutex. pick unlocks it while functions of the view run, and
// to pull keys of the replay.
func (s *subscriber[T]) pick() (event Event[T], t *token[T]) {
	s.release()
	for !s.ending {
		sl, more := s.candidate()
		if more {
			s.pull()
			continue
		}
		if sl == nil {
			break
		}
		hidden, same, ok := s.evaluate(sl)
		if !ok {
			continue
		}
		replayed := sl.flags&isReplayed != 0
		s.dequeue(sl)
		sl.flags = sl.flags&^isHidden | hidden
		if same {
			sl.seen = sl.cur
		}
		if kind, rec := s.pending(sl); kind != "" {
			if kind != Sync { // which has no turn
				s.turn++
			}
			s.picked(sl, replayed)
			return s.issue(sl, kind, rec)
		}
		s.rest(sl)
	}
	return event, nil
}

// release queues the keys whose delay is over.
func (s *subscriber[T]) release() {
	if len(s.delayed.byTime) == 0 {
		return // without reading the clock
	}
	clock, now := time.Now(), s.hub.now()
	for id, ok := s.delayed.due(clock); ok; id, ok = s.delayed.due(clock) {
		sl := s.slots.of(id)
		sl.flags &^= isDelayed
		switch {
		case id == syncID:
			s.queueSync(sl, now)
		case sl.flags&isQueued == 0:
			s.enqueue(sl, s.order.laneOfRetry(), now)
		}
	}
}

// evaluate calls the functions of the view for the current state of a key, without the
// mutex. It returns false if the state is no longer current, or if the subscription has
// ended.
func (s *subscriber[T]) evaluate(sl *slot[T]) (hidden flags, same, ok bool) {
	keep, equal := s.view.keep, s.view.same
	id, cur, last := sl.id, sl.cur, sl.seen
	if last == cur || sl.flags&(shownDeleted|mustRepeat) != 0 || last != nil && cur != nil && !cur.SameObject(last) {
		last = nil // the event is not a mere change
	}
	if cur == nil || keep == nil && (equal == nil || last == nil) {
		return 0, false, true
	}
	s.guard("filter", cur.Key(), func() {
		if keep != nil && !keep(cur.Object()) {
			hidden = isHidden
		}
		same = hidden == 0 && equal != nil && last != nil && equal(last.Object(), cur.Object())
	})
	sl = s.slots.of(id)
	return hidden, same, !s.ending && sl != nil && sl.cur == cur && sl.flags&isQueued != 0
}

// picked sets the times of an event that was built. Without metrics, since remains the
// time of the change, or of the subscription.
func (s *subscriber[T]) picked(sl *slot[T], replayed bool) {
	if s.metrics == nil {
		return
	}
	now := s.hub.now()
	if !replayed {
		s.metrics.got(now - sl.since)
	}
	sl.since = now
}

// issue makes the event and marks it as outstanding.
func (s *subscriber[T]) issue(sl *slot[T], kind EventKind, rec *store.Record[T]) (Event[T], *token[T]) {
	event := Event[T]{Kind: kind, sub: s}
	if rec != nil {
		event.Key, event.Object = rec.Key(), rec.Object()
	}
	if sl.done != nil {
		event.Old = sl.done.Object()
	}
	switch kind {
	case Upsert:
		sl.seen = rec
		sl.flags &^= shownDeleted | beforeSync
	case Delete:
		sl.flags |= shownDeleted
	case Sync:
		s.synced = true
	}
	if sl.flags&isDelayed != 0 { // emitted before its delay is over, since it changed
		s.delayed.remove(sl.id)
	}
	sl.flags = sl.flags&^(mustRepeat|isDelayed) | isIssued
	s.push(&s.issued, sl)
	s.counts.Emitted++
	t, done := s.token(sl, event.Key, kind)
	event.Done = done
	return event, t
}

// afterDone updates the key of an outstanding event after its Done.
func (s *subscriber[T]) afterDone(sl *slot[T], action ErrorAction, delay time.Duration) {
	if s.metrics != nil {
		s.metrics.finished(s.hub.now() - sl.since)
		s.wakeUp()
	}
	sl.flags &^= isIssued
	s.remove(&s.issued, sl)
	if action == ErrorActionRetry {
		s.metrics.retried()
		sl.flags |= isDelayed | mustRepeat
		s.delayed.add(sl.id, time.Now().Add(delay))
		s.wakeUp()
	} else {
		if sl.flags&shownDeleted != 0 {
			sl.flags &^= shownDeleted
			sl.seen = nil
		}
		if s.withOld {
			sl.done = sl.seen
		}
	}
	if sl.id == syncID {
		s.rest(sl)
		return
	}
	s.requeue(sl, s.order.laneOf(sl.flags&inPass != 0))
}

// withdraw queues again an event that was not received.
func (s *subscriber[T]) withdraw(t *token[T]) {
	r := t.receipt
	sl := r.slot
	t.use++
	r.slot = nil
	s.spare = append(s.spare, t)
	sl.flags &^= isIssued
	s.remove(&s.issued, sl)
	s.counts.Emitted--
	s.synced = false
	s.enqueue(sl, s.order.laneOfSync(), sl.since)
}
