// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import "time"

// Changes can be taken in batches instead of key by key, see Queue.Batches. There is one batch
// at a time.

// Taken is a change that is being delivered in a batch.
type Taken[T any] struct {
	Work   *Work[T]
	Change Change[T] // its state when it was taken
}

// TakeBatch takes the changes that were accepted first, up to the bounds. It takes at least
// one if there is any.
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

// VersionAfter returns the resume version after the acknowledgement of batch, which must be
// the last one taken.
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

// Drop removes all pending changes, and returns their number. No change must be in delivery.
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

// Waiting returns how much is pending, since when, and the number of the last change.
func (p *Queue[T]) Waiting() (objects int, bytes int64, first time.Time, last uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first != nil {
		first = p.first.at
	}
	return p.objects, p.bytes, first, p.seq
}

// DeliveredUpTo reports whether change seq and all before it are delivered.
func (p *Queue[T]) DeliveredUpTo(seq uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first == nil || p.first.seq > seq
}
