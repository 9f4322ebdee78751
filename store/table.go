// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync"
)

// table finds records by key. It is cut into stripes by the hash, each with a lock
// of its own, so that readers on different processors seldom meet; and it keeps no
// copies of the keys.
//
// Lookups require the lock of the stripe, except by the only writer. Changes require the
// write lock of the stripe, and that of the store.
type table[T any] struct {
	seed    maphash.Seed
	stripes *[stripes]stripe[T]
}

const (
	stripeBits = 5
	stripes    = 1 << stripeBits
)

// stripe fills a line of the processor's cache: 64 bytes.
type stripe[T any] struct {
	mu   sync.RWMutex
	keys directory[Record[T]]
}

func newTable[T any]() table[T] {
	return table[T]{seed: maphash.MakeSeed(), stripes: new([stripes]stripe[T])}
}

func (t *table[T]) hash(key Key) uint64 { return hashKey(t.seed, key) }

func hashKey(seed maphash.Seed, key Key) uint64 { return maphash.Comparable(seed, key) }

func (t *table[T]) hashOf(r *Record[T]) uint64 { return t.hash(r.Key()) << stripeBits }

func (t *table[T]) stripe(hash uint64) *stripe[T] {
	return &t.stripes[hash>>(64-stripeBits)]
}

// find returns the record of a key with this hash, nil if there is none.
func (t *table[T]) find(hash uint64, key Key) *Record[T] {
	return findKey(&t.stripe(hash).keys, hash<<stripeBits, key)
}

func findKey[T any](d *directory[Record[T]], hash uint64, key Key) *Record[T] {
	b := d.bin(hash)
	if b == nil {
		return nil
	}
	tag := tagOf(hash)
	for slot := b.home(tag); b.tags[slot] != 0; slot = b.next(slot) {
		if b.tags[slot] == tag {
			if r := b.elems[slot]; r.hasKey(key) {
				return r
			}
		}
	}
	return nil
}

// put puts r into the table, in the place of held if that is not nil.
func (t *table[T]) put(epoch, hash uint64, held, r *Record[T]) {
	keys := &t.stripe(hash).keys
	if held != nil {
		keys.replace(epoch, hash<<stripeBits, held, r)
	} else {
		keys.add(epoch, hash<<stripeBits, r, t.hashOf)
	}
}

// remove takes r out.
func (t *table[T]) remove(epoch, hash uint64, r *Record[T]) {
	t.stripe(hash).keys.remove(epoch, hash<<stripeBits, r, t.hashOf)
}

// stripeSet is a set of stripes.
type stripeSet uint32

const allStripes stripeSet = 1<<stripes - 1

func (s *stripeSet) add(hash uint64) { *s |= 1 << (hash >> (64 - stripeBits)) }

// lock takes the write locks of a set of stripes.
func (t *table[T]) lock(set stripeSet) {
	for s := set; s != 0; s &= s - 1 {
		t.stripes[bits.TrailingZeros32(uint32(s))].mu.Lock()
	}
}

func (t *table[T]) unlock(set stripeSet) {
	for s := set; s != 0; s &= s - 1 {
		t.stripes[bits.TrailingZeros32(uint32(s))].mu.Unlock()
	}
}

// rlock takes a read lock. It tries and yields before it waits. A reader that waits for a
// sync.RWMutex holds the lock as soon as the writer unlocks it, even before the reader is
// scheduled. On a busy machine, the next write would wait for that.
func rlock(mu *sync.RWMutex) {
	for range 100 {
		if mu.TryRLock() {
			return
		}
		runtime.Gosched()
	}
	mu.RLock()
}
