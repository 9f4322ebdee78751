// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"iter"
	"runtime"
)

// Get returns the object of key, and whether there is one.
func (s *Store[T]) Get(key Key) (obj T, ok bool) {
	s.rlock()
	_, rec, _ := s.byKey.find(key)
	s.mu.RUnlock()
	if rec == nil {
		return obj, false
	}
	return rec.obj, true
}

// GetMeta returns the meta of the object of key, and whether there is one.
func (s *Store[T]) GetMeta(key Key) (Meta, bool) {
	meta, _, ok := s.Entry(key)
	return meta, ok
}

// Entry returns the object of key with its meta, and whether there is one.
func (s *Store[T]) Entry(key Key) (meta Meta, obj T, ok bool) {
	s.rlock()
	_, rec, _ := s.byKey.find(key)
	s.mu.RUnlock()
	if rec == nil {
		return Meta{}, obj, false
	}
	return rec.Meta(), rec.obj, true
}

// Len returns how many objects there are.
func (s *Store[T]) Len() int {
	s.rlock()
	defer s.mu.RUnlock()
	return s.byKey.n
}

// Version returns the version that the store is at: that of the last pass that
// was completed, or of a change or of progress after that. It is empty before
// the first of them, and if the source does not know versions.
func (s *Store[T]) Version() string {
	s.rlock()
	defer s.mu.RUnlock()
	return s.version
}

// List returns all objects in no particular order, as they were at one point
// in time. The slice is the caller's.
func (s *Store[T]) List() []T {
	return objects(s.snapshot())
}

// All iterates over all objects in no particular order, as they were at the
// point in time when the iteration began.
//
// No lock is held meanwhile: the loop may take its time, break off, and use the
// store in any way, also change it.
func (s *Store[T]) All() iter.Seq2[Key, T] {
	return func(yield func(Key, T) bool) {
		for rec := range s.snapshot().all() {
			if !yield(rec.key, rec.obj) {
				return
			}
		}
	}
}

// Entries is like [Store.All], with the meta of each object.
func (s *Store[T]) Entries() iter.Seq2[Meta, T] {
	return func(yield func(Meta, T) bool) {
		for rec := range s.snapshot().all() {
			if !yield(rec.Meta(), rec.obj) {
				return
			}
		}
	}
}

// Keys is like [Store.All], with the keys alone.
func (s *Store[T]) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for rec := range s.snapshot().all() {
			if !yield(rec.key) {
				return
			}
		}
	}
}

// ByIndex returns the objects that index has under value, in no particular
// order, as they were at one point in time. The slice is the caller's. If there
// is no such index the error wraps [ErrNoIndex].
func (s *Store[T]) ByIndex(index, value string) ([]T, error) {
	snap, err := s.bucket(index, value)
	if err != nil {
		return nil, err
	}
	return objects(snap), nil
}

// IndexKeys is like [Store.ByIndex], with the keys of the objects.
func (s *Store[T]) IndexKeys(index, value string) ([]Key, error) {
	snap, err := s.bucket(index, value)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, snap.len())
	for rec := range snap.all() {
		keys = append(keys, rec.key)
	}
	return keys, nil
}

// IndexValues returns the values under which index has objects, in no
// particular order, as they were at one point in time. The slice is the
// caller's. If there is no such index the error wraps [ErrNoIndex].
func (s *Store[T]) IndexValues(index string) ([]string, error) {
	snap, err := s.buckets(index)
	if err != nil {
		return nil, err
	}
	values := make([]string, 0, snap.len())
	for b := range snap.all() {
		values = append(values, b.value)
	}
	return values, nil
}

// rlock takes the read lock. It tries before it waits: a reader that waits for
// a sync.RWMutex has the lock from the moment the writer leaves it, but uses it
// only once it runs, and on a busy machine the next write waits for that. One
// that yields meanwhile holds nobody up.
func (s *Store[T]) rlock() {
	for range 100 {
		if s.mu.TryRLock() {
			return
		}
		runtime.Gosched()
	}
	s.mu.RLock()
}

func (s *Store[T]) snapshot() snapshot[*Record[T]] {
	s.rlock()
	defer s.mu.RUnlock()
	return s.records.snapshot()
}

func (s *Store[T]) bucket(index, value string) (snap snapshot[*Record[T]], err error) {
	s.rlock()
	defer s.mu.RUnlock()
	ix := s.byName[index]
	if ix == nil {
		return snap, s.noIndex(index)
	}
	if b := ix.buckets[value]; b != nil {
		snap = b.records.snapshot()
	}
	return snap, nil
}

func (s *Store[T]) buckets(index string) (snap snapshot[*bucket[T]], err error) {
	s.rlock()
	defer s.mu.RUnlock()
	ix := s.byName[index]
	if ix == nil {
		return snap, s.noIndex(index)
	}
	return ix.list.snapshot(), nil
}

func (s *Store[T]) noIndex(index string) error {
	return fmt.Errorf("store %s: index %q: %w: add it with AddIndexers", s.name, index, ErrNoIndex)
}

func objects[T any](snap snapshot[*Record[T]]) []T {
	objs := make([]T, 0, snap.len())
	for _, p := range snap.dir {
		for _, rec := range p.items {
			objs = append(objs, rec.obj)
		}
	}
	return objs
}
