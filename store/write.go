// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoPass says that a pass was to be completed that had not begun.
var ErrNoPass = errors.New("there is no pass to commit")

var errNoName = errors.New("object has no name, which no API server allows: mend the source")

// Begin implements [Sink]. A pass that is still open counts as aborted. It
// returns no error.
func (s *Store[T]) Begin(context.Context, Pass) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.pass.open {
		s.aborts.Add(1)
	}
	s.pass = passState{open: true, mark: s.pass.mark + 1}
	return nil
}

// Holds implements [Sink]: it reports whether the store has the object with
// exactly this UID and this version, which must be known. Within a pass the
// object then counts as applied.
func (s *Store[T]) Holds(meta Meta) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.entries[meta.Key]
	if e == nil || !e.rec.is(meta) {
		return false
	}
	s.see(e)
	return true
}

// Apply implements [Sink]. Within a pass it stores obj unless it has that UID
// in that version already. Outside of one it also drops, and counts, what is
// not newer than the state that it holds of the same object, and what is older
// than another object that it holds under the key.
//
// It fails only if the key has no name.
func (s *Store[T]) Apply(_ context.Context, meta Meta, obj T) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: apply %q: %w", s.name, meta, errNoName)
	}
	change, errs, ok := s.apply(meta, obj)
	s.reportIndexErrors(errs)
	if ok {
		s.report(change)
	}
	return nil
}

func (s *Store[T]) apply(meta Meta, obj T) (change Change[T], errs []error, changed bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.entries[meta.Key]
	change = Change[T]{Kind: Added, Meta: meta, New: obj}
	if e == nil {
		e = &entry[T]{key: meta.Key}
	} else {
		if s.pass.open {
			if e.rec.is(meta) {
				s.see(e)
				return change, nil, false
			}
		} else if isStale(meta, e.rec.meta()) {
			s.stale.Add(1)
			return change, nil, false
		}
		change.Kind, change.OldMeta, change.Old = Updated, e.rec.meta(), e.obj
	}

	rec := &record[T]{entry: e, obj: obj, uid: meta.UID, version: meta.Version}
	terms, errs := s.termsOf(rec)

	s.mu.Lock()
	defer s.mu.Unlock()
	if change.Kind == Added {
		s.entries[meta.Key] = e
		e.slot = s.records.add(rec)
	} else {
		s.records.set(e.slot, rec)
	}
	e.rec, e.obj = rec, obj
	e.reindex(rec, terms)
	s.see(e)
	if !s.pass.open {
		s.advance(meta.Version)
	}
	return change, errs, true
}

// isStale reports whether a change to next outside of a pass is old news where
// held is held.
func isStale(next, held Meta) bool {
	if next.SameObject(held) {
		return !Supersedes(next.Version, held.Version)
	}
	order, ordered := CompareVersions(next.Version, held.Version)
	return ordered && order < 0
}

// Page implements [Sink]; it does nothing.
func (s *Store[T]) Page(context.Context, PageInfo) error { return nil }

// Delete implements [Sink]. It drops, and counts, what [Superseded] says is old
// news. An object that is not there is none.
//
// It fails only if the key has no name.
func (s *Store[T]) Delete(_ context.Context, meta Meta, last T, known bool) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: delete %q: %w", s.name, meta, errNoName)
	}
	if change, ok := s.delete(meta, last, known); ok {
		s.report(change)
	}
	return nil
}

func (s *Store[T]) delete(meta Meta, last T, known bool) (change Change[T], changed bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.entries[meta.Key]
	if e != nil && Superseded(meta, e.rec.meta()) {
		s.stale.Add(1)
		return change, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pass.open {
		s.advance(meta.Version)
	}
	if e == nil {
		return change, false
	}
	change = Change[T]{Kind: Deleted, Meta: meta, OldMeta: e.rec.meta(), Old: e.obj}
	if known && meta.SameObject(change.OldMeta) {
		change.New = last
	}
	s.remove(e)
	return change, true
}

// remove takes e out of everything. The caller holds both locks.
func (s *Store[T]) remove(e *entry[T]) {
	e.reindex(nil, nil)
	if moved, ok := s.records.remove(e.slot); ok {
		moved.entry.slot = e.slot
	}
	delete(s.entries, e.key)
	if s.pass.open && e.seen == s.pass.mark {
		s.pass.seen--
	}
	var none T
	e.rec, e.obj = nil, none // what a snapshot still has needs neither
}

// Commit implements [Sink]: what was not applied since Begin is removed, object
// by object, and told as deletions. Then the store is at version.
//
// It fails with [ErrNoPass] if there is no pass.
func (s *Store[T]) Commit(_ context.Context, version string) error {
	missing, err := s.missing()
	if err != nil {
		return err
	}
	for _, e := range missing {
		if change, ok := s.sweep(e); ok {
			s.report(change)
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.pass.open = false
	s.commits.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
	return nil
}

// missing returns the entries that the pass did not have.
func (s *Store[T]) missing() ([]*entry[T], error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.pass.open {
		return nil, fmt.Errorf("store %s: %w: call Begin before Commit", s.name, ErrNoPass)
	}
	n := len(s.entries) - s.pass.seen
	if n == 0 {
		return nil, nil
	}
	missing := make([]*entry[T], 0, n)
	for _, p := range s.records.dir {
		for _, rec := range p.items {
			if rec.entry.seen != s.pass.mark {
				missing = append(missing, rec.entry)
			}
		}
	}
	return missing, nil
}

// sweep removes e because the pass did not have it.
func (s *Store[T]) sweep(e *entry[T]) (change Change[T], changed bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.entries[e.key] != e || e.seen == s.pass.mark {
		return change, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	change = Change[T]{Kind: Deleted, Meta: e.rec.meta(), OldMeta: e.rec.meta(), Old: e.obj}
	s.remove(e)
	s.swept.Add(1)
	return change, true
}

// Abort implements [Sink]: the pass is over, and all stays as it is.
func (s *Store[T]) Abort(Pass, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.pass.open {
		s.pass.open = false
		s.aborts.Add(1)
	}
}

// Progress implements [Sink]: the store is at version. It returns no error.
func (s *Store[T]) Progress(_ context.Context, version string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pass.open {
		s.advance(version)
	}
	return nil
}

// MayBlock implements [Sink]: it returns false. What blocks is OnChange, if
// anything.
func (s *Store[T]) MayBlock() bool { return false }

// advance takes the store to version, unless that is unknown or older. The
// caller holds both locks.
func (s *Store[T]) advance(version string) {
	if version != "" && Supersedes(version, s.version) {
		s.version = version
	}
}

func (s *Store[T]) report(change Change[T]) {
	if s.onChange != nil {
		s.onChange(change)
	}
}

// is reports whether r is the state that meta means, for certain.
func (r *record[T]) is(meta Meta) bool {
	return meta.Version != "" && meta.Version == r.version && meta.UID == r.uid
}

// see marks e as seen in the pass, if there is one. The caller holds writing.
func (s *Store[T]) see(e *entry[T]) {
	if s.pass.open && e.seen != s.pass.mark {
		e.seen = s.pass.mark
		s.pass.seen++
	}
}
