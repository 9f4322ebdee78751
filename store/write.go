// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
)

// ErrNoPass is the error of a Commit without a pass.
var ErrNoPass = errors.New("there is no pass to commit")

// ErrNoName is the error for an object without a name.
var ErrNoName = errors.New("the object has no name, which no API server allows: fix the source")

// Begin implements [Sink]. It aborts a pass that is still open. It fails only if the store
// has parts.
func (s *Store[T]) Begin(ctx context.Context, p Pass) error { return s.all.Begin(ctx, p) }

// Has implements [Sink]. It returns true if the store has the object with exactly this
// UID and this version, which must not be empty. Within a pass, the object then counts as
// applied.
func (s *Store[T]) Has(meta Meta) bool { return s.all.Has(meta) }

// Keep implements [Keeper].
func (s *Store[T]) Keep(ctx context.Context, meta Meta) error { return s.all.Keep(ctx, meta) }

// Apply implements [Sink]. Within a pass, it stores obj unless the store has its UID and
// version already; if the pass is [Pass.Anew], it stores obj in any case. Outside of a
// pass, it drops and counts an obj that is [Stale]. It fails only if the key has no name,
// or if the store has parts.
func (s *Store[T]) Apply(ctx context.Context, meta Meta, obj T) error {
	return s.all.Apply(ctx, meta, obj)
}

// put stores obj, unless the store has a newer state. from is the part whose source calls
// it, and nil for a user. It fails only if from refuses the key.
func (s *Store[T]) put(from *Part[T], meta Meta, obj T) error {
	var n notice[T]
	changed, err := s.putLocked(&n, from, meta, obj)
	if changed {
		s.notify(&n)
	}
	return err
}

// putLocked takes the locks, stores obj and puts the change into n. It returns true if
// there is something to notify, which can be only a newer version.
func (s *Store[T]) putLocked(n *notice[T], from *Part[T], meta Meta, obj T) (bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	part := from
	if from == nil {
		part = s.partOf(meta.Key)
	} else if err := from.refuse(meta.Key); err != nil {
		return false, err
	}
	hash := s.byKey.hash(meta.Key)
	held := s.byKey.find(hash, meta.Key)
	if held != nil && s.dropsState(from, meta, held) {
		if from == nil || from.pass.open {
			return false, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		from.advance(meta.Version) // the source is at this version nevertheless
		return true, nil
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
	n.change.placed(s.place(part, hash, held, meta, obj, terms))
	n.change.InPass = part.pass.open
	if !part.pass.open {
		part.advance(meta.Version)
	}
	s.changed(n)
	return true, nil
}

// dropsState returns true if a state does not replace held. It then counts the state, or
// marks it as seen by the pass.
func (s *Store[T]) dropsState(from *Part[T], meta Meta, held *Record[T]) bool {
	if from != nil && from.pass.open {
		if !from.pass.anew && held.is(meta) {
			from.pass.see(held.slot)
			return true
		}
		return false
	}
	stale := older
	if from != nil {
		stale = Stale
	}
	if stale(meta, held.Meta()) {
		s.stale.Add(1)
		return true
	}
	return false
}

// place stores obj in place of held, or as a new object of part if held is nil. The caller
// holds all locks that this needs.
func (s *Store[T]) place(part *Part[T], hash uint64, held *Record[T], meta Meta, obj T, terms []term[T]) *Record[T] {
	if held != nil && s.mayRewrite(held) && hasMeta(obj, meta) && haveTerms(held.refs(), terms) {
		held.obj = obj
		part.pass.see(held.slot)
		return held
	}
	rec := newRecord(meta, obj, held)
	if s.onChange == nil {
		rec.tag = uint32(s.epoch)
	}
	s.byKey.put(s.epoch, hash, held, rec)
	if held == nil {
		rec.slot = s.records.add(s.epoch, rec)
		part.objects++
		rec.reindex(s.epoch, nil, terms)
	} else {
		s.records.set(s.epoch, rec.slot, rec)
		refs := held.refs()
		rec.succeed(held)
		rec.reindex(s.epoch, refs, terms)
	}
	part.pass.see(rec.slot)
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

// Delete implements [Sink]. It drops and counts a deletion that is [Superseded]. If there
// is no such object, it only advances the version, outside of a pass. It fails only if the
// key has no name, or if the store has parts.
func (s *Store[T]) Delete(ctx context.Context, meta Meta, last T, known bool) error {
	return s.all.Delete(ctx, meta, last, known)
}

func (s *Store[T]) deleteLocked(n *notice[T], part *Part[T], meta Meta, last T, known bool) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := part.refuse(meta.Key); err != nil {
		return err
	}
	hash := s.byKey.hash(meta.Key)
	held := s.byKey.find(hash, meta.Key)
	version := meta.Version
	if part.pass.open {
		version = ""
	}
	superseded := held != nil && Superseded(meta, held.Meta())
	if superseded {
		s.stale.Add(1)
	}
	if held == nil || superseded {
		s.mu.Lock()
		defer s.mu.Unlock()
		part.advance(version)
		return nil
	}
	n.change = deletion(held, meta)
	if known && meta.SameObject(n.change.OldMeta) {
		n.change.New = last
	}
	s.remove(n, part, hash, held, version)
	return nil
}

// remove removes rec, advances part to version, and puts the change into n. The caller
// holds writing.
func (s *Store[T]) remove(n *notice[T], part *Part[T], hash uint64, rec *Record[T], version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age()
	stripe := s.byKey.stripe(hash)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	s.displace(part, hash, rec)
	part.advance(version)
	n.change.InPass = part.pass.open
	s.changed(n)
}

// displace removes rec from the table, the indexes, the records and the pass of its part.
// The caller holds all locks that this needs.
func (s *Store[T]) displace(part *Part[T], hash uint64, rec *Record[T]) {
	s.byKey.remove(s.epoch, hash, rec)
	for _, r := range rec.refs() {
		r.leave(s.epoch)
	}
	rec.setRefs(nil) // a snapshot can have rec, and does not use its refs
	last := uint32(s.records.len() - 1)
	moved, ok := s.records.remove(s.epoch, rec.slot)
	part.objects--
	part.pass.clear(rec.slot)
	if ok {
		moved.slot = rec.slot
		if s.parts != nil {
			part = s.partOf(moved.Key())
		}
		part.pass.move(last, rec.slot)
	}
}

// Commit implements [Sink]. It deletes each object that was not applied since Begin, one by
// one. Then it sets the version of the store, even if version is older or empty.
//
// It fails with [ErrNoPass] if there is no pass, or if a [Store.Replace] has ended it. It
// fails if the store has parts.
func (s *Store[T]) Commit(ctx context.Context, version string) error {
	return s.all.Commit(ctx, version)
}

// Page implements [Sink]; it does nothing.
func (s *Store[T]) Page(context.Context, PageInfo) error { return nil }

// Abort implements [Sink]. It ends the pass and changes no objects.
func (s *Store[T]) Abort(p Pass, cause error) { s.all.Abort(p, cause) }

// Progress implements [Sink]. It advances the version of the store. Within a pass, it does
// nothing. It fails only if the store has parts.
func (s *Store[T]) Progress(ctx context.Context, version string) error {
	return s.all.Progress(ctx, version)
}

// SharesObjects implements [Sharing]. It returns true.
func (s *Store[T]) SharesObjects() bool { return true }

// MayBlock implements [Sink]. It returns false; only an OnChange that blocks can block the
// store.
func (s *Store[T]) MayBlock() bool { return false }
