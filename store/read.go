// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"iter"
)

// Get returns the object with this key, and whether there is one.
func (s *Store[T]) Get(key Key) (obj T, ok bool) {
	hash := s.byKey.hash(key)
	stripe := s.byKey.stripe(hash)
	rlock(&stripe.mu)
	if rec := findKey(&stripe.keys, hash<<stripeBits, key); rec != nil {
		obj, ok = rec.obj, true
	}
	stripe.mu.RUnlock()
	return obj, ok
}

// GetMeta returns the meta of the object with this key, and whether there is one.
func (s *Store[T]) GetMeta(key Key) (Meta, bool) {
	meta, _, ok := s.Entry(key)
	return meta, ok
}

// Entry returns the object with this key and its meta, and whether there is one.
func (s *Store[T]) Entry(key Key) (meta Meta, obj T, ok bool) {
	hash := s.byKey.hash(key)
	stripe := s.byKey.stripe(hash)
	rlock(&stripe.mu)
	if rec := findKey(&stripe.keys, hash<<stripeBits, key); rec != nil {
		meta, obj, ok = rec.Meta(), rec.obj, true
	}
	stripe.mu.RUnlock()
	return meta, obj, ok
}

// Len returns the number of objects.
func (s *Store[T]) Len() int {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	return s.records.len()
}

// Generation counts the visible changes. Changes that are made at once count as one. A
// change is visible before OnChange gets it, so Generation can be ahead of
// [Change.Generation].
func (s *Store[T]) Generation() uint64 {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	return s.generation
}

// Version returns the version of the store: that of the last complete pass, or of a later
// change or progress. It is empty before the first of them, and if the source has no
// versions. With parts, it is the oldest version of them, see [Part].
func (s *Store[T]) Version() string {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	return s.version
}

// List returns all objects of one point in time, in no particular order. The caller owns
// the slice.
func (s *Store[T]) List() []T { return objects(s.now()) }

// All iterates over all objects, as they were when the iteration began, in no particular
// order. No lock is held during the loop. It can block, break, and read or change the
// store.
func (s *Store[T]) All() iter.Seq2[Key, T] {
	return func(yield func(Key, T) bool) { eachKey(s.now(), yield) }
}

// Entries is like [Store.All], with the meta of each object.
func (s *Store[T]) Entries() iter.Seq2[Meta, T] {
	return func(yield func(Meta, T) bool) { eachMeta(s.now(), yield) }
}

// Keys is like [Store.All], with only the keys.
func (s *Store[T]) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		eachKey(s.now(), func(key Key, _ T) bool { return yield(key) })
	}
}

// ByIndex returns the objects that have this value in the index, at one point in time and
// in no particular order. The caller owns the slice. If there is no such index, the error
// wraps [ErrNoIndex].
func (s *Store[T]) ByIndex(index, value string) ([]T, error) {
	ix, err := s.Index(index)
	if err != nil {
		return nil, err
	}
	return ix.List(value), nil
}

// IndexKeys is like [Store.ByIndex], with the keys of the objects.
func (s *Store[T]) IndexKeys(index, value string) ([]Key, error) {
	ix, err := s.Index(index)
	if err != nil {
		return nil, err
	}
	return ix.Keys(value), nil
}

// IndexValues returns the values of the index that have objects, at one point in time and
// in no particular order. The caller owns the slice. If there is no such index, the error
// wraps [ErrNoIndex].
func (s *Store[T]) IndexValues(index string) ([]string, error) {
	ix, err := s.Index(index)
	if err != nil {
		return nil, err
	}
	return ix.Values(), nil
}

// now returns the current records.
func (s *Store[T]) now() cow[*Record[T]] {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	s.share()
	return s.records
}

// share makes the current state a snapshot, which writers no longer modify. The caller
// holds a lock.
func (s *Store[T]) share() {
	if !s.shared.Load() { // avoids writes that slow other readers
		s.shared.Store(true)
	}
}

func noIndex(store, index string) error {
	return fmt.Errorf("store %s: index %q: %w: add it with AddIndexers", store, index, ErrNoIndex)
}

func objects[T any](records cow[*Record[T]]) []T {
	objs := make([]T, 0, records.len())
	for _, p := range records.dir {
		for _, rec := range p.items {
			objs = append(objs, rec.obj)
		}
	}
	return objs
}

func keys[T any](records cow[*Record[T]]) []Key {
	keys := make([]Key, 0, records.len())
	for rec := range records.all() {
		keys = append(keys, rec.Key())
	}
	return keys
}

func eachKey[T any](records cow[*Record[T]], yield func(Key, T) bool) {
	for rec := range records.all() {
		if !yield(rec.Key(), rec.obj) {
			return
		}
	}
}

func eachMeta[T any](records cow[*Record[T]], yield func(Meta, T) bool) {
	for rec := range records.all() {
		if !yield(rec.Meta(), rec.obj) {
			return
		}
	}
}
