// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
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
	limiter workqueue.TypedRateLimiter[Key]
	metrics *queueMetrics

	// Where events go: one of out and next is set.
	out      chan Event[T]
	next     func(Event[T])
	complete func(error)

	// unwatch undoes the watching of ctx that is needed while no goroutine is
	// there to do it. It reports false if ctx has ended.
	unwatch func() bool

	wake chan struct{} // has a token when there may be something to emit
	quit chan struct{} // closed when the error handler says stop

	cursor, limit int32

	slots   []slot[T] // by id
	queue   list
	issued  list // outstanding
	retries map[int32]int
	delayed delays
	spare   []*token[T]
	left    bool

	// What keep said of verdictOn. Only the informer's goroutine uses these.
	verdict   bool
	verdictOn *state[T]
}

// slot is what a subscriber remembers of a key.
type slot[T runtime.Object] struct {
	seen  *state[T] // of the last Upsert, until its Delete is acknowledged
	prev  int32     // neighbours in queue or issued
	next  int32
	since uint32 // when it was put there
	flags flags
}

type flags uint8

const (
	isQueued     flags = 1 << iota // in queue
	isIssued                       // outstanding
	isDelayed                      // held back after an error
	mustRepeat                     // the last event failed: emit though nothing changed
	shownDeleted                   // a Delete of seen was emitted, and not acknowledged
	isHidden                       // the filter does not keep the current state
	isCounted                      // in node.refs
	isOwed                         // changed before Sync, but outstanding then
)

func (s *subscriber[T]) slot(id int32) *slot[T] {
	if missing := int(id) + 1 - len(s.slots); missing > 0 {
		s.slots = append(s.slots, make([]slot[T], missing)...)
	}
	return &s.slots[id]
}

// changed is told that n.cur is another one.
func (s *subscriber[T]) changed(n *node[T], now uint32) {
	sl := s.slot(n.id)
	if s.keep != nil {
		sl.flags &^= isHidden
		if n.cur != nil && !s.verdict {
			sl.flags |= isHidden
		}
	}
	if n.id >= s.cursor && n.id < s.limit {
		return // the replay will come to it
	}
	if sl.flags&isIssued != 0 {
		return // Done will look
	}
	s.requeue(n, sl, now)
}

// requeue puts n into the queue if there is something to emit, and takes it out
// if not.
func (s *subscriber[T]) requeue(n *node[T], sl *slot[T], now uint32) {
	kind, _ := s.pending(n, sl)
	switch wanted := kind != ""; {
	case wanted && sl.flags&isQueued == 0:
		s.enqueue(n.id, now)
	case !wanted && sl.flags&isQueued != 0:
		s.dequeue(n.id)
	}
	s.count(n, sl)
}

// pending says what there is to emit of n: nothing if the kind is empty.
func (s *subscriber[T]) pending(n *node[T], sl *slot[T]) (EventKind, *state[T]) {
	cur := n.cur
	if sl.flags&isHidden != 0 {
		cur = nil
	}
	switch {
	case cur == nil && sl.seen == nil:
		return "", nil
	case cur == nil:
		return Delete, sl.seen
	case sl.seen == nil:
		return Upsert, cur
	case sl.flags&shownDeleted == 0 && !cur.meta.SameObject(sl.seen.meta):
		return Delete, sl.seen
	case cur != sl.seen || sl.flags&(mustRepeat|shownDeleted) != 0:
		return Upsert, cur
	}
	return "", nil
}

// count keeps the node's references in step with whether the slot is in use.
func (s *subscriber[T]) count(n *node[T], sl *slot[T]) {
	used := sl.seen != nil || sl.flags&(isQueued|isIssued|isDelayed) != 0
	switch {
	case used && sl.flags&isCounted == 0:
		sl.flags |= isCounted
		n.refs++
	case !used && sl.flags&isCounted != 0:
		sl.flags &^= isCounted
		n.refs--
	}
}

// enqueue puts id at the end of the queue, or at its head if the key is owed to
// the Sync that waits there.
func (s *subscriber[T]) enqueue(id int32, now uint32) {
	sl := s.slot(id)
	if sl.flags&isOwed != 0 && s.slots[syncID].flags&isQueued != 0 {
		pushFront(s.slots, &s.queue, id)
	} else {
		push(s.slots, &s.queue, id)
	}
	sl.flags = sl.flags&^isOwed | isQueued
	sl.since = now
	s.metrics.added(s.queue.len)
	s.poke()
}

// synced queues Sync. Keys that are outstanding and have changed since go before
// it if their Done comes in time.
func (s *subscriber[T]) synced(now uint32) {
	s.enqueue(syncID, now)
	for id := range ids(s.slots, s.issued) {
		sl := &s.slots[id]
		if kind, _ := s.pending(s.hub.byID[id], sl); kind != "" {
			sl.flags |= isOwed
		}
	}
}

func (s *subscriber[T]) dequeue(id int32) {
	s.slots[id].flags &^= isQueued
	remove(s.slots, &s.queue, id)
	s.metrics.depth(s.queue.len)
}

// release queues the keys that were held back long enough.
func (s *subscriber[T]) release(now uint32) {
	if len(s.delayed.byTime) == 0 {
		return
	}
	clock := time.Now()
	for id, ok := s.delayed.due(clock); ok; id, ok = s.delayed.due(clock) {
		sl := &s.slots[id]
		sl.flags &^= isDelayed
		if sl.flags&isQueued == 0 {
			s.enqueue(id, now)
		}
	}
}

// pick chooses the next event and marks it as outstanding. It is called with the
// mutex held, and may let go of it.
func (s *subscriber[T]) pick() (event Event[T], t *token[T], ok bool) {
	h := s.hub
	now := h.now()
	s.release(now)
	for s.cursor < s.limit {
		if s.left {
			return event, nil, false
		}
		n := h.byID[s.cursor]
		if n == nil || n.cur == nil {
			s.cursor++
			continue
		}
		sl := s.slot(n.id)
		if s.keep != nil {
			cur, keep := n.cur, false
			h.unlocked(func() { keep = s.keep(cur.obj) })
			if h.byID[s.cursor] != n || n.cur != cur {
				continue
			}
			sl = s.slot(n.id)
			sl.flags &^= isHidden
			if !keep {
				sl.flags |= isHidden
			}
		}
		s.cursor++
		if kind, st := s.pending(n, sl); kind != "" {
			event, t = s.issue(n, sl, kind, st, now)
			return event, t, true
		}
	}
	for s.queue.len > 0 && !s.left {
		id := s.queue.head
		sl := &s.slots[id]
		s.metrics.got(now - sl.since)
		s.dequeue(id)
		if id == syncID {
			event, t = s.issue(nil, sl, Sync, nil, now)
			return event, t, true
		}
		n := h.byID[id]
		kind, st := s.pending(n, sl)
		event, t = s.issue(n, sl, kind, st, now)
		return event, t, true
	}
	return event, nil, false
}

// issue makes the event and marks it as outstanding.
func (s *subscriber[T]) issue(n *node[T], sl *slot[T], kind EventKind, st *state[T], now uint32) (Event[T], *token[T]) {
	event := Event[T]{Kind: kind}
	id := syncID
	switch kind {
	case Upsert:
		sl.seen = st
		sl.flags &^= shownDeleted
	case Delete:
		sl.flags |= shownDeleted
	}
	if n != nil {
		id = n.id
		event.Key, event.Object = n.key, st.obj
	}
	sl.flags &^= mustRepeat
	if sl.flags&isDelayed != 0 { // emitted ahead of its time, since it changed
		sl.flags &^= isDelayed
		s.delayed.remove(id)
	}
	sl.flags |= isIssued
	sl.since = now
	push(s.slots, &s.issued, id)
	if n != nil {
		s.count(n, sl)
	}
	s.hub.counts.Emitted++
	t, done := s.token(id, event.Key, kind)
	event.Done = done
	return event, t
}

// answered is told what became of an outstanding event.
func (s *subscriber[T]) answered(id int32, action ErrorAction, delay time.Duration) {
	h := s.hub
	now := h.now()
	sl := &s.slots[id]
	s.metrics.finished(now - sl.since)
	sl.flags &^= isIssued
	remove(s.slots, &s.issued, id)
	if action == ErrorActionRetry {
		if s.retries == nil {
			s.retries = map[int32]int{}
		}
		s.retries[id]++
		s.metrics.retried()
		sl.flags |= isDelayed | mustRepeat
		s.delayed.add(id, time.Now().Add(delay))
		s.poke()
	} else {
		delete(s.retries, id)
		if sl.flags&shownDeleted != 0 {
			sl.flags &^= shownDeleted
			sl.seen = nil
		}
	}
	if id == syncID {
		return
	}
	n := h.byID[id]
	switch {
	case action != ErrorActionRetry:
		s.requeue(n, sl, now)
	case s.movedOn(n, sl):
		s.requeue(n, sl, now)
	}
	h.settle(n)
}

// movedOn reports whether n is no longer as the event that failed showed it, so
// that there is no reason to hold it back.
func (s *subscriber[T]) movedOn(n *node[T], sl *slot[T]) bool {
	cur := n.cur
	if sl.flags&isHidden != 0 {
		cur = nil
	}
	if sl.flags&shownDeleted != 0 {
		return cur != nil
	}
	return cur != sl.seen
}

func (s *subscriber[T]) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forgetAll lets go of every key.
func (s *subscriber[T]) forgetAll() {
	for id := range s.slots {
		sl := &s.slots[id]
		if sl.flags&isCounted != 0 {
			n := s.hub.byID[id]
			n.refs--
			s.hub.settle(n)
		}
	}
	s.slots, s.retries, s.delayed, s.spare = nil, nil, delays{}, nil
	s.queue, s.issued = list{}, list{}
	s.cursor, s.limit = 0, 0
	s.metrics.depth(0)
}
