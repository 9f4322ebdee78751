// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import "time"

// What is pending may be taken in batches, in place of key by key: see
// pending.batches. There is one batch at a time.

// Taken is a change that is being delivered in a batch.
type Taken[T any] struct {
	Work   *Work[T]
	Change Change[T] // as it was when it was taken
}

// TakeBatch takes the changes that were accepted first, up to the bounds, but one
// at least if there is any.
func (p *Queue[T]) TakeBatch(maxItems int, maxBytes int64) (batch []Taken[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := int64(0)
	for c := p.first; c != nil && len(batch) < maxItems; c = c.next {
		if size += c.Size; size > maxBytes && len(batch) > 0 {
			break
		}
		w := p.works[c.Meta.Key]
		w.active = true
		batch = append(batch, Taken[T]{w, *c})
	}
	return batch
}

// VersionAfter returns the resume version that there will be once batch, which was
// taken last, is acknowledged.
func (p *Queue[T]) VersionAfter(batch []Taken[T]) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.first
	for range batch {
		c = c.next
	}
	if c != nil {
		return c.since
	}
	return p.position
}

// PutBack ends the delivery of a batch that was not acknowledged.
func (p *Queue[T]) PutBack(batch []Taken[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range batch {
		w := t.Work
		w.active = false
		if newer := w.newer; newer != nil {
			w.newer = nil
			p.unlink(newer)
			w.mayHave(w.change, newer)
			p.merge(w.change, newer)
		}
	}
	p.checkDrained()
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
	p.checkDrained()
	return changes
}

// Waiting says how much is pending, since when, and which change is the last one.
func (p *Queue[T]) Waiting() (objects int, bytes int64, first time.Time, last uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first != nil {
		first = p.first.at
	}
	return p.objects, p.bytes, first, p.seq
}

// DeliveredUpTo reports whether nothing is pending that was accepted as change seq
// or before it.
func (p *Queue[T]) DeliveredUpTo(seq uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first == nil || p.first.seq > seq
}
