// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "iter"

// Index is an index of a [Store] or of a [Snapshot]. Its name was looked up once, so its
// methods cannot fail. It is a small value. Any number of goroutines can use it. The zero
// Index is empty.
type Index[T any] struct {
	index *index[T]
	store *Store[T]             // nil if of a snapshot
	then  *directory[bucket[T]] // only of a snapshot
}

// Name returns the name of the index.
func (x Index[T]) Name() string {
	if x.index == nil {
		return ""
	}
	return x.index.name
}

// List returns the objects with this value, at one point in time and in no particular
// order. The caller owns the slice.
func (x Index[T]) List(value string) []T { return objects(x.bucket(value)) }

// All iterates over the objects with this value, like [Store.All].
func (x Index[T]) All(value string) iter.Seq2[Key, T] {
	return func(yield func(Key, T) bool) { eachKey(x.bucket(value), yield) }
}

// Keys returns the keys of the objects with this value.
func (x Index[T]) Keys(value string) []Key { return keys(x.bucket(value)) }

// Records returns the records with this value, at one point in time.
func (x Index[T]) Records(value string) Records[T] { return Records[T]{x.bucket(value)} }

// Records has the records of one point in time, in no particular order. It keeps them in
// memory. Any number of goroutines can read it. The zero value is empty.
type Records[T any] struct{ all cow[*Record[T]] }

// Len returns the number of records.
func (r Records[T]) Len() int { return r.all.len() }

// At returns a record. i must be less than Len.
func (r Records[T]) At(i int) *Record[T] { return r.all.at(i) }

// Count returns the number of objects with this value.
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

// Values returns the values that have objects, at one point in time and in no particular
// order. The caller owns the slice.
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

// bucket returns the records with this value.
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

// Index returns the index with this name. If there is none, the error wraps [ErrNoIndex].
func (s *Store[T]) Index(name string) (Index[T], error) {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	if ix := s.named(name); ix != nil {
		return Index[T]{index: ix, store: s}, nil
	}
	return Index[T]{}, noIndex(s.name, name)
}

// named returns the index with this name, nil if there is none. The caller holds a lock.
func (s *Store[T]) named(name string) *index[T] {
	for _, ix := range s.indexes {
		if ix.name == name {
			return ix
		}
	}
	return nil
}
