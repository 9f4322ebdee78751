// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrNoPass says that a pass was to be completed that had not begun.
var ErrNoPass = errors.New("there is no pass to commit")

// ErrNoName reports an object without a name.
var ErrNoName = errors.New("object has no name, which no API server allows: mend the source")

// Begin implements [Sink]. A pass that is still open counts as aborted. It
// returns no error.
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

// endPass ends the pass that is under way, if there is one, and counts that. The
// caller holds both locks.
func (s *Store[T]) endPass(count *atomic.Uint64) (was bool) {
	if was = s.pass.open; was {
		s.pass = pass{}
		count.Add(1)
	}
	return was
}

// Holds implements [Sink]: it reports whether the store has the object with
// exactly this UID and this version, which must be known. Within a pass the
// object then counts as applied.
func (s *Store[T]) Holds(meta Meta) bool {
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

// Apply implements [Sink]. Within a pass it stores obj unless it has that UID
// in that version already and the pass is not [Pass.Anew]. Outside of one it also drops, and counts, what is
// not newer than the state that it holds of the same object, and what is older
// than another object that it holds under the key.
//
// It fails only if the key has no name.
func (s *Store[T]) Apply(_ context.Context, meta Meta, obj T) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: apply %q: %w", s.name, meta, ErrNoName)
	}
	s.put(meta, obj, true)
	return nil
}

// put stores obj, unless the store holds something newer. source says whether the
// store is filled by a source, or else by a user.
func (s *Store[T]) put(meta Meta, obj T, source bool) {
	var n notice[T]
	if s.putLocked(&n, meta, obj, source) {
		s.notify(&n)
	}
}

// putLocked takes the locks, stores obj and puts the change into n. It reports whether
// there is something to notify of: if nothing else, the version can be a newer one.
func (s *Store[T]) putLocked(n *notice[T], meta Meta, obj T, source bool) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	hash := s.byKey.hash(meta.Key)
	held := s.byKey.find(hash, meta.Key)
	if held != nil && s.oldNews(meta, held, source) {
		if !source || s.pass.open {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.advance(meta.Version) // the source is at this version all the same
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
	n.change.Record = s.place(hash, held, meta, obj, terms)
	if !s.pass.open {
		s.advance(meta.Version)
	}
	s.changed(n)
	return true
}

// oldNews reports whether a state is none that is to be stored in the place of held,
// and notes that.
func (s *Store[T]) oldNews(meta Meta, held *Record[T], source bool) bool {
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

// place puts obj where held is, or where there was nothing. The caller holds all
// locks that it takes.
func (s *Store[T]) place(hash uint64, held *Record[T], meta Meta, obj T, terms []term[T]) *Record[T] {
	if held != nil && s.mayRewrite(held) && says(obj, meta) && haveTerms(held.refs(), terms) {
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

// mayRewrite reports whether nobody can have rec but the store: it tells nobody of
// records, and rec is in no snapshot.
func (s *Store[T]) mayRewrite(rec *Record[T]) bool {
	if s.onChange != nil || rec.tag != uint32(s.epoch) {
		return false
	}
	return rec.ownMeta() == nil
}

// age begins a new epoch if there is a snapshot of the present one. The caller
// holds mu, and calls it before it changes anything.
func (s *Store[T]) age() {
	if !s.shared.Load() {
		return
	}
	s.shared.Store(false)
	s.epoch++
	if uint32(s.epoch) == 0 && s.onChange == nil { // lest an old tag is taken for a new one
		s.epoch++
		for rec := range s.records.all() {
			rec.tag = 0
		}
	}
}

// Page implements [Sink]; it does nothing.
func (s *Store[T]) Page(context.Context, PageInfo) error { return nil }

// Delete implements [Sink]. It drops, and counts, what [Superseded] says is old
// news. Of an object that is not there only the version counts, outside of a pass.
//
// It fails only if the key has no name.
func (s *Store[T]) Delete(_ context.Context, meta Meta, last T, known bool) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: delete %q: %w", s.name, meta, ErrNoName)
	}
	var n notice[T]
	s.deleteLocked(&n, meta, last, known)
	s.notify(&n) // if nothing else, the version may be a newer one
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

// remove takes rec out of everything, and the store to version, which n is to tell.
// The caller holds writing.
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

// displace takes rec out of everything. The caller holds all locks that it takes.
func (s *Store[T]) displace(hash uint64, rec *Record[T]) {
	s.byKey.remove(s.epoch, hash, rec)
	for _, r := range rec.refs() {
		r.leave(s.epoch)
	}
	rec.setRefs(nil) // a snapshot may have rec, but needs no index
	last := uint32(s.records.len() - 1)
	moved, ok := s.records.remove(s.epoch, rec.slot)
	if ok {
		moved.slot = rec.slot
	}
	s.pass.forget(rec.slot, last, ok)
}

// Commit implements [Sink]: what was not applied since Begin is removed, object
// by object, and told as deletions. Then the store is at version, whatever it
// was at before; at none if that is empty.
//
// It fails with [ErrNoPass] if there is no pass, or if a [Store.Replace] ends it.
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

// missing returns what the pass did not have.
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

// sweep removes rec because the pass did not have it, unless somebody wrote it since,
// or ended the pass.
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

// Abort implements [Sink]: the pass is over, and all stays as it is.
func (s *Store[T]) Abort(Pass, error) {
	defer s.changes.changed() // without the locks
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endPass(&s.aborts)
}

// Progress implements [Sink]: the store is at version. Within a pass, where it
// should not come, it is ignored. It returns no error.
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

// SharesObjects implements [Sharing]: readers get the objects.
func (s *Store[T]) SharesObjects() bool { return true }

// MayBlock implements [Sink]: it returns false. What blocks is OnChange, if
// anything.
func (s *Store[T]) MayBlock() bool { return false }

// advance takes the store to version, unless that is unknown or older. The
// caller holds both locks.
func (s *Store[T]) advance(version string) {
	if version != "" && version != s.version && Supersedes(version, s.version) {
		s.version = version
	}
}
