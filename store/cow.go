// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "iter"

// pageLen is the number of elements of a full page.
const pageLen = 256

// cow is an unordered list with cheap snapshots. It is a directory of pages that are copied
// on write, so a copy of the directory's header is the list of that time.
//
// All parts of a store that are copied on write have an epoch: that of the store when they
// were made. The first write after a [Snapshot] begins a new epoch. So no snapshot has a
// part of the current epoch, and writers can modify it. They copy an older part first.
// Readers of a snapshot need no lock.
//
// The first page grows from one element, so that a list of one is cheap.
type cow[E any] struct {
	dir   []*page[E]
	epoch uint64 // of dir
}

// page is a part of a cow. All but the last are full.
type page[E any] struct {
	epoch uint64
	items []E
}

func (c *cow[E]) len() int {
	if len(c.dir) == 0 {
		return 0
	}
	last := len(c.dir) - 1
	return last*pageLen + len(c.dir[last].items)
}

// set replaces the element at pos.
func (c *cow[E]) set(epoch uint64, pos uint32, e E) {
	c.own(epoch, int(pos/pageLen)).items[pos%pageLen] = e
}

// at returns the element at pos.
func (c *cow[E]) at(pos int) E { return c.dir[pos/pageLen].items[pos%pageLen] }

// add appends e and returns its position.
func (c *cow[E]) add(epoch uint64, e E) uint32 {
	pos := c.len()
	if pos%pageLen != 0 {
		p := c.own(epoch, len(c.dir)-1)
		p.items = append(p.items, e)
		return uint32(pos)
	}
	c.ownDir(epoch)
	p := &page[E]{epoch: epoch}
	if pos > 0 {
		p.items = make([]E, 0, pageLen)
	}
	p.items = append(p.items, e)
	c.dir = append(c.dir, p)
	return uint32(pos)
}

// remove removes the element at pos. If another element takes its place, remove returns it
// as moved.
func (c *cow[E]) remove(epoch uint64, pos uint32) (moved E, ok bool) {
	last := len(c.dir) - 1
	tail := c.own(epoch, last)
	end := len(tail.items) - 1
	if int(pos) != last*pageLen+end {
		moved, ok = tail.items[end], true
		c.set(epoch, pos, moved)
	}
	clear(tail.items[end:])
	tail.items = tail.items[:end]
	switch {
	case end == 0:
		c.dir[last] = nil
		c.dir = c.dir[:last]
	case last == 0 && end >= 4 && end <= cap(tail.items)/4:
		tail.items = append(make([]E, 0, 2*end), tail.items...)
	}
	return moved, ok
}

// ownDir copies the directory unless it is of the current epoch.
func (c *cow[E]) ownDir(epoch uint64) {
	if c.epoch != epoch {
		c.epoch = epoch
		c.dir = append(make([]*page[E], 0, len(c.dir)+1), c.dir...)
	}
}

// own copies page n unless it is of the current epoch, and returns it.
func (c *cow[E]) own(epoch uint64, n int) *page[E] {
	c.ownDir(epoch)
	p := c.dir[n]
	if p.epoch != epoch {
		p = &page[E]{epoch: epoch, items: append(make([]E, 0, cap(p.items)), p.items...)}
		c.dir[n] = p
	}
	return p
}

// all iterates over the elements.
func (c cow[E]) all() iter.Seq[E] {
	return func(yield func(E) bool) {
		for _, p := range c.dir {
			for _, e := range p.items {
				if !yield(e) {
					return
				}
			}
		}
	}
}
