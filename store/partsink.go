// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"fmt"
)

// Begin implements [Sink]. It aborts a pass of the part that is still open.
func (p *Part[T]) Begin(_ context.Context, begun Pass) error {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	if p.closed != nil {
		return p.closed
	}
	next := pass{open: true, anew: begun.Anew, seen: make([]uint64, (s.records.len()+63)/64)}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.endPass(&s.aborts)
	p.pass = next
	p.settle()
	return nil
}

// Has implements [Sink], as [Store.Has].
func (p *Part[T]) Has(meta Meta) bool {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	if p.refuse(meta.Key) != nil {
		return false
	}
	held := s.byKey.find(s.byKey.hash(meta.Key), meta.Key)
	if held == nil || !held.is(meta) {
		return false
	}
	p.pass.see(held.slot)
	return true
}

// Keep implements [Keeper].
func (p *Part[T]) Keep(_ context.Context, meta Meta) error {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	if p.closed != nil {
		return p.closed
	}
	if meta.Key.Name == "" {
		p.pass.all = true
		return nil
	}
	held := s.byKey.find(s.byKey.hash(meta.Key), meta.Key)
	if held != nil && p.refuse(meta.Key) == nil && meta.SameObject(held.Meta()) {
		p.pass.see(held.slot)
	}
	return nil
}

// Apply implements [Sink], as [Store.Apply].
func (p *Part[T]) Apply(_ context.Context, meta Meta, obj T) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: apply %q: %w", p.store.name, meta, ErrNoName)
	}
	return p.store.put(p, meta, obj)
}

// Page implements [Sink]; it does nothing.
func (p *Part[T]) Page(context.Context, PageInfo) error { return nil }

// Delete implements [Sink], as [Store.Delete].
func (p *Part[T]) Delete(_ context.Context, meta Meta, last T, known bool) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("store %s: delete %q: %w", p.store.name, meta, ErrNoName)
	}
	var n notice[T]
	if err := p.store.deleteLocked(&n, p, meta, last, known); err != nil {
		return err
	}
	p.store.notify(&n) // the version can be newer even if nothing was deleted
	return nil
}

// Commit implements [Sink]. It deletes each object of the part that was not applied since
// Begin, one by one. Then it sets the version of the part, even if version is older or empty.
// It fails with [ErrNoPass] if there is no pass.
func (p *Part[T]) Commit(_ context.Context, version string) error {
	missing, err := p.toCommit()
	if err != nil {
		return err
	}
	p.sweepAll(missing)
	var n notice[T]
	if err := p.commit(&n, version); err != nil {
		return err
	}
	p.store.notify(&n)
	return nil
}

// toCommit returns the records that the pass did not have, or an error if there is no pass
// to commit.
func (p *Part[T]) toCommit() ([]*Record[T], error) {
	p.store.writing.Lock()
	defer p.store.writing.Unlock()
	if err := p.checkPass(); err != nil {
		return nil, err
	}
	return p.missing(), nil
}

// checkPass returns an error if there is no pass of the source. The caller holds writing.
func (p *Part[T]) checkPass() error {
	if p.closed != nil {
		return p.closed
	}
	if !p.pass.open {
		return fmt.Errorf("store %s: %w: call Begin before Commit", p.store.name, ErrNoPass)
	}
	return nil
}

// missing returns the records that the pass did not have. The caller holds writing.
func (p *Part[T]) missing() []*Record[T] {
	n := p.objects - p.pass.n
	if n == 0 || p.pass.all {
		return nil
	}
	missing := make([]*Record[T], 0, n)
	for rec := range p.records() {
		if !p.pass.has(rec.slot) {
			missing = append(missing, rec)
		}
	}
	return missing
}

// sweepAll removes records that the pass did not have, one by one.
func (p *Part[T]) sweepAll(missing []*Record[T]) {
	for _, rec := range missing {
		var n notice[T]
		if p.sweep(&n, rec) {
			p.store.notify(&n)
		}
	}
}

// sweep removes rec, which the pass did not have. It does not if the object was written
// since, or if the pass has ended.
func (p *Part[T]) sweep(n *notice[T], rec *Record[T]) (changed bool) {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	meta := rec.Meta()
	hash := s.byKey.hash(meta.Key)
	if s.byKey.find(hash, meta.Key) != rec || !p.pass.open || p.pass.has(rec.slot) {
		return false
	}
	n.change = deletion(rec, meta)
	s.remove(n, p, hash, rec, "")
	s.swept.Add(1)
	return true
}

func (p *Part[T]) commit(n *notice[T], version string) error {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := p.checkPass(); err != nil {
		return err
	}
	p.committed = true
	p.endPass(&s.commits)
	p.setVersion(version)
	if s.unsettled == 0 {
		s.state(n)
	}
	return nil
}

// Abort implements [Sink]. It ends the pass and changes no objects.
func (p *Part[T]) Abort(Pass, error) {
	s := p.store
	defer s.changes.changed() // without the locks
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.closed == nil {
		p.endPass(&s.aborts)
	}
}

// Progress implements [Sink]. It advances the version of the part. Within a pass, it does
// nothing.
func (p *Part[T]) Progress(_ context.Context, version string) error {
	s := p.store
	defer s.changes.changed() // without the locks
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.closed == nil && !p.pass.open {
		p.advance(version)
	}
	return p.closed
}

// SharesObjects implements [Sharing]. It returns true.
func (p *Part[T]) SharesObjects() bool { return true }

// MayBlock implements [Sink], as [Store.MayBlock].
func (p *Part[T]) MayBlock() bool { return false }
