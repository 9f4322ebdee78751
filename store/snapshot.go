// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"hash/maphash"
	"iter"
)

// Snapshot is a [Store] as it was at one point in time, with all its indexes. It
// never changes, may be used by any number of goroutines, and keeps what it has in
// memory as long as it is in use.
//
// To take one costs a kilobyte, whatever the size of the store. The writes that
// follow copy what they change, and the directories that lead there: 8 bytes for
// each 256 objects, and about as much for each index.
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

// Snapshot returns what the store has now. It never waits for the source.
func (s *Store[T]) Snapshot() Snapshot[T] {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	return s.snapshot()
}

// snapshot is for who holds mu, or writing.
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

// Version returns the version that the store was at; see [Store.Version].
func (s Snapshot[T]) Version() string {
	if s.state == nil {
		return ""
	}
	return s.state.version
}

// Generation counts the changes of the store until then, several that were made at
// once as one. So of two snapshots of a store the one with the greater generation is
// the later one, and if these are equal they have the same objects. Progress, and an
// index that is added, change none.
func (s Snapshot[T]) Generation() uint64 {
	if s.state == nil {
		return 0
	}
	return s.state.generation
}

// Len returns how many objects there are.
func (s Snapshot[T]) Len() int {
	records := s.records()
	return records.len()
}

// Get returns the object of key, and whether there is one.
func (s Snapshot[T]) Get(key Key) (obj T, ok bool) {
	if rec := s.find(key); rec != nil {
		return rec.obj, true
	}
	return obj, false
}

// Entry returns the object of key with its meta, and whether there is one.
func (s Snapshot[T]) Entry(key Key) (meta Meta, obj T, ok bool) {
	if rec := s.find(key); rec != nil {
		return rec.Meta(), rec.obj, true
	}
	return meta, obj, false
}

// List returns all objects in no particular order. The slice is the caller's.
func (s Snapshot[T]) List() []T { return objects(s.records()) }

// All iterates over all objects in no particular order.
func (s Snapshot[T]) All() iter.Seq2[Key, T] {
	return func(yield func(Key, T) bool) { eachKey(s.records(), yield) }
}

// Entries is like [Snapshot.All], with the meta of each object.
func (s Snapshot[T]) Entries() iter.Seq2[Meta, T] {
	return func(yield func(Meta, T) bool) { eachMeta(s.records(), yield) }
}

// Index returns the index of that name, as it was then. If there was none the
// error wraps [ErrNoIndex].
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

// Snapshots iterates over the states of the store: first the one that it has, once
// that is a whole one, and then, each time the loop comes back, the newest one, as
// soon as something changed. States in between are passed over, so a slow loop
// never lags behind.
//
// A state is a whole one after the first [Store.Commit] or [Store.Replace], or
// after a change outside of a pass. While a pass is under way none is shown, since
// it would have a part of the pass only.
//
// It ends when ctx does, or with the loop.
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

// whole returns a snapshot if the store has a whole state.
func (s *Store[T]) whole() (snap Snapshot[T], ok bool) {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	if !s.stated || s.pass.open {
		return snap, false
	}
	return s.snapshot(), true
}
