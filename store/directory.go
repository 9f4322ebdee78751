// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"iter"
	"math/bits"
	"slices"
)

// directory finds elements by their hashes. It uses extendible hashing with small bins, so
// a write, or the growth of the table, copies one bin at a time. For epochs see [cow].
//
// The first bits of a hash select the entry of dir. Some of the following bits are the tag
// of the element, which determines its home slot in the bin.
type directory[E any] struct {
	dir   []*bin[E] // their number is a power of two; a bin can have several
	epoch uint64    // of dir
	n     int32     // elements
	bins  int32
}

// bin is a hash table with linear probing. It has more slots than elements.
type bin[E any] struct {
	epoch uint64
	depth uint8 // number of first bits that the hashes of its elements share
	n     int32
	elems []*E    // by slot
	tags  []uint8 // by slot; 0: the slot is free

	near [maxBin]uint8 // tags is a part of it if that is large enough
}

const (
	minBin = 8  // slots
	maxBin = 64 // slots; more only if splitting a bin does not separate its hashes
)

// tagOf returns bits from the middle of a hash.
func tagOf(hash uint64) uint8 { return uint8(hash>>24) | 0x80 }

// bin returns the bin of a hash, nil if there is none.
func (d *directory[E]) bin(hash uint64) *bin[E] {
	if len(d.dir) == 0 {
		return nil
	}
	return d.dir[d.entry(hash)]
}

func (d *directory[E]) depth() int { return bits.TrailingZeros(uint(len(d.dir))) }

func (d *directory[E]) entry(hash uint64) int { return int(hash >> (64 - d.depth())) }

func (b *bin[E]) home(tag uint8) int { return int(tag) & (len(b.tags) - 1) }

func (b *bin[E]) next(slot int) int { return (slot + 1) & (len(b.tags) - 1) }

// full returns true if there is no room for another element.
func (b *bin[E]) full() bool { return int(b.n) >= len(b.tags)/8*7 }

// add adds e to the directory, which must not have it. hashOf returns the hashes of other
// elements.
func (d *directory[E]) add(epoch uint64, hash uint64, e *E, hashOf func(*E) uint64) {
	if len(d.dir) == 0 {
		d.dir, d.epoch, d.bins = []*bin[E]{newBin[E](epoch, 0, minBin)}, epoch, 1
	}
	b := d.own(epoch, hash)
	for b.full() {
		if len(b.tags) < maxBin || int(b.depth) >= bits.Len32(uint32(d.n)) {
			b.resize(2 * len(b.tags))
			continue
		}
		d.split(b, hash, hashOf)
		b = d.bin(hash)
	}
	b.add(tagOf(hash), e)
	d.n++
}

// replace replaces old, which must be there, by e.
func (d *directory[E]) replace(epoch uint64, hash uint64, old, e *E) {
	b := d.own(epoch, hash)
	if slot := b.slotOf(tagOf(hash), old); slot >= 0 {
		b.elems[slot] = e
	}
}

// remove removes e, which must be there.
func (d *directory[E]) remove(epoch uint64, hash uint64, e *E, hashOf func(*E) uint64) {
	b := d.own(epoch, hash)
	slot := b.slotOf(tagOf(hash), e)
	if slot < 0 {
		return
	}
	b.remove(slot)
	d.n--
	if len(b.tags) > minBin && int(b.n) < len(b.tags)/8 {
		b.resize(len(b.tags) / 2)
	}
	if d.bins > 1 && d.n < d.bins*minBin {
		d.rebuild(epoch, hashOf)
	}
}

// rebuild builds a smaller directory, after most elements were removed.
func (d *directory[E]) rebuild(epoch uint64, hashOf func(*E) uint64) {
	fresh := directory[E]{}
	for e := range d.all() {
		fresh.add(epoch, hashOf(e), e, hashOf)
	}
	*d = fresh
}

// own copies the directory and the bin of hash unless they are of the current epoch, and
// returns the bin.
func (d *directory[E]) own(epoch uint64, hash uint64) *bin[E] {
	if d.epoch != epoch {
		d.epoch = epoch
		d.dir = append([]*bin[E](nil), d.dir...)
	}
	b := d.bin(hash)
	if b.epoch == epoch {
		return b
	}
	c := newBin[E](epoch, b.depth, len(b.tags))
	c.n = b.n
	copy(c.tags, b.tags)
	copy(c.elems, b.elems)
	d.point(hash, c)
	return c
}

// point makes all entries of the bin of hash point to b.
func (d *directory[E]) point(hash uint64, b *bin[E]) {
	each := 1 << (d.depth() - int(b.depth))
	first := d.entry(hash) &^ (each - 1)
	for i := range each {
		d.dir[first+i] = b
	}
}

// split splits b, the bin of hash, into two bins. Each has as many slots as b, since it can
// get all elements.
func (d *directory[E]) split(b *bin[E], hash uint64, hashOf func(*E) uint64) {
	if int(b.depth) == d.depth() {
		dir := make([]*bin[E], 0, 2*len(d.dir))
		for _, b := range d.dir {
			dir = append(dir, b, b)
		}
		d.dir = dir
	}
	var halves [2]*bin[E]
	for i := range halves {
		halves[i] = newBin[E](b.epoch, b.depth+1, len(b.tags))
	}
	bit := 63 - b.depth
	for slot, tag := range b.tags {
		if tag != 0 {
			e := b.elems[slot]
			halves[hashOf(e)>>bit&1].add(tag, e)
		}
	}
	d.point(hash&^(1<<bit), halves[0])
	d.point(hash|1<<bit, halves[1])
	d.bins++
}

// all iterates over the elements.
func (d directory[E]) all() iter.Seq[*E] {
	return func(yield func(*E) bool) {
		var last *bin[E]
		for _, b := range d.dir {
			if b == last {
				continue
			}
			last = b
			for slot, tag := range b.tags {
				if tag != 0 && !yield(b.elems[slot]) {
					return
				}
			}
		}
	}
}

func newBin[E any](epoch uint64, depth uint8, slots int) *bin[E] {
	b := &bin[E]{epoch: epoch, depth: depth}
	b.clear(slots)
	return b
}

// clear empties the bin and sets its number of slots.
func (b *bin[E]) clear(slots int) {
	b.n = 0
	b.elems = make([]*E, slots)
	if slots > maxBin {
		b.tags = make([]uint8, slots)
		return
	}
	b.tags = b.near[:slots]
	clear(b.tags)
}

// add stores e in the first free slot at or after its home.
func (b *bin[E]) add(tag uint8, e *E) {
	slot := b.home(tag)
	for b.tags[slot] != 0 {
		slot = b.next(slot)
	}
	b.tags[slot], b.elems[slot] = tag, e
	b.n++
}

// slotOf returns the slot of e, -1 if it is not there.
func (b *bin[E]) slotOf(tag uint8, e *E) int {
	for slot := b.home(tag); b.tags[slot] != 0; slot = b.next(slot) {
		if b.elems[slot] == e {
			return slot
		}
	}
	return -1
}

// remove frees a slot. It moves elements behind it that could no longer be found.
func (b *bin[E]) remove(slot int) {
	mask := len(b.tags) - 1
	for next := b.next(slot); b.tags[next] != 0; next = b.next(next) {
		home := b.home(b.tags[next])
		if (next-home)&mask >= (next-slot)&mask {
			b.tags[slot], b.elems[slot] = b.tags[next], b.elems[next]
			slot = next
		}
	}
	b.tags[slot], b.elems[slot] = 0, nil
	b.n--
}

// resize changes the number of slots of the bin.
func (b *bin[E]) resize(slots int) {
	tags, elems := slices.Clone(b.tags), b.elems
	b.clear(slots)
	for slot, tag := range tags {
		if tag != 0 {
			b.add(tag, elems[slot])
		}
	}
}
