// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"context"
	"fmt"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/store"
)

// mirrorSink is the sink of a [ResourceVersionInformer]. It compares each object with its
// record and with the pending change of the key, and queues what differs.
type mirrorSink[T any] struct {
	*ResourceVersionInformer[T]

	pass uint64 // the storage's number of the pass under way; 0: none
	all  bool   // Commit deletes nothing: an object of the pass had no name
	anew bool   // [store.Pass.Anew] of it
}

// MayBlock implements [store.Sink].
func (s *mirrorSink[T]) MayBlock() bool { return true }

// SharesObjects implements [store.Sharing]. The handler owns the objects, unless an extra
// store keeps them as well.
func (s *mirrorSink[T]) SharesObjects() bool { return s.extra != nil && store.IsSharing(s.extra) }

// Begin implements [store.Sink].
func (s *mirrorSink[T]) Begin(ctx context.Context, pass store.Pass) error {
	if s.extra != nil {
		if err := s.extra.Begin(ctx, pass); err != nil {
			return err
		}
	}
	number, err := s.storage.Begin()
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	switch {
	case pass.Reason == store.ReasonAsked:
	case pass.Reason == store.ReasonCheck:
	case (pass.Reason == store.ReasonFailing || pass.Reason == store.ReasonPoll) && informer.CauseOf(pass.Cause) != informer.CauseNotInstalled:
		// The version is as good as before.
	default:
		s.pending.Forget()
	}
	s.pass, s.all, s.anew = number, false, pass.Anew
	s.count.objects.Store(0)
	s.count.pages.Store(0)
	s.count.remaining.Store(-1)
	return nil
}

// Holds implements [store.Sink].
func (s *mirrorSink[T]) Holds(meta store.Meta) bool {
	if s.extra != nil || !s.skipSync {
		return false // the object is needed
	}
	known := s.pending.See(meta, s.pass)
	if !known {
		var err error
		if known, err = s.recorded(meta); err != nil || !known {
			return false // Apply returns the error
		}
	}
	s.count.objects.Add(1)
	return true
}

// recorded reports whether exactly meta is recorded and nothing of the key is
// pending, and marks the record as seen by the pass.
func (s *mirrorSink[T]) recorded(meta store.Meta) (bool, error) {
	if _, _, ok := s.pending.Latest(meta.Key); ok {
		return false, nil // the record is about to change
	}
	held, err := s.storage.Mark(meta)
	if err != nil {
		return false, fmt.Errorf("storage: %w", err)
	}
	if held {
		s.count.unchanged.Add(1)
	}
	return held, nil
}

// Apply implements [store.Sink].
func (s *mirrorSink[T]) Apply(ctx context.Context, meta store.Meta, obj T) error {
	c := &pending.Change[T]{Meta: meta, Obj: obj, Size: int64(s.cfg.SizeOf(obj))}
	if s.pass != 0 {
		return s.applyListed(ctx, c)
	}
	s.begun()
	stale, err := s.stale(meta, store.Stale)
	if err != nil {
		return err
	}
	if !stale && !s.pending.Admits(meta.Key, c.Size) {
		return s.pending.Full(c.Size)
	}
	if s.extra != nil {
		if err := s.extra.Apply(ctx, meta, obj); err != nil {
			return err
		}
	}
	if !stale {
		s.pending.Put(c)
	}
	s.pending.Advance(meta.Version)
	return nil
}

// applyListed takes an object of a pass.
func (s *mirrorSink[T]) applyListed(ctx context.Context, c *pending.Change[T]) error {
	if err := s.pending.Wait(ctx, c.Meta.Key, c.Size); err != nil {
		return err
	}
	if s.extra != nil {
		if err := s.extra.Apply(ctx, c.Meta, c.Obj); err != nil {
			return err
		}
	}
	s.count.objects.Add(1)
	if !s.anew && s.pending.See(c.Meta, s.pass) {
		return nil // it is about to be delivered
	}
	shown, err := s.storage.Marked(c.Meta.Key)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	recorded, err := s.recorded(c.Meta)
	if err != nil {
		return err
	}
	if recorded && (shown || s.skipSync && !s.anew) { // a list may repeat objects
		return nil
	}
	c.Listed, c.Pass, c.Initial, c.Anew = true, s.pass, s.isInitial(), s.anew
	s.pending.Put(c)
	return nil
}

// stale reports whether an event about meta is older than the pending change or the
// record, as old decides, and counts it.
func (s *mirrorSink[T]) stale(meta store.Meta, old func(next, held store.Meta) bool) (bool, error) {
	held, _, ok := s.pending.Latest(meta.Key)
	if !ok {
		var err error
		if held, ok, err = s.storage.Get(meta.Key); err != nil {
			return false, fmt.Errorf("storage: %w", err)
		}
	}
	if !ok || !old(meta, held) {
		return false, nil
	}
	s.count.stale.Add(1)
	return true, nil
}

// Keep implements [store.Keeper]: the pending change and the record of the object stay.
func (s *mirrorSink[T]) Keep(ctx context.Context, meta store.Meta) error {
	if s.extra != nil {
		if err := store.Keep(ctx, s.extra, meta); err != nil {
			return err
		}
	}
	if meta.Key.Name == "" {
		s.all = true
		return nil
	}
	if s.pending.Keep(meta, s.pass) {
		return nil
	}
	held, ok, err := s.storage.Get(meta.Key)
	if err == nil && ok && meta.SameObject(held) {
		_, err = s.storage.Mark(held)
	}
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if !ok || meta.SameObject(held) {
		return nil
	}
	// Holds has marked the record, but its object is gone.
	if err := s.pending.Wait(ctx, meta.Key, 0); err != nil {
		return err
	}
	s.count.swept.Add(1)
	s.pending.Put(&pending.Change[T]{Meta: held, Gone: true, Initial: s.isInitial()})
	return nil
}

// Page implements [store.Sink].
func (s *mirrorSink[T]) Page(ctx context.Context, page store.PageInfo) error {
	s.count.pages.Add(1)
	s.count.remaining.Store(page.Remaining)
	if s.extra != nil {
		return s.extra.Page(ctx, page)
	}
	return nil
}

// Delete implements [store.Sink].
func (s *mirrorSink[T]) Delete(ctx context.Context, meta store.Meta, last T, known bool) error {
	c := &pending.Change[T]{Meta: meta, Gone: true, Known: known, Initial: s.pass != 0 && s.isInitial()}
	if known {
		c.Obj, c.Size = last, int64(s.cfg.SizeOf(last))
	}
	stale, err := s.stale(meta, store.Superseded)
	if err != nil {
		return err
	}
	if s.pass != 0 {
		err = s.pending.Wait(ctx, meta.Key, c.Size)
	} else if s.begun(); !stale && !s.pending.Admits(meta.Key, c.Size) {
		err = s.pending.Full(c.Size)
	}
	if err != nil {
		return err
	}
	if s.extra != nil {
		if err := s.extra.Delete(ctx, meta, last, known); err != nil {
			return err
		}
	}
	if !stale {
		s.pending.Put(c) // without a record the worker drops it
	}
	if s.pass == 0 {
		s.pending.Advance(meta.Version)
	}
	return nil
}

// Commit implements [store.Sink]. Objects that the pass did not have are gone.
func (s *mirrorSink[T]) Commit(ctx context.Context, version string) error {
	if !s.all {
		s.sweepPending()
		if err := s.sweepRecorded(ctx); err != nil {
			return err
		}
	}
	if s.extra != nil {
		if err := s.extra.Commit(ctx, version); err != nil {
			return err
		}
	}
	s.pass = 0
	s.pending.Committed(version)
	s.begun()
	return nil
}

// sweepPending turns pending changes of objects that the pass did not have into deletions.
func (s *mirrorSink[T]) sweepPending() {
	for _, meta := range s.pending.Unseen(s.pass) {
		s.pending.Put(&pending.Change[T]{Meta: meta, Gone: true, Initial: s.isInitial()})
	}
}

// sweepRecorded queues a deletion for each record that the pass did not have. It blocks
// at the bounds.
func (s *mirrorSink[T]) sweepRecorded(ctx context.Context) error {
	for meta, err := range s.storage.Unmarked() {
		if err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		if err := s.pending.Wait(ctx, meta.Key, 0); err != nil {
			return err
		}
		if _, _, ok := s.pending.Latest(meta.Key); ok {
			continue // it was in the pass, or its deletion is under way
		}
		// Without a pending change no worker changes the record. It can have
		// changed since it was yielded.
		held, ok, err := s.storage.Get(meta.Key)
		if err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		marked, err := s.storage.Marked(meta.Key)
		if err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		if !ok || marked {
			continue
		}
		s.count.swept.Add(1)
		s.pending.Put(&pending.Change[T]{Meta: held, Gone: true, Initial: s.isInitial()})
	}
	return nil
}

// Abort implements [store.Sink].
func (s *mirrorSink[T]) Abort(pass store.Pass, cause error) {
	s.pass = 0
	if s.extra != nil {
		s.extra.Abort(pass, cause)
	}
}

// Progress implements [store.Sink].
func (s *mirrorSink[T]) Progress(ctx context.Context, version string) error {
	s.begun()
	if s.extra != nil {
		if err := s.extra.Progress(ctx, version); err != nil {
			return err
		}
	}
	s.pending.Progress(version)
	return nil
}
