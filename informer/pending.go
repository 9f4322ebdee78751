// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"sync"
	"time"

	"github.com/apiary-go/apiary/store"
)

// change is a state of a key that the handler has yet to acknowledge.
type change[T any] struct {
	meta    store.Meta
	obj     T    // if gone: the last state, if known
	gone    bool // it is a deletion
	known   bool
	listed  bool   // by a pass: OnSync, if it is what is recorded
	initial bool   // see Object.IsInInitialList
	pass    uint64 // the storage's number of the pass that had it; 0: none
	size    int64

	// since is the resume version until this is acknowledged, at is when it was
	// accepted. The list is in the order of that.
	since      string
	at         time.Time
	seq        uint64 // counts what was accepted
	prev, next *change[T]

	// unknown: nobody knows whether the handler has what is gone.
	unknown bool
}

// work is a key with a change that is not acknowledged.
type work[T any] struct {
	key    store.Key
	change *change[T] // that waits or is being delivered
	newer  *change[T] // that came while change was being delivered
	active bool       // change is being delivered

	// tried is what an OnAdd that was not acknowledged was told, if isTried.
	tried   store.Meta
	isTried bool

	failures int
	err      error
	retry    *time.Timer
}

func (w *work[T]) latest() *change[T] {
	if w.newer != nil {
		return w.newer
	}
	return w.change
}

// pending is what lies between the wire and the acknowledgement: at most one
// change for each key, and one more for a key that is being delivered.
//
// The sink adds to it, from one goroutine, and is the only one to do so: a key
// that it finds is not pending stays so until it adds it. Workers take from it.
type pending[T any] struct {
	maxObjects int
	maxBytes   int64

	mu      sync.Mutex
	wake    sync.Cond // a worker: there is work, or closed
	works   map[store.Key]*work[T]
	ready   []*work[T] // first in, first out; not used if batches are taken
	batches bool
	seq     uint64
	first   *change[T] // of all, in the order of acceptance
	last    *change[T]
	objects int
	bytes   int64
	failing int
	initial int
	closed  bool
	retries sync.WaitGroup // timers that are due or running

	// position is the version that the sink was brought to, empty if there is
	// none that belongs to what it was told. Highest is the highest ever.
	position, highest string

	room    chan struct{} // has a token when there may be room
	drained chan struct{} // closed when a watch may go on; nil: it goes on
	refused int64         // the size of what it was paused for
	moved   chan struct{} // has a token when the resume version may have changed
}

func newPending[T any](maxObjects int, maxBytes int64, position string) *pending[T] {
	p := &pending[T]{
		maxObjects: maxObjects, maxBytes: maxBytes,
		works:    map[store.Key]*work[T]{},
		position: position, highest: position,
		room:  make(chan struct{}, 1),
		moved: make(chan struct{}, 1),
	}
	p.wake.L = &p.mu
	return p
}

// token puts a token into c, if there is none.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// latest returns the meta of the newest change of a key.
func (p *pending[T]) latest(key store.Key) (meta store.Meta, gone, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[key]
	if w == nil {
		return store.Meta{}, false, false
	}
	c := w.latest()
	return c.meta, c.gone, true
}

// see marks the newest change of the key of meta as one that the pass had, if
// that is exactly meta.
func (p *pending[T]) see(meta store.Meta, pass uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[meta.Key]
	if w == nil {
		return false
	}
	c := w.latest()
	if c.gone || c.meta != meta || meta.Version == "" {
		return false
	}
	c.pass = pass
	return true
}

// unseen returns what is pending, is no deletion, and was not seen by the pass.
func (p *pending[T]) unseen(pass uint64) (metas []store.Meta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.works {
		if c := w.latest(); !c.gone && c.pass != pass {
			metas = append(metas, c.meta)
		}
	}
	return metas
}

// put adds a change, or merges it into the one that waits.
func (p *pending[T]) put(c *change[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[c.meta.Key]
	switch {
	case w == nil:
		w = &work[T]{key: c.meta.Key, change: c}
		p.works[w.key] = w
		p.link(c)
		p.push(w)
	case !w.active:
		w.mayHave(w.change, c)
		p.merge(w.change, c)
	case w.newer == nil:
		w.newer = c
		p.link(c)
	default:
		p.merge(w.newer, c)
	}
}

// mayHave remembers the object that older is about, if newer, which is merged into
// it, is about another one and nobody knows whether the handler has the first.
func (w *work[T]) mayHave(older, newer *change[T]) {
	if older.unknown && !w.isTried && !older.meta.SameObject(newer.meta) {
		w.tried, w.isTried = older.meta, true
	}
}

// link appends c to the order of acceptance.
func (p *pending[T]) link(c *change[T]) {
	p.seq++
	c.since, c.at, c.seq = p.position, time.Now(), p.seq
	if c.prev = p.last; c.prev != nil {
		c.prev.next = c
	} else {
		p.first = c
	}
	p.last = c
	p.objects++
	p.bytes += c.size
	if c.initial {
		p.initial++
	}
}

func (p *pending[T]) unlink(c *change[T]) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.first = c.next
		token(p.moved)
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		p.last = c.prev
	}
	c.prev, c.next = nil, nil
	p.objects--
	p.bytes -= c.size
	if c.initial {
		p.initial--
	}
	token(p.room)
}

// merge makes c, which keeps its place, what newer is.
func (p *pending[T]) merge(c, newer *change[T]) {
	p.bytes += newer.size - c.size
	c.meta, c.obj, c.gone, c.known = newer.meta, newer.obj, newer.gone, newer.known
	c.listed, c.pass, c.size = newer.listed, newer.pass, newer.size
	c.unknown = c.unknown || newer.unknown
}

func (p *pending[T]) push(w *work[T]) {
	if p.batches {
		return
	}
	p.ready = append(p.ready, w)
	p.wake.Signal()
}

// acknowledgedInitial reports whether nothing initial is pending.
func (p *pending[T]) acknowledgedInitial() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.initial == 0
}

// take blocks until there is a key to deliver, and returns its change as it is now:
// what comes later is another one. It returns nil once closed.
func (p *pending[T]) take() (*work[T], change[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ready) == 0 && !p.closed {
		p.wake.Wait()
	}
	if p.closed {
		return nil, change[T]{}
	}
	w := p.ready[0]
	p.ready[0] = nil
	p.ready = p.ready[1:]
	w.active = true
	return w, *w.change
}

// passOf returns the pass of the change of w, which is being delivered.
func (p *pending[T]) passOf(w *work[T]) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.change.pass
}

// acknowledged ends the delivery of a change. If it was recorded, as one of pass, it
// does nothing and returns false if a later pass has seen the change since: the
// record lacks the mark then. What has no record needs none.
func (p *pending[T]) acknowledged(w *work[T], recorded bool, pass uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if recorded && w.change.pass != pass {
		return false
	}
	if w.failures > 0 {
		w.failures, w.err = 0, nil
		p.failing--
	}
	w.active = false
	p.unlink(w.change)
	if w.change, w.newer = w.newer, nil; w.change != nil {
		p.push(w)
	} else {
		delete(p.works, w.key)
	}
	p.checkDrained()
	return true
}

// failed ends a delivery that was not acknowledged. The key is taken again after
// the delay.
func (p *pending[T]) failed(w *work[T], err error, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.failures++; w.failures == 1 {
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

// close ends take, and returns when no retry will follow.
func (p *pending[T]) close() {
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
