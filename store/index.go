// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
)

// IndexFunc appends to values those under which obj is found in an index, and
// returns the result. None, or a value twice, is fine. It may as well return a
// slice of its own; appending spares the allocation.
//
// It must be pure: no side effects, and the same result each time for one
// state of an object. It is called once per state, by the goroutine that drives
// the sink (or that calls [Store.AddIndexers]) while the readers go on, and may
// read the store but neither change it nor add indexes.
//
// An object for which it fails or panics is stored all the same, and is
// missing from this index until a state of it comes for which it does not.
type IndexFunc[T any] func(values []string, obj T) ([]string, error)

// ErrNoIndex says that a store has no index of the name that was asked for.
var ErrNoIndex = errors.New("no such index")

// IndexError says that an index function failed for an object. The object is
// stored, and missing from this index.
type IndexError struct {
	// Store is the name of the store, Index that of the index.
	Store, Index string

	// Meta is the state of the object that the function failed for.
	Meta Meta

	// Err is what the function returned. If it panicked with an error, Err
	// wraps that.
	Err error

	// Stack is the stack of the panic, nil if it did not panic.
	Stack []byte
}

// Error implements error.
func (e *IndexError) Error() string {
	return fmt.Sprintf("store %s: index %q: %s is not indexed: %v", e.Store, e.Index, e.Meta, e.Err)
}

// Unwrap returns Err.
func (e *IndexError) Unwrap() error { return e.Err }

// index is one index of a store.
type index[T any] struct {
	name string
	fn   IndexFunc[T]
	ord  int // its position in Store.indexes

	// buckets has no empty ones. The list is for those who want all of them.
	buckets map[string]*bucket[T]
	list    cow[*bucket[T]]
}

// bucket has the objects of one value of an index.
type bucket[T any] struct {
	index   *index[T] // never changes
	value   string    // never changes
	slot    uint32    // its position in index.list
	records cow[*Record[T]]
}

// term is one value of one index under which an object belongs.
type term[T any] struct {
	index *index[T]
	value string
}

// ref is a place where an index has an object.
type ref[T any] struct {
	bucket *bucket[T]
	pos    uint32
}

// compare orders terms and refs alike.
func (r ref[T]) compare(t term[T]) int {
	if r.bucket.index != t.index {
		return cmp.Compare(r.bucket.index.ord, t.index.ord)
	}
	return cmp.Compare(r.bucket.value, t.value)
}

// values calls the index function.
func (ix *index[T]) values(obj T) (values []string, stack []byte, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			values, stack, err = nil, debug.Stack(), fmt.Errorf("index function panicked: %w", p)
		default:
			values, stack, err = nil, debug.Stack(), fmt.Errorf("index function panicked: %v", p)
		}
	}()
	values, err = ix.fn(nil, obj)
	return values, nil, err
}

// appendTerms appends to terms those of rec in ix, sorted and without
// duplicates.
func (s *Store[T]) appendTerms(terms []term[T], errs []error, ix *index[T], rec *Record[T]) ([]term[T], []error) {
	values, stack, err := ix.values(rec.obj)
	if err != nil {
		return terms, append(errs, &IndexError{Store: s.name, Index: ix.name, Meta: rec.Meta(), Err: err, Stack: stack})
	}
	start := len(terms)
	for _, v := range values {
		terms = append(terms, term[T]{ix, v})
	}
	if len(values) > 1 {
		mine := terms[start:]
		slices.SortFunc(mine, func(a, b term[T]) int { return cmp.Compare(a.value, b.value) })
		terms = terms[:start+len(slices.Compact(mine))]
	}
	return terms, errs
}

// termsOf calls the index functions. The result is valid until the next call.
// The caller holds writing.
func (s *Store[T]) termsOf(rec *Record[T]) (terms []term[T], errs []error) {
	clear(s.terms)
	s.terms = s.terms[:0]
	for _, ix := range s.indexes {
		s.terms, errs = s.appendTerms(s.terms, errs, ix, rec)
	}
	return s.terms, errs
}

// reindex makes the indexes have rec under terms, and takes out the record
// that they had before under refs. The caller holds both locks.
func (rec *Record[T]) reindex(old []ref[T], terms []term[T]) {
	if haveTerms(old, terms) {
		for _, r := range old {
			r.bucket.records.set(r.pos, rec)
		}
		rec.refs = old
		return
	}
	var refs []ref[T]
	if len(terms) > 0 {
		refs = make([]ref[T], 0, len(terms))
	}
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
			old[0].leave()
			old = old[1:]
		case order > 0:
			refs = append(refs, terms[0].enter(rec))
			terms = terms[1:]
		default:
			old[0].bucket.records.set(old[0].pos, rec)
			refs = append(refs, old[0])
			old, terms = old[1:], terms[1:]
		}
	}
	rec.refs = refs
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

// enter puts rec into the bucket of t.
func (t term[T]) enter(rec *Record[T]) ref[T] {
	ix := t.index
	b := ix.buckets[t.value]
	if b == nil {
		b = &bucket[T]{index: ix, value: t.value}
		b.slot = ix.list.add(b)
		ix.buckets[t.value] = b
	}
	return ref[T]{bucket: b, pos: b.records.add(rec)}
}

// leave takes what r refers to out of its bucket, and an empty bucket out of
// its index.
func (r ref[T]) leave() {
	b := r.bucket
	if moved, ok := b.records.remove(r.pos); ok {
		refs := moved.refs
		for i := range refs {
			if refs[i].bucket == b {
				refs[i].pos = r.pos
				break
			}
		}
	}
	if b.records.len() > 0 {
		return
	}
	ix := b.index
	delete(ix.buckets, b.value)
	if moved, ok := ix.list.remove(b.slot); ok {
		moved.slot = b.slot
	}
}

// AddIndexers adds indexes and fills them with what the store holds: when it
// returns they answer, and are complete. Readers go on meanwhile; the source
// waits.
//
// It fails, and adds none of them, if one has no name or no function, or if
// there is an index of that name already. Failures of the index functions are
// told to OnIndexError, they are no failure of AddIndexers.
func (s *Store[T]) AddIndexers(indexers map[string]IndexFunc[T]) error {
	errs, err := s.addIndexers(indexers)
	s.reportIndexErrors(errs)
	return err
}

func (s *Store[T]) addIndexers(indexers map[string]IndexFunc[T]) (indexErrs []error, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var added []*index[T]
	for _, name := range slices.Sorted(maps.Keys(indexers)) {
		switch {
		case name == "":
			return nil, fmt.Errorf("store %s: an index has no name: give each indexer one", s.name)
		case indexers[name] == nil:
			return nil, fmt.Errorf("store %s: index %q has no function: give it one, or leave the index out", s.name, name)
		case s.byName[name] != nil:
			return nil, fmt.Errorf("store %s: index %q is there already: choose another name", s.name, name)
		}
		added = append(added, &index[T]{
			name:    name,
			fn:      indexers[name],
			ord:     len(s.indexes) + len(added),
			buckets: map[string]*bucket[T]{},
		})
	}

	// All functions are called before any record is touched, lest one that ends
	// the goroutine leaves references to an index that is not there.
	var terms []term[T]
	var ends []int
	if len(added) > 0 {
		for _, p := range s.records.dir {
			for _, rec := range p.items {
				for _, ix := range added {
					terms, indexErrs = s.appendTerms(terms, indexErrs, ix, rec)
				}
				ends = append(ends, len(terms))
			}
		}
	}
	start := 0
	for i, end := range ends {
		rec := s.records.dir[i/pageLen].items[i%pageLen]
		refs := make([]ref[T], 0, len(rec.refs)+end-start)
		refs = append(refs, rec.refs...)
		for _, t := range terms[start:end] {
			refs = append(refs, t.enter(rec))
		}
		rec.refs = refs
		start = end
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ix := range added {
		s.byName[ix.name] = ix
	}
	s.indexes = append(s.indexes, added...)
	return indexErrs, nil
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
