// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"hash/maphash"
	"iter"
)

// Snapshot is a [Store] at one point in time, with all its indexes. It never changes. Any
// number of goroutines can use it. It keeps its objects in memory as long as it is in use.
//
// A snapshot costs a kilobyte, for stores of any size. Later writes copy the parts that
// they change, and the directories of these parts: 8 bytes for each 256 objects, and about
// as much for each index.
//
// The zero Snapshot is empty.
type Snapshot[T any] struct{ state *state[T] }

// state of a store.
type state[T any] struct {
	name       string
	version    string
	generation uint64
	records    cow[*Record[T]]
	seed       maphash.Seed // of the keys
	stripes    [stripes]directory[Record[T]]
	indexes    []Index[T]
}

// Snapshot returns the current state. It never waits for the source.
func (s *Store[T]) Snapshot() Snapshot[T] {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	return s.snapshot()
}

// snapshot is Snapshot for a caller that holds mu or writing.
func (s *Store[T]) snapshot() Snapshot[T] {
	s.share()
	state := &state[T]{
		name: s.name, version: s.version, generation: s.generation, records: s.records, seed: s.byKey.seed,
		indexes: make([]Index[T], len(s.indexes)),
	}
	for i := range s.byKey.stripes {
		state.stripes[i] = s.byKey.stripes[i].keys
	}
	for i, ix := range s.indexes {
		then := ix.buckets
		state.indexes[i] = Index[T]{index: ix, then: &then}
	}
	return Snapshot[T]{state}
}

// Version returns the version of the store at that time; see [Store.Version].
func (s Snapshot[T]) Version() string {
	if s.state == nil {
		return ""
	}
	return s.state.version
}

// Generation is [Store.Generation] at that time. Of two snapshots of a store, the one with
// the greater generation is later. With equal generations they have the same objects.
// Progress and added indexes do not change the generation.
func (s Snapshot[T]) Generation() uint64 {
	if s.state == nil {
		return 0
	}
	return s.state.generation
}

// Len returns the number of objects.
func (s Snapshot[T]) Len() int {
	records := s.records()
	return records.len()
}

// Get returns the object with this key, and whether there is one.
func (s Snapshot[T]) Get(key Key) (obj T, ok bool) {
	if rec := s.find(key); rec != nil {
		return rec.obj, true
	}
	return obj, false
}

// Entry returns the object with this key and its meta, and whether there is one.
func (s Snapshot[T]) Entry(key Key) (meta Meta, obj T, ok bool) {
	if rec := s.find(key); rec != nil {
		return rec.Meta(), rec.obj, true
	}
	return meta, obj, false
}

// List returns all objects in no particular order. The caller owns the slice.
func (s Snapshot[T]) List() []T { return objects(s.records()) }

// All iterates over all objects in no particular order.
func (s Snapshot[T]) All() iter.Seq2[Key, T] {
	return func(yield func(Key, T) bool) { eachKey(s.records(), yield) }
}

// Entries is like [Snapshot.All], with the meta of each object.
func (s Snapshot[T]) Entries() iter.Seq2[Meta, T] {
	return func(yield func(Meta, T) bool) { eachMeta(s.records(), yield) }
}

// Index returns the index with this name at that time. If there was none, the error wraps
// [ErrNoIndex].
func (s Snapshot[T]) Index(name string) (Index[T], error) {
	if s.state == nil {
		return Index[T]{}, noIndex("", name)
	}
	for _, ix := range s.state.indexes {
		if ix.index.name == name {
			return ix, nil
		}
	}
	return Index[T]{}, noIndex(s.state.name, name)
}

func (s Snapshot[T]) records() (none cow[*Record[T]]) {
	if s.state == nil {
		return none
	}
	return s.state.records
}

func (s Snapshot[T]) find(key Key) *Record[T] {
	if s.state == nil {
		return nil
	}
	hash := hashKey(s.state.seed, key)
	return findKey(&s.state.stripes[hash>>(64-stripeBits)], hash<<stripeBits, key)
}

// Snapshots iterates over the states of the store, until ctx ends. It yields the current
// state first, as soon as it is complete. After each iteration it waits for a change, and
// yields the newest state. It skips states in between, so a slow loop does not lag behind.
//
// A state is complete after the first [Store.Commit] or [Store.Replace], or after a change
// outside of a pass. During a pass no state is yielded, since it would have only some of the
// objects of the pass. See [Part] for a store with parts.
func (s *Store[T]) Snapshots(ctx context.Context) iter.Seq[Snapshot[T]] {
	return func(yield func(Snapshot[T]) bool) {
		var shown *uint64
		for ctx.Err() == nil {
			changed := s.changes.next()
			if snap, ok := s.whole(); ok && (shown == nil || *shown != snap.Generation()) {
				generation := snap.Generation()
				shown = &generation
				if !yield(snap) {
					return
				}
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// whole returns a snapshot if the state of the store is complete.
func (s *Store[T]) whole() (snap Snapshot[T], ok bool) {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	if !s.stated || s.unsettled > 0 {
		return snap, false
	}
	return s.snapshot(), true
}
