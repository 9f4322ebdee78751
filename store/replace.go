// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"iter"
)

// Replace makes objs the whole content of the store, at version, and returns the changes.
// The version can be older than the previous one. Of several objects with one key, the
// last one counts. Stored objects with the same UID and version stay as they are.
//
// Replace builds the new state while readers continue with the old one. Then readers see
// the whole new state at once. Writers wait meanwhile. objs is read before that, without a
// lock; it must not change the store. Replace aborts a pass of the store.
//
// It needs memory for both states, without the objects. A pass, which adds objects one by
// one, does not.
//
// It fails, and changes nothing, if a key has no name, or if the store has parts.
func (s *Store[T]) Replace(version string, objs iter.Seq2[Meta, T]) (Difference[T], error) {
	var all []arrival[T]
	for meta, obj := range objs {
		if meta.Key.Name == "" {
			return Difference[T]{}, fmt.Errorf("store %s: replace by %q: %w", s.name, meta, ErrNoName)
		}
		all = append(all, arrival[T]{meta: meta, obj: obj})
	}
	return s.replaceBy(version, all)
}

// replaceBy is Replace for objects that all have names.
func (s *Store[T]) replaceBy(version string, all []arrival[T]) (Difference[T], error) {
	diff, n, err := s.replace(version, all)
	if err == nil {
		s.notify(&n)
	}
	return diff, err
}

func (s *Store[T]) replace(version string, all []arrival[T]) (diff Difference[T], n notice[T], err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.all.closed != nil {
		return diff, n, s.all.closed
	}
	s.mu.Lock()
	s.age() // the new state is of an epoch without snapshots
	s.mu.Unlock()
	next := s.prepare(all)
	s.build(next, all)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.endPass(&s.aborts)
	s.byKey.lock(allStripes)
	defer s.byKey.unlock(allStripes)
	for i := range next.keys {
		s.byKey.stripes[i].keys = next.keys[i]
	}
	for i, ix := range s.indexes {
		ix.buckets = next.buckets[i]
	}
	s.records = next.records
	s.all.objects = s.records.len()
	s.all.setVersion(version)
	n.changes, n.errs = next.diff.changes, next.errs
	if len(n.changes) > 0 {
		s.changed(&n)
	}
	s.state(&n)
	return next.diff, n, nil
}

// arrival is an object of a Replace.
type arrival[T any] struct {
	meta Meta
	obj  T
	rec  *Record[T] // nil if an object with the same key follows
	held *Record[T]
	ends int // end of its terms
}

// replacement is the state after a Replace, with the difference.
type replacement[T any] struct {
	terms   []term[T]
	errs    []error
	diff    Difference[T]
	keys    [stripes]directory[Record[T]]
	buckets []directory[bucket[T]]
	records cow[*Record[T]]
}

// prepare makes the records and their table, and calls the index functions. It does not
// change the store.
func (s *Store[T]) prepare(all []arrival[T]) *replacement[T] {
	next := &replacement[T]{buckets: make([]directory[bucket[T]], len(s.indexes))}
	for i := len(all) - 1; i >= 0; i-- {
		a := &all[i]
		hash := s.byKey.hash(a.meta.Key)
		keys := &next.keys[hash>>(64-stripeBits)]
		if findKey(keys, hash<<stripeBits, a.meta.Key) != nil {
			continue
		}
		a.held = s.byKey.find(hash, a.meta.Key)
		if a.rec = a.held; a.held == nil || !a.held.is(a.meta) {
			a.rec = newRecord(a.meta, a.obj, a.held)
			if s.onChange == nil {
				a.rec.tag = uint32(s.epoch)
			}
		}
		keys.add(s.epoch, hash<<stripeBits, a.rec, s.byKey.hashOf)
	}
	var ts terms[T]
	for i := range all {
		a := &all[i]
		switch {
		case a.rec == nil:
		case a.rec == a.held:
			for _, r := range a.held.refs() {
				ts.all = append(ts.all, term[T]{r.value.index, r.value.text})
			}
		default:
			ts.append(s.name, s.indexes, a.meta, a.obj)
		}
		a.ends = len(ts.all)
	}
	next.terms, next.errs = ts.all, ts.errs
	return next
}

// build sets the positions of the records, and collects the difference. It changes only
// fields that readers do not use, and calls no user code.
func (s *Store[T]) build(next *replacement[T], all []arrival[T]) {
	kept := pass{open: true}
	from := 0
	for i := range all {
		a := &all[i]
		if a.rec == nil {
			continue
		}
		if a.held != nil {
			kept.see(a.held.slot)
		}
		if a.rec == a.held {
			continue
		}
		change := upsert(a.held, a.meta, a.obj)
		change.Record = a.rec
		next.diff.add(change)
		if a.held != nil {
			a.held.setRefs(nil) // a kept record must not keep the old indexes in memory
		}
	}
	for rec := range s.records.all() {
		if !kept.has(rec.slot) {
			next.diff.add(deletion(rec, rec.Meta()))
			rec.setRefs(nil)
		}
	}
	for i := range all {
		a := &all[i]
		if a.rec == nil {
			continue
		}
		terms := next.terms[from:a.ends]
		from = a.ends
		refs := make([]ref[T], 0, len(terms))
		for _, t := range terms {
			refs = append(refs, t.enter(s.epoch, &next.buckets[t.index.ord], a.rec))
		}
		a.rec.setRefs(refs)
		a.rec.slot = next.records.add(s.epoch, a.rec)
	}
	for i := range next.diff.changes {
		if c := &next.diff.changes[i]; c.Kind != Deleted {
			c.placed(c.Record)
		}
	}
}
