// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "hash/maphash"

// table finds records by key: a hash table with linear probing. Unlike a map
// it keeps no copies of the keys, replaces a record without a second search,
// is resized without keeping readers out, and becomes smaller again.
//
// Its owner guards it with a read-write lock: find needs the read lock or being
// the only writer, resized the latter, all others the write lock.
type table[T any] struct {
	slots []slot[T] // their number is a power of two
	n     int
	seed  maphash.Seed
}

// slot of a table; it is free if it has no record.
type slot[T any] struct {
	hash uint64
	rec  *Record[T]
}

// minSlots is how many slots a table has at least.
const minSlots = 8

func newTable[T any]() table[T] {
	return table[T]{slots: make([]slot[T], minSlots), seed: maphash.MakeSeed()}
}

// find returns the position of the record of key, or of the free slot where it
// belongs.
func (t *table[T]) find(key Key) (pos int, rec *Record[T], hash uint64) {
	hash = maphash.Comparable(t.seed, key)
	for pos = t.home(hash); ; pos = t.next(pos) {
		s := &t.slots[pos]
		if s.rec == nil || s.hash == hash && s.rec.key == key {
			return pos, s.rec, hash
		}
	}
}

func (t *table[T]) home(hash uint64) int { return int(hash) & (len(t.slots) - 1) }

func (t *table[T]) next(pos int) int { return (pos + 1) & (len(t.slots) - 1) }

// resized returns slots for one more record, or one less, if those of the table
// are too few or too many by far; else nil. With them assigned to slots the
// table is what it was, but positions that find returned are void.
func (t *table[T]) resized(more int) []slot[T] {
	size := len(t.slots)
	switch n := t.n + more; {
	case n > size/4*3:
		size *= 2
	case n < size/8 && size > minSlots:
		size /= 2
	default:
		return nil
	}
	r := table[T]{slots: make([]slot[T], size)}
	for _, s := range t.slots {
		if s.rec == nil {
			continue
		}
		pos := r.home(s.hash)
		for r.slots[pos].rec != nil {
			pos = r.next(pos)
		}
		r.slots[pos] = s
	}
	return r.slots
}

// add puts rec into the table, which must not have its key.
func (t *table[T]) add(hash uint64, rec *Record[T]) {
	pos := t.home(hash)
	for t.slots[pos].rec != nil {
		pos = t.next(pos)
	}
	t.slots[pos] = slot[T]{hash, rec}
	t.n++
}

// remove frees the slot at pos, and moves up those behind it that would not be
// found any more.
func (t *table[T]) remove(pos int) {
	size := len(t.slots)
	for next := t.next(pos); t.slots[next].rec != nil; next = t.next(next) {
		home := t.home(t.slots[next].hash)
		if (next-home)&(size-1) >= (next-pos)&(size-1) {
			t.slots[pos] = t.slots[next]
			pos = next
		}
	}
	t.slots[pos] = slot[T]{}
	t.n--
}
