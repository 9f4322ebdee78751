// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"iter"
	"sync/atomic"
)

// pageLen is how many elements a full page has.
const pageLen = 256

// cow is an unordered list whose snapshots cost nothing to take: it is a
// directory of pages, and a snapshot is the directory as it stands. Taking one
// marks everything as shared; the writer copies the directory and a page
// before it first writes to them after that.
//
// Its owner guards it with a read-write lock: snapshot needs the read lock, len
// and at any lock or being the only writer, all others the write lock. The
// iterators of a snapshot need no lock.
//
// The first page grows from one element, so that a list of one is cheap.
type cow[E any] struct {
	dir []*page[E]

	// gen is the generation of the pages that no snapshot has. It grows with
	// the first write after a snapshot.
	gen uint64

	// shared says that a snapshot has dir. It is set under the read lock.
	shared atomic.Bool
}

// page is a part of a cow. Those of an older generation than the list's are
// shared with a snapshot and never written to. All but the last are full.
type page[E any] struct {
	gen   uint64
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
func (c *cow[E]) set(pos uint32, e E) {
	c.own(int(pos / pageLen)).items[pos%pageLen] = e
}

// add appends e and returns its position.
func (c *cow[E]) add(e E) uint32 {
	pos := c.len()
	if pos%pageLen != 0 {
		p := c.own(len(c.dir) - 1)
		p.items = append(p.items, e)
		return uint32(pos)
	}
	c.unshare()
	p := &page[E]{gen: c.gen}
	if pos > 0 {
		p.items = make([]E, 0, pageLen)
	}
	p.items = append(p.items, e)
	c.dir = append(c.dir, p)
	return uint32(pos)
}

// remove removes the element at pos. Where another one takes its place, that
// is returned as moved.
func (c *cow[E]) remove(pos uint32) (moved E, ok bool) {
	last := len(c.dir) - 1
	tail := c.own(last)
	end := len(tail.items) - 1
	if int(pos) != last*pageLen+end {
		moved, ok = tail.items[end], true
		c.set(pos, moved)
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

// unshare makes the directory the writer's own.
func (c *cow[E]) unshare() {
	if c.shared.Load() {
		c.shared.Store(false)
		c.gen++
		c.dir = append(make([]*page[E], 0, len(c.dir)+1), c.dir...)
	}
}

// own makes page n the writer's own, and returns it.
func (c *cow[E]) own(n int) *page[E] {
	c.unshare()
	p := c.dir[n]
	if p.gen != c.gen {
		p = &page[E]{gen: c.gen, items: append(make([]E, 0, cap(p.items)), p.items...)}
		c.dir[n] = p
	}
	return p
}

// snapshot returns the list as it is now; it will never change.
func (c *cow[E]) snapshot() snapshot[E] {
	if !c.shared.Load() { // readers among themselves need not write
		c.shared.Store(true)
	}
	return snapshot[E]{dir: c.dir}
}

// snapshot is a cow at one point in time.
type snapshot[E any] struct {
	dir []*page[E]
}

func (s snapshot[E]) len() int {
	c := cow[E]{dir: s.dir}
	return c.len()
}

// all iterates over the elements. yield may take its time.
func (s snapshot[E]) all() iter.Seq[E] {
	return func(yield func(E) bool) {
		for _, p := range s.dir {
			for _, e := range p.items {
				if !yield(e) {
					return
				}
			}
		}
	}
}
