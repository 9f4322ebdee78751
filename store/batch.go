// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"iter"
)

// Write is one of the changes that [Store.Write] makes.
type Write[T any] struct {
	// Meta of the object, or of the deletion.
	Meta Meta

	// Object is the object. If Delete is set: its last state, if known.
	Object T

	// Delete has the object deleted.
	Delete bool
}

// Difference is what a [Store.Write] or a [Store.Replace] changed.
type Difference[T any] struct {
	// Added, Updated and Deleted are how many changes of each kind there were.
	Added, Updated, Deleted int

	changes []Change[T]
}

// Len returns how many changes there were.
func (d Difference[T]) Len() int { return len(d.changes) }

// All iterates over the changes, one for each key that changed: those of Write in
// the order of the writes, those of Replace with the deletions at the end.
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

// step is what becomes of one key in a Write.
type step[T any] struct {
	Write[T]
	hash  uint64
	held  *Record[T]
	terms int // where its terms end
}

// Write makes several changes at once: readers see all of them or none, whichever
// way they look. It returns what changed by it. It is for who has no source; any
// number of goroutines may call it, and it may be mixed with the methods of [Sink].
// Within a pass what it writes counts as applied, so that Commit does not remove it.
//
// An object that is older than what the store holds under its key, by
// [CompareVersions], is dropped, and counted in [Stats]; one of the same version is
// stored. A deletion that [Superseded] says is old news is dropped as well. Of
// several writes of one key the last counts.
//
// It fails, and changes nothing, if a key has no name.
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
		var change Change[T]
		if st.Delete {
			change = deletion(st.held, st.Meta)
			if st.Meta.SameObject(change.OldMeta) {
				change.New = st.Object
			}
			s.displace(st.hash, st.held)
		} else {
			change = upsert(st.held, st.Meta, st.Object)
			change.Record = s.place(st.hash, st.held, st.Meta, st.Object, ts.all[from:st.terms])
		}
		from = st.terms
		diff.add(change)
		if !s.pass.open {
			s.advance(st.Meta.Version)
		}
	}
	n.changes, n.errs = diff.changes, ts.errs
	s.changed(&n)
	return diff, n
}

// steps returns what has to be done for writes: one step for each key, without what
// is old news.
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

// drops reports whether w is old news to who holds held, and counts it then.
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

// older is what is stale of a write by who has no source, where the same version
// may be another state.
func older(next, held Meta) bool {
	if next.Version == held.Version {
		return false
	}
	order, ordered := CompareVersions(next.Version, held.Version)
	return ordered && order < 0
}
