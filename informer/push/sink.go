// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"context"
	"errors"
	"fmt"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// batchSink is the sink of a [Batcher]. From Begin to Commit or Abort it has the turn
// to call the consumer; passes go to it directly, changes to the merger.
type batchSink[T any] struct {
	*Batcher[T]
	store.SinkDefaults

	snapshot  Snapshot
	hasTurn   bool
	begun     bool // BeginSnapshot was called
	completed bool // a snapshot ever was
	all       bool // the consumer keeps what the snapshot does not have

	page  []informer.Object[T] // not told yet
	bytes int64
	told  *mirror.ResourceVersions         // what the pass has, told or not
	late  map[store.Key]*pending.Change[T] // what was deleted after it was told
}

// MayBlock implements [store.Sink].
func (s *batchSink[T]) MayBlock() bool { return true }

// Holds implements [store.Sink]: a snapshot has everything.
func (s *batchSink[T]) Holds(store.Meta) bool { return false }

// Begin implements [store.Sink].
func (s *batchSink[T]) Begin(ctx context.Context, pass store.Pass) error {
	m := s.merger
	if err := m.takeTurn(ctx); err != nil {
		return err
	}
	s.hasTurn = true
	m.fenced.Store(true)
	s.Batcher.begun()
	s.snapshot = Snapshot{Epoch: pass.Epoch, Reason: pass.Reason, Cause: pass.Cause, First: !s.completed}
	s.page, s.bytes, s.told, s.late = nil, 0, mirror.NewResourceVersionStorage(), map[store.Key]*pending.Change[T]{}
	s.begun, s.all = true, false
	return consumerError("BeginSnapshot", s.cfg.Consumer.BeginSnapshot(ctx, s.snapshot))
}

// consumerError says which call of the consumer failed.
func consumerError(call string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of the consumer: %w", call, err)
}

// Apply implements [store.Sink].
func (s *batchSink[T]) Apply(ctx context.Context, meta store.Meta, obj T) error {
	size := int64(s.merger.cfg.SizeOf(obj))
	if !s.hasTurn {
		c := &pending.Change[T]{Meta: meta, Obj: obj, Size: size}
		return s.change(c)
	}
	if held, _, _ := s.told.Get(meta.Key); held == meta && meta.Version != "" { // in memory: no error
		return nil // a list may repeat objects
	}
	limits := &s.merger.cfg
	if len(s.page) >= limits.MaxItems || len(s.page) > 0 && s.bytes+size > limits.MaxBytes {
		if err := s.tell(ctx); err != nil {
			return err
		}
	}
	if err := s.told.Set(meta, 0); err != nil {
		return err
	}
	delete(s.late, meta.Key)
	s.page = append(s.page, informer.Object[T]{Meta: meta, Object: obj, IsInInitialList: s.snapshot.First})
	s.bytes += size
	return nil
}

// Keep implements [store.Keeper], if the consumer keeps objects or has nothing to keep.
func (s *batchSink[T]) Keep(ctx context.Context, meta store.Meta) error {
	accepted := s.merger.versions.Load()
	all := meta.Key.Name == ""
	held, has, _ := accepted.Get(meta.Key) // in memory: no error
	has = has && meta.SameObject(held)
	err := s.cfg.Consumer.(SnapshotKeeper).SnapshotKeep(ctx, s.snapshot, meta)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && (has || all && accepted.Len() > 0):
		return err
	case err != nil && !errors.Is(err, errors.ErrUnsupported):
		return consumerError("SnapshotKeep", err)
	case all:
		s.all = true
	case has:
		return s.told.Set(held, 0)
	}
	return nil
}

// keepAll adds to what the consumer has what the snapshot does not have.
func (s *batchSink[T]) keepAll() error {
	for held := range s.merger.versions.Load().All() {
		if _, told, _ := s.told.Get(held.Key); told { // in memory: no error
			continue
		}
		if err := s.told.Set(held, 0); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements [store.Sink].
func (s *batchSink[T]) Delete(_ context.Context, meta store.Meta, last T, known bool) error {
	c := &pending.Change[T]{Meta: meta, Gone: true, Known: known}
	if known {
		c.Obj, c.Size = last, int64(s.merger.cfg.SizeOf(last))
	}
	if !s.hasTurn {
		return s.change(c)
	}
	// The snapshot has it, and does not say that it is gone.
	if _, ok, _ := s.told.Get(meta.Key); ok { // in memory: no error
		s.late[meta.Key] = c
	}
	return nil
}

// change takes a change outside of a pass.
func (s *batchSink[T]) change(c *pending.Change[T]) error {
	m := s.merger
	switch {
	case m.fenced.Load():
		m.givenUp.Add(1) // the snapshot that is wanted will have it
	case !m.isStale(c):
		if !m.pending.Admits(c.Meta.Key, c.Size) {
			return m.pending.Full(c.Size)
		}
		m.put(c)
	}
	m.pending.Advance(c.Meta.Version)
	return nil
}

// Page implements [store.Sink].
func (s *batchSink[T]) Page(ctx context.Context, _ store.PageInfo) error { return s.tell(ctx) }

// tell tells the consumer what it was not told yet.
func (s *batchSink[T]) tell(ctx context.Context) error {
	if len(s.page) == 0 {
		return nil
	}
	page := s.page
	s.page, s.bytes = nil, 0
	return consumerError("SnapshotPage", s.cfg.Consumer.SnapshotPage(ctx, s.snapshot, page))
}

// Commit implements [store.Sink]. What is pending is older than the snapshot, and
// dropped.
func (s *batchSink[T]) Commit(ctx context.Context, version string) error {
	if err := s.tell(ctx); err != nil {
		return err
	}
	if s.all {
		if err := s.keepAll(); err != nil {
			return err
		}
	}
	s.snapshot.Version = version
	if err := s.cfg.Consumer.EndSnapshot(ctx, s.snapshot); err != nil {
		return consumerError("EndSnapshot", err)
	}
	m := s.merger
	m.fence()
	m.count.fenced.Add(uint64(m.givenUp.Swap(0)))
	m.versions.Store(s.told)
	m.epoch, m.failures = s.snapshot.Epoch, 0
	m.pending.Committed(version)
	for _, c := range s.late {
		m.put(c)
	}
	m.fenced.Store(false)
	pending.Notify(m.added)
	s.snapshots.Add(1)
	if !s.completed {
		s.completed = true
		close(s.synced)
	}
	s.end()
	return nil
}

// Abort implements [store.Sink]. No batch follows before another snapshot. The Reflector
// makes one, unless it can go on with a watch that failed; then this asks for it.
func (s *batchSink[T]) Abort(pass store.Pass, cause error) {
	if s.begun {
		s.cfg.Consumer.AbortSnapshot(s.snapshot, cause)
		if pass.Reason == store.ReasonFailing || pass.Reason == store.ReasonPoll {
			s.reflector.Resync(cause)
		}
	}
	s.end()
}

// end ends the turn, and forgets what belongs to the pass.
func (s *batchSink[T]) end() {
	s.page, s.told, s.late, s.begun = nil, nil, nil, false
	if s.hasTurn {
		s.hasTurn = false
		s.merger.endTurn()
	}
}

// Progress implements [store.Sink].
func (s *batchSink[T]) Progress(_ context.Context, version string) error {
	s.merger.pending.Progress(version)
	return nil
}
