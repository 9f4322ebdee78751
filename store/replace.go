// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"iter"
)

// Replace makes objs all that the store has, at version, whatever it was at before,
// and returns what changed by it. Of several objects of one key the last counts.
// Objects that the store holds in that UID and version stay as they are.
//
// Everything is built aside while readers go on with what there was; then they see
// the new state, and all of it. A source, or who else writes, waits meanwhile.
// objs is read before that, with no lock held; it must not change the store. A pass
// that is under way is aborted, as far as the store is concerned.
//
// It needs memory for the new state beside the old one, not counting the objects. A
// source that hands its objects over one by one, as a pass, spares this.
//
// It fails, and changes nothing, if a key has no name.
func (s *Store[T]) Replace(version string, objs iter.Seq2[Meta, T]) (Difference[T], error) {
	var all []arrival[T]
	for meta, obj := range objs {
		if meta.Key.Name == "" {
			return Difference[T]{}, fmt.Errorf("store %s: replace by %q: %w", s.name, meta, ErrNoName)
		}
		all = append(all, arrival[T]{meta: meta, obj: obj})
	}
	return s.replaceBy(version, all), nil
}

// replaceBy is Replace by objects that all have names.
func (s *Store[T]) replaceBy(version string, all []arrival[T]) Difference[T] {
	diff, n := s.replace(version, all)
	s.notify(&n)
	return diff
}

func (s *Store[T]) replace(version string, all []arrival[T]) (diff Difference[T], n notice[T]) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	s.age() // what is built aside is of an epoch that no snapshot has yet
	s.mu.Unlock()
	next := s.prepare(all)
	s.build(next, all)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.endPass(&s.aborts)
	s.byKey.lock(allStripes)
	defer s.byKey.unlock(allStripes)
	for i := range next.keys {
		s.byKey.stripes[i].keys = next.keys[i]
	}
	for i, ix := range s.indexes {
		ix.buckets = next.buckets[i]
	}
	s.records = next.records
	s.version = version
	n.changes, n.errs = next.diff.changes, next.errs
	if len(n.changes) > 0 {
		s.changed(&n)
	}
	s.state(&n)
	return next.diff, n
}

// arrival is an object that a Replace brings.
type arrival[T any] struct {
	meta Meta
	obj  T
	rec  *Record[T] // nil if another one of its key comes later
	held *Record[T]
	ends int // of its terms
}

// replacement is the state that a Replace leads to, and how.
type replacement[T any] struct {
	terms   []term[T]
	errs    []error
	diff    Difference[T]
	keys    [stripes]directory[Record[T]]
	buckets []directory[bucket[T]]
	records cow[*Record[T]]
}

// prepare makes the records, finds them by key, and calls the index functions. It
// changes nothing that the store has.
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

// build puts the records in their places, and makes out the difference. It changes
// of what the store has only what readers do not look at, and calls nobody.
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
			a.held.setRefs(nil) // who keeps it must not keep the old indexes
		}
	}
	for rec := range s.records.all() {
		if !kept.has(rec.slot) {
			rec.setRefs(nil)
			next.diff.add(deletion(rec, rec.Meta()))
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
}
