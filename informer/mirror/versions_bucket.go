// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import "github.com/apiary-go/apiary/store"

// versionBucket has the records of the keys whose hashes begin with the same
// bits: the records on pages, and beside them a hash table with linear probing
// that says where they are.
type versionBucket struct {
	depth uint // how many bits of the hashes are the same
	n     int  // how many records there are
	pages versionPages

	// slots holds for each record its place+1, below a tag of eight bits of
	// the hash, and 0 where there is none. At most two in three are taken.
	slots []uint32

	// generation is that of the marks. Those of an older one mean nothing.
	generation uint64
}

// newBucket returns a bucket with slots for n records.
func newBucket(depth uint, generation uint64, n int) *versionBucket {
	return &versionBucket{depth: depth, generation: generation, slots: slotsFor(n)}
}

func slotsFor(n int) []uint32 { return make([]uint32, 2*n) }

// home returns the slot where the search for a hash begins.
func (b *versionBucket) home(hash uint64) int {
	return int(hash & 0xffff_ffff * uint64(len(b.slots)) >> 32)
}

func (b *versionBucket) next(pos int) int {
	if pos++; pos < len(b.slots) {
		return pos
	}
	return 0
}

// tagOf takes other bits of a hash than home does.
func tagOf(hash uint64) byte { return byte(hash >> 32) }

// record returns the record at pos. Others may follow in the slice.
func (b *versionBucket) record(pos int) versionRecord {
	return b.pages.at(place(b.slots[pos]&(1<<placeBits-1) - 1))
}

// find returns the position of the record of key, or -1 if there is none.
func (b *versionBucket) find(keys *versionKeys, key store.Key, hash uint64) (pos int) {
	if b.n == 0 {
		return -1
	}
	tag := tagOf(hash)
	for pos = b.home(hash); b.slots[pos] != 0; pos = b.next(pos) {
		if byte(b.slots[pos]>>placeBits) == tag && keys.is(b.record(pos), key) {
			return pos
		}
	}
	return -1
}

// add returns room for a record that is not there yet.
func (b *versionBucket) add(keys *versionKeys, hash uint64, size int, spare *[][]byte) versionRecord {
	if b.n >= len(b.slots)*2/3 {
		b.resize(keys, b.n+1)
	}
	at, r := b.pages.add(size, spare)
	b.enter(hash, at)
	b.n++
	return r
}

// enter takes a slot for the record at a place.
func (b *versionBucket) enter(hash uint64, at place) {
	pos := b.home(hash)
	for b.slots[pos] != 0 {
		pos = b.next(pos)
	}
	b.slots[pos] = uint32(tagOf(hash))<<placeBits | uint32(at+1)
}

// resize makes slots for n records.
func (b *versionBucket) resize(keys *versionKeys, n int) {
	b.slots = slotsFor(n)
	for at, r := range b.pages.all() {
		b.enter(keys.hashOf(r), at)
	}
}

// remove drops the record at pos, and moves up those slots behind it that would
// not be found any more.
func (b *versionBucket) remove(keys *versionKeys, pos int) {
	b.pages.drop(b.record(pos))
	b.n--
	size := len(b.slots)
	for next := b.next(pos); b.slots[next] != 0; next = b.next(next) {
		home := b.home(keys.hashOf(b.record(next)))
		if (next-home+size)%size >= (next-pos+size)%size {
			b.slots[pos] = b.slots[next]
			pos = next
		}
	}
	b.slots[pos] = 0
	if b.n == 0 || b.pages.holes > b.pages.bytes/4 {
		b.compact(keys)
	}
}

// compact moves the records to new pages without holes.
func (b *versionBucket) compact(keys *versionKeys) {
	to := newBucket(b.depth, b.generation, b.n)
	b.move(keys, func(uint64) *versionBucket { return to })
	*b = *to
}

// split moves the records to two new buckets by the next bit of their hashes.
func (b *versionBucket) split(keys *versionKeys) (low, high *versionBucket) {
	low = newBucket(b.depth+1, b.generation, b.n/2)
	high = newBucket(b.depth+1, b.generation, b.n/2)
	b.move(keys, func(hash uint64) *versionBucket {
		if hash<<b.depth>>63 == 0 {
			return low
		}
		return high
	})
	return low, high
}

// move moves the records to the buckets that to returns. Pages that have become
// empty are used for that.
func (b *versionBucket) move(keys *versionKeys, to func(hash uint64) *versionBucket) {
	var spare [][]byte
	for r := range b.pages.drain(&spare) {
		hash := keys.hashOf(r)
		copy(to(hash).add(keys, hash, len(r), &spare), r)
	}
}

// mark marks r in a generation.
func (b *versionBucket) mark(r versionRecord, generation uint64) {
	if b.generation != generation {
		for _, r := range b.pages.all() {
			r[0] &^= recordMarked
		}
		b.generation = generation
	}
	r[0] |= recordMarked
}

// marked reports whether r is marked in a generation.
func (b *versionBucket) marked(r versionRecord, generation uint64) bool {
	return b.generation == generation && r.has(recordMarked)
}
