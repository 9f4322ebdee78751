// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package pending holds changes that were read and are not acknowledged yet. Sinks use it that
// hand changes to a handler or a consumer. The configuration of the sink bounds the number of
// changes and their bytes.
package pending

import (
	"container/heap"
	"sync"
	"time"

	"github.com/apiary-go/apiary/store"
)

// Change is a state of a key that the handler has not acknowledged yet.
type Change[T any] struct {
	Meta    store.Meta
	Obj     T      // of a deletion: the last state, if Known
	Gone    bool   // the object is deleted
	Known   bool   // Obj is set
	Listed  bool   // by a pass: OnSync, if the storage has the same state
	Initial bool   // see Object.IsInInitialList
	Pass    uint64 // the storage's number of the pass that had it; 0: none
	Size    int64

	// since is the resume version until the change is acknowledged. at is when it was
	// accepted. The list is in this order.
	since      string
	at         time.Time
	seq        uint64 // counts what was accepted
	prev, next *Change[T]

	// Unknown: the handler may or may not have the deleted object. Anew: it is a new state,
	// also in the recorded version.
	Unknown, Anew bool
}

// Work is a key with a change that is not acknowledged.
type Work[T any] struct {
	Key    store.Key
	change *Change[T] // that waits or is being delivered
	newer  *Change[T] // that came while change was being delivered
	active bool       // Change is being delivered

	// Tried is the object of an OnAdd that was not acknowledged, if IsTried.
	Tried   store.Meta
	IsTried bool

	Failures int
	Since    time.Time // the first of the Failures
	err      error
	retry    *time.Timer

	held bool // in a queue of batches: it waits until due
	due  time.Time
}

func (w *Work[T]) latest() *Change[T] {
	if w.newer != nil {
		return w.newer
	}
	return w.change
}

// Queue has the pending changes: at most one for each key, and one more for a key that is
// being delivered.
//
// Only the sink adds to it, from one goroutine. So a key that is not pending stays so until
// the sink adds it. Workers take from it.
type Queue[T any] struct {
	maxObjects int
	maxBytes   int64

	mu      sync.Mutex
	wake    sync.Cond // a worker: there is work, or closed
	works   map[store.Key]*Work[T]
	ready   []*Work[T] // First in, first out; not used if batches are taken
	Batches bool
	batches batches[T]
	seq     uint64
	first   *Change[T] // of all, in the order of acceptance
	last    *Change[T]
	objects int
	bytes   int64
	failing int
	initial int
	closed  bool
	retries sync.WaitGroup // timers that are due or running

	// position is the last version of the sink. It is empty if no version belongs to its
	// state. highest is the highest position so far.
	position, highest string

	Room    chan struct{} // has a token when there may be room
	drained chan struct{} // closed when the watch can go on; nil: it is not paused
	refused int64         // the size of the change that paused it
	Moved   chan struct{} // has a token when the resume version may have changed
}

func New[T any](maxObjects int, maxBytes int64, position string) *Queue[T] {
	p := &Queue[T]{
		maxObjects: maxObjects, maxBytes: maxBytes,
		works:    map[store.Key]*Work[T]{},
		batches:  newBatches[T](),
		position: position, highest: position,
		Room:  make(chan struct{}, 1),
		Moved: make(chan struct{}, 1),
	}
	p.wake.L = &p.mu
	return p
}

// Notify puts a token into c, if there is none.
func Notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Closed reports whether c, on which nothing is sent, is closed.
func Closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Latest returns the meta of the newest change of a key.
func (p *Queue[T]) Latest(key store.Key) (meta store.Meta, gone, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[key]
	if w == nil {
		return store.Meta{}, false, false
	}
	c := w.latest()
	return c.Meta, c.Gone, true
}

// See marks the newest change of the key as one that the pass had, if its meta is exactly
// meta. It reports whether it is.
func (p *Queue[T]) See(meta store.Meta, pass uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[meta.Key]
	if w == nil {
		return false
	}
	c := w.latest()
	if c.Gone || c.Meta != meta || meta.Version == "" {
		return false
	}
	c.Pass = pass
	return true
}

// Keep reports whether a change of the key is pending. It marks the newest one as one that the
// pass had, if it is a state of the same object.
func (p *Queue[T]) Keep(meta store.Meta, pass uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[meta.Key]
	if w == nil {
		return false
	}
	if c := w.latest(); !c.Gone && meta.SameObject(c.Meta) {
		c.Pass = pass
	}
	return true
}

// Unseen returns the pending states that are no deletions and that the pass did not have.
func (p *Queue[T]) Unseen(pass uint64) (metas []store.Meta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.works {
		if c := w.latest(); !c.Gone && c.Pass != pass {
			metas = append(metas, c.Meta)
		}
	}
	return metas
}

// Put adds a change, or merges it into the one that waits.
func (p *Queue[T]) Put(c *Change[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[c.Meta.Key]
	switch {
	case w == nil:
		w = &Work[T]{Key: c.Meta.Key, change: c}
		p.works[w.Key] = w
		p.link(c)
		p.push(w)
	case !w.active:
		w.mayHave(w.change, c)
		if w.held {
			p.batches.heldBytes += c.Size - w.change.Size
		}
		p.merge(w.change, c)
	case w.newer == nil:
		w.newer = c
		p.link(c)
	default:
		p.merge(w.newer, c)
	}
}

// mayHave keeps the object of older, if newer is merged into it, is of another object, and the
// handler may or may not have the first one.
func (w *Work[T]) mayHave(older, newer *Change[T]) {
	if older.Unknown && !w.IsTried && !older.Meta.SameObject(newer.Meta) {
		w.Tried, w.IsTried = older.Meta, true
	}
}

// link appends c to the order of acceptance.
func (p *Queue[T]) link(c *Change[T]) {
	p.seq++
	c.since, c.at, c.seq = p.position, time.Now(), p.seq
	if c.prev = p.last; c.prev != nil {
		c.prev.next = c
	} else {
		p.first = c
	}
	p.last = c
	p.objects++
	p.bytes += c.Size
	if c.Initial {
		p.initial++
	}
}

func (p *Queue[T]) unlink(c *Change[T]) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.first = c.next
		Notify(p.Moved)
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		p.last = c.prev
	}
	c.prev, c.next = nil, nil
	p.objects--
	p.bytes -= c.Size
	if c.Initial {
		p.initial--
	}
	Notify(p.Room)
}

// merge gives c the state of newer. c keeps its place.
func (p *Queue[T]) merge(c, newer *Change[T]) {
	p.bytes += newer.Size - c.Size
	c.Meta, c.Obj, c.Gone, c.Known = newer.Meta, newer.Obj, newer.Gone, newer.Known
	c.Listed, c.Pass, c.Size = newer.Listed, newer.Pass, newer.Size
	c.Unknown, c.Anew = c.Unknown || newer.Unknown, newer.Anew
}

func (p *Queue[T]) push(w *Work[T]) {
	if p.Batches {
		heap.Push(&p.batches.ready, w)
		return
	}
	p.ready = append(p.ready, w)
	p.wake.Signal()
}

// AcknowledgedInitial reports whether nothing initial is pending.
func (p *Queue[T]) AcknowledgedInitial() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.initial == 0
}

// Take blocks until there is a key to deliver, and returns its current change. A later state
// is another change. It returns nil after Close.
func (p *Queue[T]) Take() (*Work[T], Change[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) == 0 && !p.closed {
		p.wake.Wait()
	}
	if p.closed {
		return nil, Change[T]{}
	}
	w := p.ready[0]
	p.ready[0] = nil
	p.ready = p.ready[1:]
	w.active = true
	return w, *w.change
}

// PassOf returns the pass of the change of w, which is being delivered.
func (p *Queue[T]) PassOf(w *Work[T]) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.change.Pass
}

// Acknowledged ends the delivery of a change. If the change was recorded with pass, and a later
// pass has seen it since, Acknowledged does nothing and returns false: the record must get the
// later mark. A change without a record needs no mark.
func (p *Queue[T]) Acknowledged(w *Work[T], recorded bool, pass uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if recorded && w.change.Pass != pass {
		return false
	}
	if w.Failures > 0 {
		w.Failures, w.Since, w.err = 0, time.Time{}, nil
		p.failing--
	}
	w.active = false
	p.unlink(w.change)
	if w.change, w.newer = w.newer, nil; w.change != nil {
		p.push(w)
	} else {
		delete(p.works, w.Key)
	}
	p.checkDrained()
	return true
}

// Failed ends a delivery that was not acknowledged. Workers get the key again after the delay.
func (p *Queue[T]) Failed(w *Work[T], err error, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.Failures++; w.Failures == 1 {
		w.Since = time.Now()
		p.failing++
	}
	w.err, w.active = err, false
	if newer := w.newer; newer != nil {
		w.newer = nil
		p.unlink(newer)
		p.merge(w.change, newer)
	}
	p.checkDrained()
	if p.closed {
		return
	}
	p.retries.Add(1)
	w.retry = time.AfterFunc(delay, func() {
		defer p.retries.Done()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.push(w)
	})
}

// Close ends Take. It returns when no retry will follow.
func (p *Queue[T]) Close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	for _, w := range p.works {
		if w.retry != nil && w.retry.Stop() {
			p.retries.Done()
		}
	}
	p.mu.Unlock()
	p.retries.Wait()
}
