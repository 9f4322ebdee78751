// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"iter"
)

// Write is one change of [Store.Write].
type Write[T any] struct {
	// Meta is the meta of the object, or of the deletion.
	Meta Meta

	// Object is the object. If Delete is set, it is the last state, if known.
	Object T

	// Delete deletes the object.
	Delete bool
}

// Difference has the changes of a [Store.Write] or a [Store.Replace].
type Difference[T any] struct {
	// Added, Updated and Deleted are the numbers of changes of each kind.
	Added, Updated, Deleted int

	changes []Change[T]
}

// Len returns the number of changes.
func (d Difference[T]) Len() int { return len(d.changes) }

// All iterates over the changes, one for each changed key. Those of Write are in the order
// of the writes. Those of Replace have the deletions at the end.
func (d Difference[T]) All() iter.Seq[Change[T]] {
	return func(yield func(Change[T]) bool) {
		for _, c := range d.changes {
			c.Record, c.replaced = nil, nil
			if !yield(c) {
				return
			}
		}
	}
}

func (d *Difference[T]) add(c Change[T]) {
	d.changes = append(d.changes, c)
	switch c.Kind {
	case Added:
		d.Added++
	case Updated:
		d.Updated++
	case Deleted:
		d.Deleted++
	}
}

// step is the effect of a Write on one key.
type step[T any] struct {
	Write[T]
	hash  uint64
	held  *Record[T]
	terms int // end of its terms
}

// Write makes several changes at once, and returns their effect. Readers see all of the
// changes or none. It is for programs without a source. Any number of goroutines can call
// it, also together with the methods of [Sink]. Within a pass, written objects count as
// applied, so Commit does not remove them.
//
// An object that is older than the stored one by [CompareVersions] is dropped, and counted
// in [Stats]. An object with the same version is stored. A deletion is dropped if it is
// [Superseded]. Of several writes of one key, the last one counts.
//
// Write fails, and changes nothing, if a key has no name.
func (s *Store[T]) Write(writes ...Write[T]) (Difference[T], error) {
	for i, w := range writes {
		if w.Meta.Key.Name == "" {
			return Difference[T]{}, fmt.Errorf("store %s: write %d of %d, %q: %w", s.name, i+1, len(writes), w.Meta, ErrNoName)
		}
	}
	diff, n := s.write(writes)
	s.notify(&n)
	return diff, nil
}

func (s *Store[T]) write(writes []Write[T]) (diff Difference[T], n notice[T]) {
	s.writing.Lock()
	defer s.writing.Unlock()
	steps := s.steps(writes)
	var ts terms[T]
	var set stripeSet
	for i := range steps {
		st := &steps[i]
		if !st.Delete {
			ts.append(s.name, s.indexes, st.Meta, st.Object)
		}
		st.terms = len(ts.all)
		set.add(st.hash)
	}
	if len(steps) == 0 {
		return diff, n
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.age()
	s.byKey.lock(set)
	defer s.byKey.unlock(set)
	from := 0
	for _, st := range steps {
		part := s.partOf(st.Meta.Key)
		var change Change[T]
		if st.Delete {
			change = deletion(st.held, st.Meta)
			if st.Meta.SameObject(change.OldMeta) {
				change.New = st.Object
			}
			s.displace(part, st.hash, st.held)
		} else {
			change = upsert(st.held, st.Meta, st.Object)
			change.placed(s.place(part, st.hash, st.held, st.Meta, st.Object, ts.all[from:st.terms]))
		}
		from = st.terms
		change.InPass = part.pass.open
		diff.add(change)
		if !part.pass.open {
			part.advance(st.Meta.Version)
		}
	}
	n.changes, n.errs = diff.changes, ts.errs
	s.changed(&n)
	return diff, n
}

// steps returns the steps of writes, one for each key, without stale writes.
func (s *Store[T]) steps(writes []Write[T]) []step[T] {
	steps := make([]step[T], 0, len(writes))
	var of map[Key]int // the step of a key
	if len(writes) > 1 {
		of = make(map[Key]int, len(writes))
	}
	for _, w := range writes {
		st := step[T]{Write: w, hash: s.byKey.hash(w.Meta.Key)}
		st.held = s.byKey.find(st.hash, w.Meta.Key)
		i, again := of[w.Meta.Key]
		switch {
		case again && !steps[i].Delete && s.drops(w, steps[i].Meta):
			continue
		case again:
			steps[i].Write = w
			continue
		case st.held != nil && s.drops(w, st.held.Meta()):
			continue
		}
		if of != nil {
			of[w.Meta.Key] = len(steps)
		}
		steps = append(steps, st)
	}
	effective := steps[:0]
	for _, st := range steps {
		if !st.Delete || st.held != nil {
			effective = append(effective, st)
		}
	}
	return effective
}

// drops returns true if w is stale for a key with held. It then counts w.
func (s *Store[T]) drops(w Write[T], held Meta) bool {
	old := older(w.Meta, held)
	if w.Delete {
		old = Superseded(w.Meta, held)
	}
	if old {
		s.stale.Add(1)
	}
	return old
}

// older is like Stale, for writes without a source. There, the same version can be another
// state.
func older(next, held Meta) bool {
	if next.Version == held.Version {
		return false
	}
	order, ordered := CompareVersions(next.Version, held.Version)
	return ordered && order < 0
}
