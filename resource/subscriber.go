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

// subscriber is one subscription. hub.mu guards all fields except those that are set at
// construction.
//
// It emits the replay first, which reads the ids from cursor to limit. Then it emits the
// queue, which has Sync and the changed keys.
type subscriber[T runtime.Object] struct {
	hub     *hub[T]
	ctx     context.Context
	site    string
	name    string // of WithSubscriberName
	id      uint64
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

	unwatch  func() bool // stops the AfterFunc of ctx; set at construction
	canceled bool        // ctx has ended
	entered  bool        // it is, or was, in hub.subs
	launched bool        // the goroutine runs, and will call finish
	ending   bool        // done is closed
	place    int         // index in hub.subs
	since    uint32      // when it subscribed
	syncAt   uint64      // Sync waits for this generation of the store; 0: it does not wait
	failure  error       // the panic that ended it

	calls     string // the user function that runs on its goroutine
	finishing uint32 // when complete was called

	cursor, limit int32

	marks    []mark // by id
	slots    slots[T]
	queue    list
	issued   list      // outstanding
	failures *failures // nil: none yet
	delayed  delays
	spare    []*token[T]

	// offering is the kind of the event that the goroutine offers, empty if there is
	// none. recall is closed when the goroutine no longer offers it. An event is recalled
	// if Sync must wait for a key, or if the subscription has ended.
	offering EventKind
	recall   chan struct{}
}

// slot returns the slot of a key. A key at rest gets one.
func (s *subscriber[T]) slot(id int32) *slot[T] {
	return s.slotAt(id, s.hub.nodes[id].current())
}

// slotAt is like slot. cur is the state of a key at rest that was shown.
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

// rest frees the slot of a key that is neither queued, outstanding nor held back.
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

// moving returns the slot of a key that is not at rest.
func (s *subscriber[T]) moving(id int32) *slot[T] { return s.slots.at(s.marks[id]) }

// changed handles a change of the key. before is its previous state. The filter is not
// called here, but in pick.
func (s *subscriber[T]) changed(id int32, before *store.Record[T]) {
	if id >= s.cursor && id < s.limit {
		return // the replay has not reached it
	}
	sl := s.slotAt(id, before)
	sl.flags &^= isHidden
	if sl.flags&isIssued != 0 {
		return // afterDone queues it
	}
	s.requeue(id, sl)
}

// requeue adds the key to the queue if it has an event to emit, and removes it if not.
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

// current returns the state of the key for this subscriber, nil if the key is not in the
// collection or the filter rejects it.
func (s *subscriber[T]) current(id int32, sl *slot[T]) *store.Record[T] {
	if sl.flags&isHidden != 0 {
		return nil
	}
	return s.hub.nodes[id].current()
}

// pending returns the next event of a key. If there is none, the kind is empty. A key
// that is held back is emitted early only if it changed.
func (s *subscriber[T]) pending(id int32, sl *slot[T]) (EventKind, *store.Record[T]) {
	cur := s.current(id, sl)
	last := sl.seen // the state in the last event; nil after a Delete
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

// enqueue adds id to the end of the queue. If a Sync that is queued or offered must wait
// for the key, it adds id to the head, and recalls the Sync.
func (s *subscriber[T]) enqueue(id int32, now uint32) {
	sl := s.slot(id)
	first := sl.flags&beforeSync != 0
	if first && s.offering == Sync && s.recall == nil {
		s.recall = make(chan struct{})
	}
	if first && (s.offering == Sync || s.marks[syncID] > 0 && s.moving(syncID).flags&isQueued != 0) {
		s.pushFront(&s.queue, id)
	} else {
		s.push(&s.queue, id)
	}
	sl.flags |= isQueued
	sl.since = now
	s.metrics.added(s.queue.len)
	s.wakeUp()
}

// queueSync queues Sync. Some keys need more than one event to reach their current state:
// they changed while outstanding, or were deleted and created again. Their further events
// come before Sync if the Done of the first event is called before Sync is received.
func (s *subscriber[T]) queueSync(now uint32) {
	s.syncAt = 0
	for _, l := range []list{s.queue, s.issued} {
		for id, sl := range s.each(l) {
			kind, _ := s.pending(id, sl)
			if sl.flags&isIssued != 0 && kind != "" || kind == Delete && s.current(id, sl) != nil {
				sl.flags |= beforeSync
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

// release queues the keys whose delay is over.
func (s *subscriber[T]) release() {
	if len(s.delayed.byTime) == 0 {
		return // without reading the clock
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

// pick builds the next event and marks it as outstanding. The token is nil if there is
// none. The caller holds the mutex. pick unlocks it while the filter runs.
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

// evalFilter calls the filter for cur, the current state of a key, without the mutex. It
// returns false if cur is no longer current, or if the subscription has ended.
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

// picked sets the times of an event that was built. Without metrics, since remains the
// time of the change, or of the subscription.
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
		sl.flags &^= shownDeleted | beforeSync
	case Delete:
		sl.flags |= shownDeleted
	}
	if sl.flags&isDelayed != 0 { // emitted before its delay is over, since it changed
		s.delayed.remove(id)
	}
	sl.flags = sl.flags&^(mustRepeat|isDelayed) | isIssued
	s.push(&s.issued, id)
	s.hub.counts.Emitted++
	t, done := s.token(id, event.Key, kind)
	event.Done = done
	return event, t
}

// afterDone updates the key of an outstanding event after its Done.
func (s *subscriber[T]) afterDone(id int32, action ErrorAction, delay time.Duration) {
	sl := s.moving(id)
	if s.metrics != nil {
		s.metrics.finished(s.hub.now() - sl.since)
		s.wakeUp()
	}
	sl.flags &^= isIssued
	s.remove(&s.issued, id)
	if action == ErrorActionRetry {
		s.metrics.retried()
		sl.flags |= isDelayed | mustRepeat
		s.delayed.add(id, time.Now().Add(delay))
		s.wakeUp()
	} else if sl.flags&shownDeleted != 0 {
		sl.flags &^= shownDeleted
		sl.seen = nil
	}
	if id == syncID {
		s.rest(id, sl)
		return
	}
	s.requeue(id, sl)
	s.hub.releaseID(id)
}

// withdraw queues again an event that was not received.
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

// wakeUp wakes the goroutine.
func (s *subscriber[T]) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forgetAll drops the state of all keys.
func (s *subscriber[T]) forgetAll() {
	for id, m := range s.marks {
		if m > 0 || m == shown {
			s.hub.nodes[id].refs--
			s.hub.releaseID(int32(id))
		}
	}
	s.marks, s.slots, s.failures, s.delayed, s.spare = nil, slots[T]{}, nil, delays{}, nil
	s.queue, s.issued = list{}, list{}
	s.cursor, s.limit = 0, 0
	s.ackRecall()
}
