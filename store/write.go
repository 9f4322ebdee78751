// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrNoPass is the error of a Commit without a pass.
var ErrNoPass = errors.New("there is no pass to commit")

// ErrNoName is the error for an object without a name.
var ErrNoName = errors.New("the object has no name, which no API server allows: fix the source")

// Begin implements [Sink]. It aborts a pass that is still open. It never fails.
func (s *Store[T]) Begin(_ context.Context, p Pass) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	next := pass{open: true, anew: p.Anew, seen: make([]uint64, (s.records.len()+63)/64)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endPass(&s.aborts)
	s.pass = next
	return nil
}

// endPass ends the current pass, if there is one, and counts it. The caller holds both
// locks.
func (s *Store[T]) endPass(count *atomic.Uint64) (was bool) {
	if was = s.pass.open; was {
		s.pass = pass{}
		count.Add(1)
	}
	return was
}

// Has implements [Sink]. It returns true if the store has the object with exactly this
// UID and this version, which must not be empty. Within a pass, the object then counts as
// applied.
func (s *Store[T]) Has(meta Meta) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	held := s.byKey.find(s.byKey.hash(meta.Key), meta.Key)
	if held == nil || !held.is(meta) {
		return false
	}
	s.pass.see(held.slot)
	return true
}

// Keep implements [Keeper].
func (s *Store[T]) Keep(_ context.Context, meta Meta) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if meta.Key.Name == "" {
		s.pass.all = true
		return nil
	}
	if held := s.byKey.find(s.byKey.hash(meta.Key), meta.Key); held != nil && meta.SameObject(held.Meta()) {
		s.pass.see(held.slot)
	}
	return nil
}

// Apply implements [Sink]. Within a pass, it stores obj unless the store has its UID and
// version already; if the pass is [Pass.Anew], it stores obj in any case. Outside of a
// pass, it drops and counts an obj that is [Stale]. It fails only if the key has no name.
func (s *Store[T]) Apply(_ context.Context, meta Meta, obj T) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: apply %q: %w", s.name, meta, ErrNoName)
	}
	s.put(meta, obj, true)
	return nil
}

// put stores obj, unless the store has a newer state. source is true if a source calls it,
// and false for a user.
func (s *Store[T]) put(meta Meta, obj T, source bool) {
	var n notice[T]
	if s.putLocked(&n, meta, obj, source) {
		s.notify(&n)
	}
}

// putLocked takes the locks, stores obj and puts the change into n. It returns true if
// there is something to notify, which can be only a newer version.
func (s *Store[T]) putLocked(n *notice[T], meta Meta, obj T, source bool) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	hash := s.byKey.hash(meta.Key)
	held := s.byKey.find(hash, meta.Key)
	if held != nil && s.dropsState(meta, held, source) {
		if !source || s.pass.open {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.advance(meta.Version) // the source is at this version nevertheless
		return true
	}
	terms, errs := s.termsOf(meta, obj)
	n.errs = errs
	if s.onChange != nil {
		n.change = upsert(held, meta, obj)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.age()
	stripe := s.byKey.stripe(hash)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	n.change.placed(s.place(hash, held, meta, obj, terms))
	if !s.pass.open {
		s.advance(meta.Version)
	}
	s.changed(n)
	return true
}

// dropsState returns true if a state does not replace held. It then counts the state, or
// marks it as seen by the pass.
func (s *Store[T]) dropsState(meta Meta, held *Record[T], source bool) bool {
	if source && s.pass.open {
		if !s.pass.anew && held.is(meta) {
			s.pass.see(held.slot)
			return true
		}
		return false
	}
	stale := older
	if source {
		stale = Stale
	}
	if stale(meta, held.Meta()) {
		s.stale.Add(1)
		return true
	}
	return false
}

// place stores obj in place of held, or as a new object if held is nil. The caller holds
// all locks that this needs.
func (s *Store[T]) place(hash uint64, held *Record[T], meta Meta, obj T, terms []term[T]) *Record[T] {
	if held != nil && s.mayRewrite(held) && hasMeta(obj, meta) && haveTerms(held.refs(), terms) {
		held.obj = obj
		s.pass.see(held.slot)
		return held
	}
	rec := newRecord(meta, obj, held)
	if s.onChange == nil {
		rec.tag = uint32(s.epoch)
	}
	s.byKey.put(s.epoch, hash, held, rec)
	if held == nil {
		rec.slot = s.records.add(s.epoch, rec)
		rec.reindex(s.epoch, nil, terms)
	} else {
		s.records.set(s.epoch, rec.slot, rec)
		refs := held.refs()
		rec.succeed(held)
		rec.reindex(s.epoch, refs, terms)
	}
	s.pass.see(rec.slot)
	return rec
}

// mayRewrite returns true if only the store has rec: there is no OnChange to get it, and
// rec is in no snapshot.
func (s *Store[T]) mayRewrite(rec *Record[T]) bool {
	if s.onChange != nil || rec.tag != uint32(s.epoch) {
		return false
	}
	return rec.ownMeta() == nil
}

// age begins a new epoch if there is a snapshot of the current one. The caller holds mu,
// and calls it before it changes anything.
func (s *Store[T]) age() {
	if !s.shared.Load() {
		return
	}
	s.shared.Store(false)
	s.epoch++
	if uint32(s.epoch) == 0 && s.onChange == nil { // the epoch wrapped: no old tag may equal a new one
		s.epoch++
		for rec := range s.records.all() {
			rec.tag = 0
		}
	}
}

// Page implements [Sink]; it does nothing.
func (s *Store[T]) Page(context.Context, PageInfo) error { return nil }

// Delete implements [Sink]. It drops and counts a deletion that is [Superseded]. If there
// is no such object, it only advances the version, outside of a pass. It fails only if the
// key has no name.
func (s *Store[T]) Delete(_ context.Context, meta Meta, last T, known bool) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: delete %q: %w", s.name, meta, ErrNoName)
	}
	var n notice[T]
	s.deleteLocked(&n, meta, last, known)
	s.notify(&n) // the version can be newer even if nothing was deleted
	return nil
}

func (s *Store[T]) deleteLocked(n *notice[T], meta Meta, last T, known bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	hash := s.byKey.hash(meta.Key)
	held := s.byKey.find(hash, meta.Key)
	version := meta.Version
	if s.pass.open {
		version = ""
	}
	superseded := held != nil && Superseded(meta, held.Meta())
	if superseded {
		s.stale.Add(1)
	}
	if held == nil || superseded {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.advance(version)
		return
	}
	n.change = deletion(held, meta)
	if known && meta.SameObject(n.change.OldMeta) {
		n.change.New = last
	}
	s.remove(n, hash, held, version)
}

// remove removes rec, advances the store to version, and puts the change into n. The
// caller holds writing.
func (s *Store[T]) remove(n *notice[T], hash uint64, rec *Record[T], version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age()
	stripe := s.byKey.stripe(hash)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	s.displace(hash, rec)
	s.advance(version)
	s.changed(n)
}

// displace removes rec from the table, the indexes, the records and the pass. The caller
// holds all locks that this needs.
func (s *Store[T]) displace(hash uint64, rec *Record[T]) {
	s.byKey.remove(s.epoch, hash, rec)
	for _, r := range rec.refs() {
		r.leave(s.epoch)
	}
	rec.setRefs(nil) // a snapshot can have rec, and does not use its refs
	last := uint32(s.records.len() - 1)
	moved, ok := s.records.remove(s.epoch, rec.slot)
	if ok {
		moved.slot = rec.slot
	}
	s.pass.forget(rec.slot, last, ok)
}

// Commit implements [Sink]. It deletes each object that was not applied since Begin, one by
// one. Then it sets the version of the store, even if version is older or empty.
//
// It fails with [ErrNoPass] if there is no pass, or if a [Store.Replace] has ended it.
func (s *Store[T]) Commit(_ context.Context, version string) error {
	missing, err := s.missing()
	if err != nil {
		return err
	}
	for _, rec := range missing {
		var n notice[T]
		if s.sweep(&n, rec) {
			s.notify(&n)
		}
	}
	var n notice[T]
	if err := s.commit(&n, version); err != nil {
		return err
	}
	s.notify(&n)
	return nil
}

// missing returns the records that the pass did not have.
func (s *Store[T]) missing() ([]*Record[T], error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.pass.open {
		return nil, s.errNoPass()
	}
	n := s.records.len() - s.pass.n
	if n == 0 || s.pass.all {
		return nil, nil
	}
	missing := make([]*Record[T], 0, n)
	for rec := range s.records.all() {
		if !s.pass.has(rec.slot) {
			missing = append(missing, rec)
		}
	}
	return missing, nil
}

func (s *Store[T]) errNoPass() error {
	return fmt.Errorf("store %s: %w: call Begin before Commit", s.name, ErrNoPass)
}

// sweep removes rec, which the pass did not have. It does not if the object was written
// since, or if the pass has ended.
func (s *Store[T]) sweep(n *notice[T], rec *Record[T]) (changed bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	meta := rec.Meta()
	hash := s.byKey.hash(meta.Key)
	if s.byKey.find(hash, meta.Key) != rec || !s.pass.open || s.pass.has(rec.slot) {
		return false
	}
	n.change = deletion(rec, meta)
	s.remove(n, hash, rec, "")
	s.swept.Add(1)
	return true
}

func (s *Store[T]) commit(n *notice[T], version string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.endPass(&s.commits) {
		return s.errNoPass()
	}
	s.version = version
	s.state(n)
	return nil
}

// Abort implements [Sink]. It ends the pass and changes no objects.
func (s *Store[T]) Abort(Pass, error) {
	defer s.changes.changed() // without the locks
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endPass(&s.aborts)
}

// Progress implements [Sink]. It advances the version of the store. Within a pass, it does
// nothing. It never fails.
func (s *Store[T]) Progress(_ context.Context, version string) error {
	defer s.changes.changed() // without the locks
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pass.open {
		s.advance(version)
	}
	return nil
}

// SharesObjects implements [Sharing]. It returns true.
func (s *Store[T]) SharesObjects() bool { return true }

// MayBlock implements [Sink]. It returns false; only an OnChange that blocks can block the
// store.
func (s *Store[T]) MayBlock() bool { return false }

// advance sets the version of the store, unless version is empty or older. The caller
// holds both locks.
func (s *Store[T]) advance(version string) {
	if version != "" && version != s.version && Supersedes(version, s.version) {
		s.version = version
	}
}
