// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"hash/maphash"

	"github.com/apiary-go/apiary/store"
)

// versionTable finds records by key. It is an extendible hash table: a directory
// of buckets by the first bits of the hash. A bucket that is full is split in
// two, so that the table grows bucket by bucket and is never copied as a whole.
type versionTable struct {
	keys versionKeys
	n    int

	// directory has 1<<depth entries; a bucket that shares fewer bits stands
	// in several, one next to the other.
	directory []*versionBucket
	depth     uint

	full int // how many records a bucket may have
}

// bucketRecords is how many records a bucket may have: so many that its own size
// does not matter, so few that splitting it takes no time to speak of.
const bucketRecords = 2048

func newVersionTable(seed maphash.Seed, full int) versionTable {
	return versionTable{
		keys:      versionKeys{seed: seed},
		directory: []*versionBucket{newBucket(0, 0, 0)},
		full:      full,
	}
}

// find returns the bucket where the record of key belongs, and its position
// there, or -1 if there is none.
func (t *versionTable) find(key store.Key) (b *versionBucket, hash uint64, pos int) {
	hash = t.keys.hash(key)
	b = t.bucket(hash)
	return b, hash, b.find(&t.keys, key, hash)
}

func (t *versionTable) bucket(hash uint64) *versionBucket {
	return t.directory[hash>>(64-t.depth)]
}

// get returns what is recorded under key.
func (t *versionTable) get(key store.Key) (r versionRecord, b *versionBucket) {
	b, _, pos := t.find(key)
	if pos < 0 {
		return nil, nil
	}
	return b.record(pos), b
}

// set records meta. The record is marked if mark is set or if it was.
func (t *versionTable) set(meta store.Meta, mark bool, generation uint64) {
	state := packState(meta.UID, meta.Version)
	b, hash, pos := t.find(meta.Key)
	if pos < 0 {
		t.add(hash, meta.Key, &state, mark, generation)
		return
	}
	r := b.record(pos)
	_, _, old := r.key()
	if size := r.size(); size != len(r)-len(old)+state.size() {
		mark = mark || b.marked(r, generation)
		t.remove(b, pos)
		t.add(hash, meta.Key, &state, mark, generation)
		return
	}
	r[0] = r[0]&^stateFlags | state.flags
	state.write(old)
	if mark {
		b.mark(r, generation)
	}
}

// add adds a record for a key that has none.
func (t *versionTable) add(hash uint64, key store.Key, state *versionState, mark bool, generation uint64) {
	id := t.keys.number(key.Namespace)
	head := keySize(id, key.Name)
	b := t.roomy(hash)
	r := b.add(&t.keys, hash, head+state.size(), new([][]byte))
	writeKey(r, state.flags, id, key.Name)
	state.write(r[head:])
	if mark {
		b.mark(r, generation)
	}
	t.n++
}

// remove forgets the record at pos of b.
func (t *versionTable) remove(b *versionBucket, pos int) {
	id, _, _ := b.record(pos).key()
	b.remove(&t.keys, pos)
	t.keys.release(id)
	t.n--
}

// roomy returns the bucket of hash, after splitting it if it is full. As the
// hashes are seeded nobody can choose keys that have many bits in common.
func (t *versionTable) roomy(hash uint64) *versionBucket {
	for {
		b := t.bucket(hash)
		if len(b.pages.list) >= maxPages && b.pages.holes > 0 {
			b.compact(&t.keys)
		}
		if b.n < t.full && len(b.pages.list) < maxPages {
			return b
		}
		if b.depth == t.depth {
			t.extend()
		}
		start := hash >> (64 - b.depth) << (t.depth - b.depth)
		half := uint64(1) << (t.depth - b.depth) / 2
		low, high := b.split(&t.keys)
		for i := range half {
			t.directory[start+i], t.directory[start+half+i] = low, high
		}
	}
}

// extend doubles the directory.
func (t *versionTable) extend() {
	directory := make([]*versionBucket, 2*len(t.directory))
	for i, b := range t.directory {
		directory[2*i], directory[2*i+1] = b, b
	}
	t.directory = directory
	t.depth++
}

// collect appends to keys the keys of the records of one bucket, those that
// wanted is true of: that of the hash from, but nothing with a hash below. The
// next bucket is that of the hash next, which is 0 after the last one.
func (t *versionTable) collect(keys []byte, from uint64, wanted func(*versionBucket, versionRecord) bool) (_ []byte, next uint64) {
	b := t.bucket(from)
	width := uint64(1) << (64 - b.depth) // 0 if it is all hashes
	start := from &^ (width - 1)
	for _, r := range b.pages.all() {
		if !wanted(b, r) || start < from && t.keys.hashOf(r) < from {
			continue
		}
		_, name, _ := r.key()
		keys = appendText(appendText(keys, t.keys.namespaceOf(r)), name)
	}
	return keys, start + width
}
