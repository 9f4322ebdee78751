// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import (
	"container/heap"
	"time"

	"github.com/apiary-go/apiary/store"
)

// Changes can be taken in batches instead of key by key, see
// Queue.Batches. There is one batch at a time.

// Taken is a change that is being delivered in a batch.
type Taken[T any] struct {
	Work   *Work[T]
	Change Change[T] // as it was when it was taken
}

// batches orders the keys for batches: those that can be taken, in the order of
// acceptance, and those that are held until they are due.
type batches[T any] struct {
	ready, held workHeap[T]
	heldBytes   int64
	alone       map[store.Key]struct{} // keys that are taken in a batch of their own
}

func newBatches[T any]() batches[T] {
	return batches[T]{
		ready: workHeap[T]{before: func(a, b *Work[T]) bool { return a.change.seq < b.change.seq }},
		held:  workHeap[T]{before: func(a, b *Work[T]) bool { return a.due.Before(b.due) }},
		alone: map[store.Key]struct{}{},
	}
}

// TakeBatch takes the changes that were accepted first, up to the bounds, and at least
// one if any is ready. A key that is set alone is taken without others.
func (p *Queue[T]) TakeBatch(maxItems int, maxBytes int64) (batch []Taken[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(time.Now())
	size := int64(0)
	for ready := &p.batches.ready; ready.Len() > 0 && len(batch) < maxItems; {
		w := ready.works[0]
		_, alone := p.batches.alone[w.Key]
		if size += w.change.Size; len(batch) > 0 && (alone || size > maxBytes) {
			break
		}
		heap.Pop(ready)
		w.active = true
		batch = append(batch, Taken[T]{w, *w.change})
		if alone {
			break
		}
	}
	return batch
}

// SetAlone sets whether a key is taken in a batch of its own.
func (p *Queue[T]) SetAlone(key store.Key, alone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if alone {
		p.batches.alone[key] = struct{}{}
	} else {
		delete(p.batches.alone, key)
	}
}

// VersionAfter returns the resume version that there will be once batch is acknowledged.
// The changes of batch are in the order in which they were taken.
func (p *Queue[T]) VersionAfter(batch []Taken[T]) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.first
	for _, t := range batch {
		if c != t.Work.change {
			break
		}
		c = c.next
	}
	if c != nil {
		return c.since
	}
	return p.position
}

// PutBack ends the delivery of those changes of batch that were neither acknowledged
// nor held. They are taken again next.
func (p *Queue[T]) PutBack(batch []Taken[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range batch {
		if t.Work.active {
			p.endCall(t.Work)
			p.push(t.Work)
		}
	}
	p.checkDrained()
}

// Hold ends the delivery of a change that the consumer refused, as one of so many
// failures in a row. The key is taken again after the delay.
func (p *Queue[T]) Hold(w *Work[T], failures int, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.Failures == 0 {
		p.failing++
	}
	w.Failures = failures
	p.endCall(w)
	w.due, w.held = time.Now().Add(delay), true
	heap.Push(&p.batches.held, w)
	p.batches.heldBytes += w.change.Size
	p.checkDrained()
}

// endCall ends a delivery that was not acknowledged. The caller holds mu.
func (p *Queue[T]) endCall(w *Work[T]) {
	w.active = false
	if newer := w.newer; newer != nil {
		w.newer = nil
		p.unlink(newer)
		w.mayHave(w.change, newer)
		p.merge(w.change, newer)
	}
}

// release makes ready what is held and due at now. The caller holds mu.
func (p *Queue[T]) release(now time.Time) {
	held := &p.batches.held
	for held.Len() > 0 && !held.works[0].due.After(now) {
		w := heap.Pop(held).(*Work[T])
		w.held = false
		p.batches.heldBytes -= w.change.Size
		p.push(w)
	}
}

// Release makes ready all that is held.
func (p *Queue[T]) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.batches.held.works {
		w.due = time.Time{} // all are equal: it stays a heap
	}
	p.release(time.Now())
}

// Drop forgets everything that is pending, and returns how much that was. Nothing
// must be being delivered.
func (p *Queue[T]) Drop() (changes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.first != nil {
		changes++
		p.unlink(p.first)
	}
	clear(p.works)
	b := &p.batches
	b.ready.works, b.held.works, b.heldBytes, p.failing = nil, nil, 0, 0
	p.checkDrained()
	return changes
}

// Waiting says how much is pending, and which change is the last one.
func (p *Queue[T]) Waiting() (objects int, bytes int64, last uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.objects, p.bytes, p.seq
}

// Ready is what can be taken in a batch.
type Ready struct {
	Objects int
	Bytes   int64
	First   time.Time // when the first of it was accepted; zero if there is none
	Next    time.Time // when something that is held will be ready; zero if nothing is
}

// Ready returns what can be taken now, and what later. No batch must be taken.
func (p *Queue[T]) Ready() (r Ready) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(time.Now())
	ready, held := p.batches.ready.works, p.batches.held.works
	r = Ready{Objects: len(ready), Bytes: p.bytes - p.batches.heldBytes}
	if len(ready) > 0 {
		r.First = ready[0].change.at
	}
	if len(held) > 0 {
		r.Next = held[0].due
	}
	return r
}

// DeliveredUpTo reports whether nothing is pending that was accepted as change seq or
// before it. HeldUpTo: whether all that is pending of it is held.
func (p *Queue[T]) DeliveredUpTo(seq uint64) (delivered, heldUpTo bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready := p.batches.ready.works
	return p.first == nil || p.first.seq > seq, len(ready) == 0 || ready[0].change.seq > seq
}

// workHeap is a heap of keys, for package heap.
type workHeap[T any] struct {
	works  []*Work[T]
	before func(a, b *Work[T]) bool
}

func (h *workHeap[T]) Len() int           { return len(h.works) }
func (h *workHeap[T]) Less(i, j int) bool { return h.before(h.works[i], h.works[j]) }
func (h *workHeap[T]) Swap(i, j int)      { h.works[i], h.works[j] = h.works[j], h.works[i] }
func (h *workHeap[T]) Push(w any)         { h.works = append(h.works, w.(*Work[T])) }

func (h *workHeap[T]) Pop() any {
	last := len(h.works) - 1
	w := h.works[last]
	h.works[last] = nil
	h.works = h.works[:last]
	return w
}
