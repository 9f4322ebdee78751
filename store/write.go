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
	_, held, _ := s.byKey.find(meta.Key)
	if held == nil || !held.is(meta) {
		return false
	}
	s.see(held)
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
	pos, held, hash := s.byKey.find(meta.Key)
	change = Change[T]{Kind: Added, Meta: meta, New: obj}
	if held != nil {
		if s.pass.open {
			if held.is(meta) {
				s.see(held)
				return change, nil, false
			}
		} else if Stale(meta, held.Meta()) {
			s.stale.Add(1)
			return change, nil, false
		}
		change.Kind, change.OldMeta, change.Old = Updated, held.Meta(), held.obj
	}

	rec := &Record[T]{key: meta.Key, obj: obj, uid: meta.UID, version: meta.Version}
	change.Record = rec
	terms, errs := s.termsOf(rec)
	var slots []slot[T]
	if held == nil {
		slots = s.byKey.resized(1)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if held == nil {
		if slots != nil {
			s.byKey.slots = slots
		}
		s.byKey.add(hash, rec)
		rec.slot = s.records.add(rec)
		rec.reindex(nil, terms)
	} else {
		s.byKey.slots[pos].rec = rec
		rec.slot, rec.seen, rec.Tag = held.slot, held.seen, held.Tag
		s.records.set(rec.slot, rec)
		rec.reindex(held.refs, terms)
		held.refs = nil
	}
	s.see(rec)
	if !s.pass.open {
		s.advance(meta.Version)
	}
	return change, errs, true
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
	_, held, _ := s.byKey.find(meta.Key)
	if held != nil && Superseded(meta, held.Meta()) {
		s.stale.Add(1)
		return change, false
	}
	version := meta.Version
	if s.pass.open {
		version = ""
	}
	if held == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.advance(version)
		return change, false
	}
	change = Change[T]{Kind: Deleted, Meta: meta, OldMeta: held.Meta(), Old: held.obj, Record: held}
	if known && meta.SameObject(change.OldMeta) {
		change.New = last
	}
	s.remove(held, version)
	return change, true
}

// remove takes rec out of everything, and the store to version. The caller
// holds writing.
func (s *Store[T]) remove(rec *Record[T], version string) {
	slots := s.byKey.resized(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slots != nil {
		s.byKey.slots = slots
	}
	pos, _, _ := s.byKey.find(rec.key)
	s.byKey.remove(pos)
	for _, r := range rec.refs {
		r.leave()
	}
	rec.refs = nil // a snapshot may have rec, but needs no index
	if moved, ok := s.records.remove(rec.slot); ok {
		moved.slot = rec.slot
	}
	if s.pass.open && rec.seen == s.pass.mark {
		s.pass.seen--
	}
	s.advance(version)
}

// Commit implements [Sink]: what was not applied since Begin is removed, object
// by object, and told as deletions. Then the store is at version, whatever it
// was at before; at none if that is empty.
//
// It fails with [ErrNoPass] if there is no pass.
func (s *Store[T]) Commit(_ context.Context, version string) error {
	missing, err := s.missing()
	if err != nil {
		return err
	}
	for _, rec := range missing {
		if change, ok := s.sweep(rec); ok {
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

// missing returns what the pass did not have.
func (s *Store[T]) missing() ([]*Record[T], error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.pass.open {
		return nil, fmt.Errorf("store %s: %w: call Begin before Commit", s.name, ErrNoPass)
	}
	n := s.byKey.n - s.pass.seen
	if n == 0 {
		return nil, nil
	}
	missing := make([]*Record[T], 0, n)
	for _, p := range s.records.dir {
		for _, rec := range p.items {
			if rec.seen != s.pass.mark {
				missing = append(missing, rec)
			}
		}
	}
	return missing, nil
}

// sweep removes rec because the pass did not have it.
func (s *Store[T]) sweep(rec *Record[T]) (change Change[T], changed bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, held, _ := s.byKey.find(rec.key); held != rec {
		return change, false
	}
	change = Change[T]{Kind: Deleted, Meta: rec.Meta(), OldMeta: rec.Meta(), Old: rec.obj, Record: rec}
	s.remove(rec, "")
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

// Progress implements [Sink]: the store is at version. Within a pass, where it
// should not come, it is ignored. It returns no error.
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

// see marks rec as seen in the pass, if there is one. The caller holds writing.
func (s *Store[T]) see(rec *Record[T]) {
	if s.pass.open && rec.seen != s.pass.mark {
		rec.seen = s.pass.mark
		s.pass.seen++
	}
}
