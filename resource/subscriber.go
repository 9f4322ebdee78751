// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

// subscriber is one subscription. hub.mu guards the fields that say so. mu guards all
// others, except those that are set at construction. hub.mu is locked before mu.
//
// Neither is held during a blocking operation or a call of user code.
type subscriber[T runtime.Object] struct {
	hub     *hub[T]
	ctx     context.Context
	site    site
	name    string // of WithSubscriberName
	view    *view[T]
	order   Order
	withOld bool
	onError ErrorHandler
	metrics *queueMetrics

	// Where events go: one of out and next is set.
	out      chan Event[T]
	next     func(Event[T])
	complete func(error)

	done chan struct{} // closed when the subscription has ended

	unwatch func() bool // stops the AfterFunc of ctx; set before enter

	// hub.mu guards these.
	id       uint64
	canceled bool      // ctx has ended
	entered  bool      // it is, or was, in hub.subs
	place    int       // index in hub.subs
	route    *route[T] // of an index; nil: it follows the whole collection
	group    *group[T] // the subscribers with the same changes
	at       int       // index in group
	syncAt   uint64    // Sync waits for this generation of the store; 0: it does not wait

	mu      sync.Mutex
	since   uint32 // when it subscribed
	changed uint32 // when one of its keys changed last
	ending  bool   // done is closed
	failure error  // the panic that ended it

	// The goroutine. It ends when there is nothing to do, see parking.
	launched bool          // it can be started
	running  bool          // there is one
	wake     chan struct{} // has a token when there may be something to do
	awake    bool          // wake has got a token since take was called
	waiting  bool          // it waits for something to do
	idle     bool          // it has waited since the last sweep
	retiring bool          // it must end if there is nothing to do
	berth    int           // index in parking.live, whose mutex guards it

	calls     string // the user function that runs on its goroutine
	finishing uint32 // when complete was called

	limiter   workqueue.TypedRateLimiter[store.Key] // nil: the default, until the first retry
	shown     idSet                                 // keys at rest whose current state was emitted
	slots     slots[T]                              // all other keys
	freed     []int32                               // ids that no longer count in node.refs
	replay    replay[T]
	lanes     [lanes]list
	turn      uint8
	preceding int  // queued keys that Sync waits for
	synced    bool // no Sync is to come, unless the last one fails
	issued    list // outstanding
	failures  *failures
	delayed   delays
	spare     []*token[T]
	counts    EventCounts

	// offering is the kind of the event that the goroutine offers, empty if there is
	// none. recall is closed when the goroutine no longer offers it. An event is recalled
	// if Sync must wait for a key, or if the subscription has ended.
	offering EventKind
	recall   chan struct{}
}

// unlock unlocks the mutex, and then releases ids. The caller does not hold hub.mu.
func (s *subscriber[T]) unlock() {
	ids := s.freed
	s.freed = nil
	s.mu.Unlock()
	if len(ids) > 0 {
		s.hub.releaseAll(ids)
	}
}

// unlocked calls f, which can call user code, without the mutex. The caller holds the
// mutex before and after.
func (s *subscriber[T]) unlocked(f func()) {
	s.unlock()
	defer s.mu.Lock()
	f()
}

// edit is a change of a key for the subscribers.
type edit[T runtime.Object] struct {
	id     int32
	before *store.Record[T]
	cur    *store.Record[T] // nil: it is gone, or left the view
	found  bool             // by a pass
	now    uint32
}

// change handles a change of a key. The filter is not called here, but in pick. The caller
// holds hub.mu.
func (s *subscriber[T]) change(e edit[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = e.now
	sl := s.slots.of(e.id)
	waits := sl == nil && s.replay.left() > 0 && s.replay.mayHave(e.id)
	if sl == nil {
		shown := s.shown.has(e.id)
		if !shown && e.cur == nil || waits && s.order == ReplayFirst && e.id < s.replay.end {
			return // unknown here, or the replay will reach it
		}
		sl = s.slots.take(e.id)
		if shown {
			s.shown.remove(e.id)
			sl.seen = e.before
			if s.withOld {
				sl.done = e.before
			}
		}
	}
	s.set(sl, e.cur)
	sl.flags &^= isHidden | inPass
	if e.found {
		sl.flags |= inPass
	}
	l := s.order.laneOf(e.found)
	if !s.synced && (waits || sl.flags&isQueued != 0 && l < sl.lane) {
		s.precedeSync(sl) // it was before Sync in its lane
	}
	if sl.flags&isIssued == 0 { // else afterDone queues it
		s.requeue(sl, l)
	}
	for _, id := range s.freed {
		s.hub.nodes[id].refs--
	}
	s.freed = s.freed[:0]
}

// set sets the current state of a key. A slot without a state holds the id, which must not
// be given to another key. The caller holds hub.mu.
func (s *subscriber[T]) set(sl *slot[T], cur *store.Record[T]) {
	sl.cur = cur
	switch held := sl.flags&holdsID != 0; {
	case cur == nil && !held:
		sl.flags |= holdsID
		s.hub.nodes[sl.id].refs++
	case cur != nil && held:
		sl.flags &^= holdsID
		s.hub.nodes[sl.id].refs--
	}
}

// requeue queues the key if it has an event to emit, and removes it from its lane if not.
func (s *subscriber[T]) requeue(sl *slot[T], l lane) {
	kind, _ := s.pending(sl)
	switch queued := sl.flags&isQueued != 0; {
	case kind == "" && queued:
		s.dequeue(sl)
	case kind != "" && !queued:
		s.enqueue(sl, l, s.changed)
	case kind != "" && l < sl.lane && s.order == FreshFirst:
		s.move(sl, l)
	}
	s.rest(sl)
}

// rest frees the slot of a key that is neither queued, outstanding nor held back.
func (s *subscriber[T]) rest(sl *slot[T]) {
	if sl.flags&(isQueued|isIssued|isDelayed) != 0 {
		return
	}
	if sl.seen != nil {
		s.shown.add(sl.id, int(s.hub.size.Load()))
	}
	if sl.flags&holdsID != 0 {
		s.freed = append(s.freed, sl.id)
	}
	s.slots.give(sl)
}

// current returns the state of the key for this subscriber, nil if the key is not in the
// view or the filter rejects it.
func (s *subscriber[T]) current(sl *slot[T]) *store.Record[T] {
	if sl.flags&isHidden != 0 {
		return nil
	}
	return sl.cur
}

// pending returns the next event of a key. If there is none, the kind is empty. A key
// that is held back is emitted early only if it changed.
func (s *subscriber[T]) pending(sl *slot[T]) (EventKind, *store.Record[T]) {
	cur := s.current(sl)
	last := sl.seen // the state in the last event; nil after a Delete
	if sl.flags&shownDeleted != 0 {
		last = nil
	}
	switch {
	case sl.id == syncID:
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

// wakeUp wakes the goroutine, or starts one. The caller holds the mutex.
func (s *subscriber[T]) wakeUp() {
	switch {
	case s.running && !s.awake:
		s.awake = true
		select {
		case s.wake <- struct{}{}:
		default:
		}
	case !s.running && s.launched && !s.ending:
		s.start()
	}
}

// forget drops the state of all keys. The caller holds both mutexes.
func (s *subscriber[T]) forget() {
	for _, e := range s.slots.byID.entries {
		if e.number != 0 && s.slots.at(e.number).flags&holdsID != 0 {
			s.freed = append(s.freed, e.id)
		}
	}
	for _, id := range s.freed {
		s.hub.release(id)
	}
	s.shown, s.slots, s.freed, s.failures, s.delayed, s.spare = idSet{}, slots[T]{}, nil, nil, delays{}, nil
	s.replay, s.lanes, s.issued, s.preceding = replay[T]{}, [lanes]list{}, list{}, 0
	s.ackRecall()
}
