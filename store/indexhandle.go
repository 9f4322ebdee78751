// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "iter"

// Index is an index of a [Store], or of a [Snapshot], found once so that its name
// need not be looked up, and cannot be missing, at each use. It is a small value,
// and may be used by any number of goroutines. The zero Index has nothing.
type Index[T any] struct {
	index *index[T]
	store *Store[T]             // nil if of a snapshot
	then  *directory[bucket[T]] // of a snapshot
}

// Name returns the name of the index.
func (x Index[T]) Name() string {
	if x.index == nil {
		return ""
	}
	return x.index.name
}

// List returns the objects under value, in no particular order, as they were at one
// point in time. The slice is the caller's.
func (x Index[T]) List(value string) []T { return objects(x.bucket(value)) }

// All iterates over the objects under value as [Store.All] does.
func (x Index[T]) All(value string) iter.Seq2[Key, T] {
	return func(yield func(Key, T) bool) { eachKey(x.bucket(value), yield) }
}

// Keys returns the keys of the objects under value.
func (x Index[T]) Keys(value string) []Key { return keys(x.bucket(value)) }

// Count returns how many objects there are under value.
func (x Index[T]) Count(value string) int {
	if x.store == nil {
		records := x.bucket(value)
		return records.len()
	}
	rlock(&x.store.mu)
	defer x.store.mu.RUnlock()
	if b := x.index.find(&x.index.buckets, value); b != nil {
		return b.records.len()
	}
	return 0
}

// Values returns the values under which there are objects, in no particular order,
// as they were at one point in time. The slice is the caller's.
func (x Index[T]) Values() []string {
	buckets := directory[bucket[T]]{}
	switch {
	case x.store != nil:
		rlock(&x.store.mu)
		x.store.share()
		buckets = x.index.buckets
		x.store.mu.RUnlock()
	case x.then != nil:
		buckets = *x.then
	}
	values := make([]string, 0, buckets.n)
	for b := range buckets.all() {
		values = append(values, b.value.text)
	}
	return values
}

// bucket returns the records under value.
func (x Index[T]) bucket(value string) (records cow[*Record[T]]) {
	switch {
	case x.store != nil:
		rlock(&x.store.mu)
		defer x.store.mu.RUnlock()
		if b := x.index.find(&x.index.buckets, value); b != nil {
			x.store.share()
			records = b.records
		}
	case x.then != nil:
		if b := x.index.find(x.then, value); b != nil {
			records = b.records
		}
	}
	return records
}

// Index returns the index of that name. If there is none the error wraps
// [ErrNoIndex].
func (s *Store[T]) Index(name string) (Index[T], error) {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	if ix := s.named(name); ix != nil {
		return Index[T]{index: ix, store: s}, nil
	}
	return Index[T]{}, noIndex(s.name, name)
}

// named returns the index of that name, nil if there is none. The caller holds a
// lock.
func (s *Store[T]) named(name string) *index[T] {
	for _, ix := range s.indexes {
		if ix.name == name {
			return ix
		}
	}
	return nil
}
