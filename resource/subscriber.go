// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

// subscriber is one subscription. All of it but what is set at construction is
// guarded by hub.mu.
//
// What it has to emit, in this order: the replay, which looks at the ids from
// cursor to limit; the queue, which holds Sync and what has changed.
type subscriber[T runtime.Object] struct {
	hub     *hub[T]
	ctx     context.Context
	site    string
	keep    func(T) bool // nil keeps all
	onError ErrorHandler
	limiter workqueue.TypedRateLimiter[store.Key]
	metrics *queueMetrics

	// Where events go: one of out and next is set.
	out      chan Event[T]
	next     func(Event[T])
	complete func(error)

	wake chan struct{} // has a token when there may be something to do
	done chan struct{} // closed when the subscription has ended

	unwatch  func() bool // lets go of ctx; set at construction
	canceled bool        // ctx has ended
	entered  bool        // it is, or was, in hub.subs
	launched bool        // the goroutine runs, and will finish
	ending   bool        // done is closed
	place    int         // in hub.subs
	since    uint32      // when it subscribed
	joins    uint64      // Sync waits for this generation; 0: for nothing
	failure  error       // a panic that ended it

	calls     string // the function of the user that runs on its goroutine
	finishing uint32 // when complete was called

	cursor, limit int32

	marks   []mark // by id
	slots   slots[T]
	queue   list
	issued  list // outstanding
	retries map[int32]int
	delayed delays
	spare   []*token[T]

	// offering is the kind of the event that the goroutine offers, empty if there is
	// none. Recall is closed when the goroutine offers it no more: because Sync must
	// wait for an owed key, or because the subscription has ended.
	offering EventKind
	recall   chan struct{}
}

// slot returns the slot of a key, and one for a key that was at rest.
func (s *subscriber[T]) slot(id int32) *slot[T] {
	return s.slotAt(id, s.hub.nodes[id].current())
}

// slotAt is slot, where cur is the state in which the key may be at rest.
func (s *subscriber[T]) slotAt(id int32, cur *store.Record[T]) *slot[T] {
	if missing := int(id) + 1 - len(s.marks); missing > 0 {
		s.marks = append(s.marks, make([]mark, missing)...)
	}
	was := s.marks[id]
	if was > 0 {
		return s.slots.at(was)
	}
	m, sl := s.slots.take()
	s.marks[id] = m
	switch was {
	case shown:
		sl.seen = cur
		return sl
	case hidden:
		sl.flags = isHidden
	}
	s.hub.nodes[id].refs++
	return sl
}

// rest takes back the slot of a key for which there is nothing to do.
func (s *subscriber[T]) rest(id int32, sl *slot[T]) {
	if sl.flags&(isQueued|isIssued|isDelayed) != 0 {
		return
	}
	m := shown
	switch {
	case sl.seen != nil:
	case sl.flags&isHidden != 0:
		m = hidden
	default:
		m = unseen
	}
	s.slots.give(s.marks[id])
	s.marks[id] = m
	if m != shown {
		s.hub.nodes[id].refs--
	}
}

// moving is the slot of a key that has one.
func (s *subscriber[T]) moving(id int32) *slot[T] { return s.slots.at(s.marks[id]) }

// changed notes that the key has another state than before. What the filter says
// of it pick finds out.
func (s *subscriber[T]) changed(id int32, before *store.Record[T]) {
	if id >= s.cursor && id < s.limit {
		return // the replay will come to it
	}
	sl := s.slotAt(id, before)
	sl.flags &^= isHidden
	if sl.flags&isIssued != 0 {
		return // Done will look
	}
	s.requeue(id, sl)
}

// requeue puts the key into the queue if there is something to emit, and takes it
// out if not.
func (s *subscriber[T]) requeue(id int32, sl *slot[T]) {
	kind, _ := s.pending(id, sl)
	switch wanted := kind != ""; {
	case wanted && sl.flags&isQueued == 0:
		s.enqueue(id, s.hub.changed)
	case !wanted && sl.flags&isQueued != 0:
		s.dequeue(id)
	}
	s.rest(id, sl)
}

// current is the state of the key for this subscriber, nil if it is not there or
// not kept by the filter.
func (s *subscriber[T]) current(id int32, sl *slot[T]) *store.Record[T] {
	if sl.flags&isHidden != 0 {
		return nil
	}
	return s.hub.nodes[id].current()
}

// pending returns the event that is to be emitted of a key: none if the kind is
// empty. A key that is held back is emitted early if it changed, and only then.
func (s *subscriber[T]) pending(id int32, sl *slot[T]) (EventKind, *store.Record[T]) {
	cur := s.current(id, sl)
	last := sl.seen // what the last event showed: nothing if that was a Delete
	if sl.flags&shownDeleted != 0 {
		last = nil
	}
	switch {
	case id == syncID:
		return Sync, nil
	case cur == last && (sl.flags&isDelayed != 0 || cur != nil && sl.flags&mustRepeat == 0):
		return "", nil
	case cur == nil && sl.seen == nil:
		return "", nil
	case cur == nil, last != nil && !cur.SameObject(last):
		return Delete, sl.seen
	}
	return Upsert, cur
}

// enqueue puts id at the end of the queue, or at its head if the key is owed to
// a Sync that waits there or has yet to be received.
func (s *subscriber[T]) enqueue(id int32, now uint32) {
	sl := s.slot(id)
	owed := sl.flags&isOwed != 0
	if owed && s.offering == Sync && s.recall == nil {
		s.recall = make(chan struct{})
	}
	if owed && (s.offering == Sync || s.marks[syncID] > 0 && s.moving(syncID).flags&isQueued != 0) {
		s.pushFront(&s.queue, id)
	} else {
		s.push(&s.queue, id)
	}
	sl.flags |= isQueued
	sl.since = now
	s.metrics.added(s.queue.len)
	s.wakeUp()
}

// synced queues Sync. What has more than one event to come until it is as it is now
// (it changed while outstanding, or was created anew) goes before Sync if the Done
// of the first event comes in time.
func (s *subscriber[T]) synced(now uint32) {
	s.joins = 0
	for _, l := range []list{s.queue, s.issued} {
		for id, sl := range s.each(l) {
			kind, _ := s.pending(id, sl)
			if sl.flags&isIssued != 0 && kind != "" || kind == Delete && s.current(id, sl) != nil {
				sl.flags |= isOwed
			}
		}
	}
	s.enqueue(syncID, now)
}

func (s *subscriber[T]) dequeue(id int32) {
	s.moving(id).flags &^= isQueued
	s.remove(&s.queue, id)
	if s.metrics != nil {
		s.metrics.depth(s.queue.len)
		s.wakeUp()
	}
}

// release queues the keys that were held back long enough.
func (s *subscriber[T]) release() {
	if len(s.delayed.byTime) == 0 {
		return // without a look at the clock
	}
	clock, now := time.Now(), s.hub.now()
	for id, ok := s.delayed.due(clock); ok; id, ok = s.delayed.due(clock) {
		sl := s.moving(id)
		sl.flags &^= isDelayed
		if sl.flags&isQueued == 0 {
			s.enqueue(id, now)
		}
	}
}

// pick chooses the next event and marks it as outstanding; the token is nil if there
// is none. The caller holds the mutex. pick unlocks it while the filter runs.
func (s *subscriber[T]) pick() (event Event[T], t *token[T]) {
	s.release()
	for !s.ending && (s.cursor < s.limit || s.queue.len > 0) {
		id, replayed := s.queue.head, s.cursor < s.limit
		if replayed {
			id = s.cursor
		}
		cur := s.hub.nodes[id].current()
		if replayed && cur == nil {
			s.cursor++
			continue
		}
		hidden, ok := s.evalFilter(id, cur)
		if !ok {
			continue
		}
		var sl *slot[T]
		if replayed {
			s.cursor++
			sl = s.slot(id)
		} else {
			sl = s.moving(id)
			s.dequeue(id)
		}
		sl.flags = sl.flags&^isHidden | hidden
		if kind, rec := s.pending(id, sl); kind != "" {
			s.picked(sl, replayed)
			return s.issue(id, sl, kind, rec)
		}
		s.rest(id, sl)
	}
	return event, nil
}

// evalFilter calls the filter for cur, the current state of a key, without the
// mutex. It reports false if cur is not current any more, or the subscription ended.
func (s *subscriber[T]) evalFilter(id int32, cur *store.Record[T]) (hidden flags, ok bool) {
	if s.keep == nil || cur == nil {
		return 0, true
	}
	s.guard("filter", cur.Key(), func() {
		if !s.keep(cur.Object()) {
			hidden = isHidden
		}
	})
	return hidden, !s.ending && s.hub.nodes[id].current() == cur
}

// picked notes when an event was chosen. Without metrics since stays the time of
// the change, or of the subscription.
func (s *subscriber[T]) picked(sl *slot[T], replayed bool) {
	if replayed {
		sl.since = s.since
	}
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
func (s *subscriber[T]) issue(id int32, sl *slot[T], kind EventKind, rec *store.Record[T]) (Event[T], *token[T]) {
	event := Event[T]{Kind: kind, sub: s}
	if rec != nil {
		event.Key, event.Object = rec.Key(), rec.Object()
	}
	switch kind {
	case Upsert:
		sl.seen = rec
		sl.flags &^= shownDeleted | isOwed
	case Delete:
		sl.flags |= shownDeleted
	}
	if sl.flags&isDelayed != 0 { // emitted ahead of its time, since it changed
		s.delayed.remove(id)
	}
	sl.flags = sl.flags&^(mustRepeat|isDelayed) | isIssued
	s.push(&s.issued, id)
	s.hub.counts.Emitted++
	t, done := s.token(id, event.Key, kind)
	event.Done = done
	return event, t
}

// answered notes what became of an outstanding event.
func (s *subscriber[T]) answered(id int32, action ErrorAction, delay time.Duration) {
	sl := s.moving(id)
	if s.metrics != nil {
		s.metrics.finished(s.hub.now() - sl.since)
		s.wakeUp()
	}
	sl.flags &^= isIssued
	s.remove(&s.issued, id)
	if action == ErrorActionRetry {
		if s.retries == nil {
			s.retries = map[int32]int{}
		}
		s.retries[id]++
		s.metrics.retried()
		sl.flags |= isDelayed | mustRepeat
		s.delayed.add(id, time.Now().Add(delay))
		s.wakeUp()
	} else {
		delete(s.retries, id)
		if sl.flags&shownDeleted != 0 {
			sl.flags &^= shownDeleted
			sl.seen = nil
		}
	}
	if id == syncID {
		s.rest(id, sl)
		return
	}
	s.requeue(id, sl)
	s.hub.releaseID(id)
}

// withdraw takes back an event that was not received.
func (s *subscriber[T]) withdraw(t *token[T]) {
	r := t.receipt
	t.use++
	r.outstanding = false
	s.spare = append(s.spare, t)
	sl := s.moving(r.id)
	sl.flags &^= isIssued
	s.remove(&s.issued, r.id)
	s.hub.counts.Emitted--
	s.enqueue(r.id, sl.since)
}

// wakeUp has the goroutine look for something to do.
func (s *subscriber[T]) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forgetAll lets go of every key.
func (s *subscriber[T]) forgetAll() {
	for id, m := range s.marks {
		if m > 0 || m == shown {
			s.hub.nodes[id].refs--
			s.hub.releaseID(int32(id))
		}
	}
	s.marks, s.slots, s.retries, s.delayed, s.spare = nil, slots[T]{}, nil, delays{}, nil
	s.queue, s.issued = list{}, list{}
	s.cursor, s.limit = 0, 0
	s.ackRecall()
}
