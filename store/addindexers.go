// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// AddIndex is like [Store.AddIndexers], for one index, which it returns.
func (s *Store[T]) AddIndex(name string, fn IndexFunc[T]) (Index[T], error) {
	if err := s.AddIndexers(Indexers[T]{name: fn}); err != nil {
		return Index[T]{}, err
	}
	return s.Index(name)
}

// ErrIndexExists is the error for the name of an existing index.
var ErrIndexExists = errors.New("the index exists already")

// AddIndexers adds indexes. When it returns, they are complete. It calls the index
// functions while readers and the source continue. The source waits while the objects are
// added to the indexes.
//
// It fails, and adds no index, if one has no name or no function, or if the name of one
// exists ([ErrIndexExists]). Failures of index functions go to OnIndexError. They are no
// failures of AddIndexers.
func (s *Store[T]) AddIndexers(indexers Indexers[T]) error {
	added, err := s.newIndexes(indexers)
	if err != nil || len(added) == 0 {
		return err
	}
	rlock(&s.mu)
	err = s.placeIndexes(added)
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	errs, err := s.addIndexes(added, s.currentTerms(added))
	s.reportIndexErrors(errs)
	return err
}

func (s *Store[T]) newIndexes(indexers Indexers[T]) (added []*index[T], err error) {
	for _, name := range slices.Sorted(maps.Keys(indexers)) {
		switch {
		case name == "":
			return nil, fmt.Errorf("store %s: an index has no name: give each indexer one", s.name)
		case indexers[name] == nil:
			return nil, fmt.Errorf("store %s: index %q has no function: give it one, or leave the index out", s.name, name)
		}
		added = append(added, newIndex(name, indexers[name]))
	}
	return added, nil
}

// placeIndexes sets the positions of added. It fails if a name exists. The caller holds a
// lock.
func (s *Store[T]) placeIndexes(added []*index[T]) error {
	for i, ix := range added {
		if s.named(ix.name) != nil {
			return fmt.Errorf("store %s: index %q: %w: choose another name", s.name, ix.name, ErrIndexExists)
		}
		ix.ord = len(s.indexes) + i
	}
	return nil
}

// recordTerms has the results of index functions for a list of records.
type recordTerms[T any] struct {
	records cow[*Record[T]]
	terms   terms[T]
	ends    []int // of the terms of each record
	errs    []int // of the errors of each record
}

// currentTerms calls the index functions for the current records, without a lock.
func (s *Store[T]) currentTerms(indexes []*index[T]) *recordTerms[T] {
	a := &recordTerms[T]{records: s.now()}
	for rec := range a.records.all() {
		a.append(s.name, indexes, rec)
	}
	return a
}

func (a *recordTerms[T]) append(store string, indexes []*index[T], rec *Record[T]) {
	a.terms.append(store, indexes, rec.Meta(), rec.obj)
	a.ends = append(a.ends, len(a.terms.all))
	a.errs = append(a.errs, len(a.terms.errs))
}

// of returns the terms and errors of the record with number n.
func (a *recordTerms[T]) of(n int) ([]term[T], []error) {
	from, failed := 0, 0
	if n > 0 {
		from, failed = a.ends[n-1], a.errs[n-1]
	}
	return a.terms.all[from:a.ends[n]], a.terms.errs[failed:a.errs[n]]
}

// addIndexes fills the indexes with the current records, and adds them. before has the
// terms of the records of a moment ago.
func (s *Store[T]) addIndexes(added []*index[T], before *recordTerms[T]) (errs []error, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.placeIndexes(added); err != nil {
		return nil, err
	}
	// All functions are called before any record is changed. A function that ends the
	// goroutine then leaves no references to a missing index.
	since := &recordTerms[T]{}
	of := make([]int, 0, s.records.len()) // numbers in before; those in since are negative
	for rec := range s.records.all() {
		slot := int(rec.slot)
		if slot < before.records.len() && before.records.at(slot) == rec {
			of = append(of, slot)
			continue
		}
		of = append(of, ^len(since.ends))
		since.append(s.name, added, rec)
	}

	// The new indexes are of the current epoch. It can have snapshots, but none of them
	// has these indexes.
	i := 0
	for rec := range s.records.all() {
		a, n := before, of[i]
		if n < 0 {
			a, n = since, ^n
		}
		terms, failed := a.of(n)
		errs = append(errs, failed...)
		rec.enter(s.epoch, terms)
		i++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexes = append(slices.Clip(s.indexes), added...)
	return errs, nil
}

// enter adds rec to further indexes.
func (rec *Record[T]) enter(epoch uint64, terms []term[T]) {
	if len(terms) == 0 {
		return
	}
	refs := rec.refs()
	refs = append(make([]ref[T], 0, len(refs)+len(terms)), refs...)
	for _, t := range terms {
		refs = append(refs, t.enter(epoch, &t.index.buckets, rec))
	}
	rec.setRefs(refs)
}
