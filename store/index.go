// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"slices"
)

// IndexFunc appends the values of obj in an index to values, and returns the result. There
// can be none, and duplicates. It can also return a slice of its own; appending saves the
// allocation. It must not keep values.
//
// It must be pure: without side effects, and with the same result for the same state. It
// is called once per state, by the goroutine that writes or that calls
// [Store.AddIndexers]. It can read the store. It must not change it or add indexes.
//
// The lock of the writers is held during the call, since it determines which states are
// stored and which indexes exist. No reader waits for this lock, and other writers wait
// for the change in any case.
//
// If the function fails or panics, the object is stored and is missing from this index,
// until the function succeeds for a later state.
type IndexFunc[T any] func(values []string, obj T) ([]string, error)

// ErrNoIndex is the error for the name of a missing index.
var ErrNoIndex = errors.New("no such index")

// IndexError is the failure of an index function. The object is stored, and is missing
// from this index.
type IndexError struct {
	// Store and Index are the names of the store and the index.
	Store, Index string

	// Meta is the state for which the function failed.
	Meta Meta

	// Err is the error of the function, or a [*PanicError].
	Err error
}

// Error implements error.
func (e *IndexError) Error() string {
	return fmt.Sprintf("store %s: index %q: %s is missing from the index: %v", e.Store, e.Index, e.Meta, e.Err)
}

// Unwrap returns Err.
func (e *IndexError) Unwrap() error { return e.Err }

// index is one index of a store.
type index[T any] struct {
	name string
	fn   IndexFunc[T]
	ord  int // position in Store.indexes

	// buckets has no empty buckets.
	seed    maphash.Seed
	buckets directory[bucket[T]]
}

func newIndex[T any](name string, fn IndexFunc[T]) *index[T] {
	return &index[T]{name: name, fn: fn, seed: maphash.MakeSeed()}
}

// value is one value of an index.
type value[T any] struct {
	index *index[T]
	text  string
	hash  uint64
	now   *bucket[T] // the current bucket; only for writers
}

// bucket has the objects of one value of an index. Its epoch is that of its list. In a later
// epoch, a copy replaces it before a write.
type bucket[T any] struct {
	value   *value[T]
	records cow[*Record[T]]
}

// term is one value of an object in one index.
type term[T any] struct {
	index *index[T]
	text  string
}

// ref is the place of an object in an index.
type ref[T any] struct {
	value *value[T]
	pos   uint32
}

// compare orders terms and refs alike.
func (r ref[T]) compare(t term[T]) int {
	if r.value.index != t.index {
		return cmp.Compare(r.value.index.ord, t.index.ord)
	}
	return cmp.Compare(r.value.text, t.text)
}

// values calls the index function, which can append to scratch.
func (ix *index[T]) values(scratch []string, key Key, obj T) (values []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Function: fmt.Sprintf("index function %q", ix.name), Key: key, Value: p, Stack: debug.Stack()}
		}
	}()
	return ix.fn(scratch, obj)
}

// terms has the terms of one state, or of several in order, and the failures of index
// functions.
type terms[T any] struct {
	all     []term[T]
	errs    []error
	scratch [8]string // for the results of index functions
}

func (ts *terms[T]) reset() {
	clear(ts.all)
	ts.all, ts.errs = ts.all[:0], nil
}

// append adds the terms of one state in each of indexes, in order.
func (ts *terms[T]) append(store string, indexes []*index[T], meta Meta, obj T) {
	for _, ix := range indexes {
		ts.appendOf(store, ix, meta, obj)
	}
}

// appendOf adds the terms of one state in ix, sorted and without duplicates.
func (ts *terms[T]) appendOf(store string, ix *index[T], meta Meta, obj T) {
	values, err := ix.values(ts.scratch[:0], meta.Key, obj)
	if err != nil {
		ts.errs = append(ts.errs, &IndexError{Store: store, Index: ix.name, Meta: meta, Err: err})
		return
	}
	start := len(ts.all)
	for _, v := range values {
		ts.all = append(ts.all, term[T]{ix, v})
	}
	if len(values) > 1 {
		mine := ts.all[start:]
		slices.SortFunc(mine, func(a, b term[T]) int { return cmp.Compare(a.text, b.text) })
		ts.all = ts.all[:start+len(slices.Compact(mine))]
	}
}

// termsOf calls the index functions. The result is valid until the next call.
// The caller holds writing.
func (s *Store[T]) termsOf(meta Meta, obj T) ([]term[T], []error) {
	s.terms.reset()
	s.terms.append(s.name, s.indexes, meta, obj)
	return s.terms.all, s.terms.errs
}

// reindex adds rec to the indexes at terms, and removes the previous record from old. The
// caller holds both locks, or the indexes are not published yet.
func (rec *Record[T]) reindex(epoch uint64, old []ref[T], terms []term[T]) {
	if haveTerms(old, terms) {
		for _, r := range old {
			r.set(epoch, rec)
		}
		return
	}
	refs := make([]ref[T], 0, len(terms))
	for len(old) > 0 || len(terms) > 0 {
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(terms) == 0:
			order = -1
		default:
			order = old[0].compare(terms[0])
		}
		switch {
		case order < 0:
			old[0].leave(epoch)
			old = old[1:]
		case order > 0:
			refs = append(refs, terms[0].enter(epoch, &terms[0].index.buckets, rec))
			terms = terms[1:]
		default:
			old[0].set(epoch, rec)
			refs = append(refs, old[0])
			old, terms = old[1:], terms[1:]
		}
	}
	rec.setRefs(refs)
}

func haveTerms[T any](refs []ref[T], terms []term[T]) bool {
	if len(refs) != len(terms) {
		return false
	}
	for i, r := range refs {
		if r.compare(terms[i]) != 0 {
			return false
		}
	}
	return true
}

// find returns the bucket of a text, nil if there is none. buckets are the current or
// earlier buckets of the index.
func (ix *index[T]) find(buckets *directory[bucket[T]], text string) *bucket[T] {
	hash := maphash.String(ix.seed, text)
	b := buckets.bin(hash)
	if b == nil {
		return nil
	}
	tag := tagOf(hash)
	for slot := b.home(tag); b.tags[slot] != 0; slot = b.next(slot) {
		if b.tags[slot] == tag && b.elems[slot].value.text == text {
			return b.elems[slot]
		}
	}
	return nil
}

func hashOfBucket[T any](b *bucket[T]) uint64 { return b.value.hash }

// own returns the bucket of the value. It copies the bucket unless it is of the current
// epoch.
func (v *value[T]) own(epoch uint64) *bucket[T] {
	if b := v.now; b.records.epoch != epoch {
		v.now = &bucket[T]{value: v, records: b.records}
		v.now.records.ownDir(epoch)
		v.index.buckets.replace(epoch, v.hash, b, v.now)
	}
	return v.now
}

// enter adds rec to the bucket of t in buckets.
func (t term[T]) enter(epoch uint64, buckets *directory[bucket[T]], rec *Record[T]) ref[T] {
	ix := t.index
	b := ix.find(buckets, t.text)
	if b == nil {
		v := &value[T]{index: ix, text: t.text, hash: maphash.String(ix.seed, t.text)}
		b = &bucket[T]{value: v, records: cow[*Record[T]]{epoch: epoch}}
		v.now = b
		buckets.add(epoch, v.hash, b, hashOfBucket)
	}
	return ref[T]{value: b.value, pos: b.value.own(epoch).records.add(epoch, rec)}
}

// set stores rec at r.
func (r ref[T]) set(epoch uint64, rec *Record[T]) {
	r.value.own(epoch).records.set(epoch, r.pos, rec)
}

// leave removes the record at r from its bucket, and an empty bucket from its index.
func (r ref[T]) leave(epoch uint64) {
	v := r.value
	b := v.own(epoch)
	if moved, ok := b.records.remove(epoch, r.pos); ok {
		refs := moved.refs()
		for i := range refs {
			if refs[i].value == v {
				refs[i].pos = r.pos
				break
			}
		}
	}
	if b.records.len() == 0 {
		v.index.buckets.remove(epoch, v.hash, b, hashOfBucket)
	}
}

func (s *Store[T]) reportIndexErrors(errs []error) {
	s.indexErrors.Add(uint64(len(errs)))
	if s.onIndexError == nil {
		return
	}
	for _, err := range errs {
		s.onIndexError(err)
	}
}
