// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// AddIndex is [Store.AddIndexers] for a single index, which it returns.
func (s *Store[T]) AddIndex(name string, fn IndexFunc[T]) (Index[T], error) {
	if err := s.AddIndexers(Indexers[T]{name: fn}); err != nil {
		return Index[T]{}, err
	}
	return s.Index(name)
}

// ErrIndexExists says that a store has an index of that name already.
var ErrIndexExists = errors.New("there is such an index already")

// AddIndexers adds indexes and fills them with what the store holds: when it
// returns they answer, and are complete. Their functions are called while readers
// and the source go on; the source waits while the objects are entered.
//
// It fails, and adds none of them, if one has no name or no function, or if
// there is an index of that name already ([ErrIndexExists]). Failures of the index
// functions are told to OnIndexError, they are no failure of AddIndexers.
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
	aside := s.termsAside(added)
	errs, err := s.addIndexes(added, aside)
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

// placeIndexes says where added will be among the indexes. It fails if there is one
// of such a name. The caller holds a lock.
func (s *Store[T]) placeIndexes(added []*index[T]) error {
	for i, ix := range added {
		if s.named(ix.name) != nil {
			return fmt.Errorf("store %s: index %q: %w: choose another name", s.name, ix.name, ErrIndexExists)
		}
		ix.ord = len(s.indexes) + i
	}
	return nil
}

// aside is what index functions said of the records of a snapshot.
type aside[T any] struct {
	records cow[*Record[T]]
	terms   terms[T]
	ends    []int // of the terms of each record
	errs    []int // of the errors of each record
}

// termsAside calls the functions of indexes for what the store has, with no lock
// held.
func (s *Store[T]) termsAside(indexes []*index[T]) *aside[T] {
	a := &aside[T]{records: s.now()}
	for rec := range a.records.all() {
		a.append(s.name, indexes, rec)
	}
	return a
}

func (a *aside[T]) append(store string, indexes []*index[T], rec *Record[T]) {
	a.terms.append(store, indexes, rec.Meta(), rec.obj)
	a.ends = append(a.ends, len(a.terms.all))
	a.errs = append(a.errs, len(a.terms.errs))
}

// of returns what was said of the record with number n.
func (a *aside[T]) of(n int) ([]term[T], []error) {
	from, failed := 0, 0
	if n > 0 {
		from, failed = a.ends[n-1], a.errs[n-1]
	}
	return a.terms.all[from:a.ends[n]], a.terms.errs[failed:a.errs[n]]
}

// addIndexes fills indexes with what the store has by now, and adds them.
func (s *Store[T]) addIndexes(added []*index[T], before *aside[T]) (errs []error, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.placeIndexes(added); err != nil {
		return nil, err
	}
	// All functions are called before any record is touched, lest one that ends
	// the goroutine leaves references to an index that is not there.
	since := &aside[T]{}
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

	// The epoch of what is entered is the present one, which may have snapshots;
	// none of them has these indexes.
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

// enter puts rec into further indexes.
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
