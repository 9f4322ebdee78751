// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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

	snapshot  SnapshotInfo
	hasTurn   bool
	begun     bool               // BeginSnapshot was called
	completed bool               // a snapshot ever was
	all       bool               // the consumer keeps what the snapshot does not have
	kept      map[store.Key]bool // whether the consumer refused what it keeps

	page     []informer.Object[T] // not delivered yet
	bytes    int64
	paged    map[store.Key]store.Meta         // the newest state of each key in page
	accepted *mirror.ResourceVersions         // what the consumer accepted in this pass
	late     map[store.Key]*pending.Change[T] // what was deleted after the pass had it

	left        map[store.Key]*unaccepted[T] // what the consumer did not accept in this pass
	leftObjects int                          // that are kept
	leftBytes   int64
	doomed      error                // the consumer refused a page: the pass goes on to find the cause
	doubted     []informer.Object[T] // that page, if it was the first: what the next answer is shows the cause
}

// MayBlock implements [store.Sink].
func (s *batchSink[T]) MayBlock() bool { return true }

// Has implements [store.Sink]: a snapshot has everything.
func (s *batchSink[T]) Has(store.Meta) bool { return false }

// Begin implements [store.Sink].
func (s *batchSink[T]) Begin(ctx context.Context, pass store.Pass) error {
	m := s.merger
	if err := m.takeTurn(ctx); err != nil {
		return err
	}
	s.hasTurn = true
	m.fenced.Store(true)
	s.Batcher.begun()
	s.snapshot = SnapshotInfo{Epoch: pass.Epoch, Reason: pass.Reason, Cause: pass.Cause, First: !s.completed}
	s.page, s.bytes, s.paged, s.late = nil, 0, map[store.Key]store.Meta{}, map[store.Key]*pending.Change[T]{}
	s.accepted, s.left, s.leftObjects, s.leftBytes = mirror.NewResourceVersionStorage(), map[store.Key]*unaccepted[T]{}, 0, 0
	s.doomed, s.doubted, s.kept = nil, nil, map[store.Key]bool{}
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
	if held, ok := s.newest(meta.Key); ok && held == meta && meta.Version != "" {
		return nil // a list may repeat objects
	}
	limits := &s.merger.cfg
	if len(s.page) >= limits.MaxItems || len(s.page) > 0 && s.bytes+size > limits.MaxBytes {
		if err := s.deliverPage(ctx); err != nil {
			return err
		}
	}
	delete(s.late, meta.Key)
	s.page = append(s.page, informer.Object[T]{Meta: meta, Object: obj, IsInInitialList: s.snapshot.First})
	s.paged[meta.Key] = meta
	s.bytes += size
	return nil
}

// newest returns the newest state of a key in this pass.
func (s *batchSink[T]) newest(key store.Key) (meta store.Meta, ok bool) {
	if meta, ok = s.paged[key]; ok {
		return meta, true
	}
	if left := s.left[key]; left != nil {
		return left.meta, true
	}
	meta, ok, _ = s.accepted.Get(key) // in memory: no error
	return meta, ok
}

// Keep implements [store.Keeper], if the consumer keeps objects or has nothing to keep.
func (s *batchSink[T]) Keep(ctx context.Context, meta store.Meta) error {
	accepted := s.merger.versions.Load()
	all := meta.Key.Name == ""
	held, has, _ := accepted.Get(meta.Key) // in memory: no error
	has = has && meta.SameObject(held)
	isRefused := s.merger.refusals[meta.Key] != nil // and the consumer may have it
	err := s.cfg.Consumer.(SnapshotKeeper).SnapshotKeep(ctx, s.snapshot, meta)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && (has || isRefused || all && accepted.Len()+len(s.merger.refusals) > 0):
		return err
	case err != nil && !errors.Is(err, errors.ErrUnsupported):
		return consumerError("SnapshotKeep", err)
	case all:
		s.all = true
	}
	if s.kept[meta.Key] = isRefused; has {
		return s.accepted.Set(held, 0)
	}
	return nil
}

// keepAll adds to what the consumer has what the snapshot does not have.
func (s *batchSink[T]) keepAll() error {
	for held := range s.merger.versions.Load().All() {
		if _, ok := s.newest(held.Key); ok {
			continue
		}
		if err := s.accepted.Set(held, 0); err != nil {
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
	if _, ok := s.newest(meta.Key); ok {
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
func (s *batchSink[T]) Page(ctx context.Context, _ store.PageInfo) error { return s.deliverPage(ctx) }

// deliverPage delivers the page, without the keys that the consumer refuses.
func (s *batchSink[T]) deliverPage(ctx context.Context) error {
	page := make([]informer.Object[T], 0, len(s.page))
	for _, obj := range s.page {
		r := s.merger.refusals[obj.Key]
		if r == nil || !r.withheld || s.leave(obj, nil) != nil { // there may be room for no more
			page = append(page, obj)
		}
	}
	paged := s.paged
	s.page, s.bytes, s.paged = nil, 0, map[store.Key]store.Meta{}
	if len(page) == 0 {
		return nil
	}
	err := s.offer(ctx, page)
	if err == nil || isFatal(ctx, err) {
		return err
	}
	// The consumer may have the newest states.
	page = slices.DeleteFunc(page, func(obj informer.Object[T]) bool { return paged[obj.Key] != obj.Meta })
	goOn, fatal := s.bisectPage(ctx, page, err)
	if !goOn {
		return cmp.Or(fatal, err)
	}
	s.doomed = err
	return nil
}

// offer delivers a page, or a part of one. It returns an error if the consumer refuses
// the whole of it.
func (s *batchSink[T]) offer(ctx context.Context, page []informer.Object[T]) error {
	err := s.cfg.Consumer.SnapshotPage(ctx, s.snapshot, slices.Clone(page)) // which is the consumer's then
	refused, err := refusedKeys(err, isOneOf(len(page), func(i int) store.Key { return page[i].Key }))
	if err != nil {
		return consumerError("SnapshotPage", err)
	}
	for _, obj := range page {
		if why, ok := refused[obj.Key]; ok {
			if err := s.leave(obj, reasonOf(why)); err != nil {
				return err
			}
		} else if err := s.accepted.Set(obj.Meta, 0); err != nil {
			return err
		} else {
			s.unleave(obj.Key)
			s.merger.forget(obj.Key)
		}
	}
	for _, obj := range s.doubted {
		s.withhold(obj.Meta, s.doomed)
	}
	s.doubted = nil
	return nil
}

// Commit implements [store.Sink]. What is pending is older than the snapshot, and
// dropped.
func (s *batchSink[T]) Commit(ctx context.Context, version string) error {
	if err := s.deliverPage(ctx); err != nil {
		return err
	}
	if s.doomed != nil {
		return s.doomed
	}
	if s.all {
		if err := s.keepAll(); err != nil {
			return err
		}
	}
	s.snapshot.Version = version
	s.snapshot.Refused = slices.SortedFunc(maps.Keys(s.left), store.Key.Compare)
	err := s.cfg.Consumer.EndSnapshot(ctx, s.snapshot)
	atEnd, err := refusedKeys(err, func(key store.Key) bool {
		_, ok := s.newest(key)
		return ok
	})
	if err != nil {
		return consumerError("EndSnapshot", err)
	}
	m := s.merger
	m.fence()
	m.count.fenced.Add(uint64(m.givenUp.Swap(0)))
	m.epoch = s.snapshot.Epoch
	m.recovered()
	m.pending.Committed(version)
	s.keepLeft(atEnd)
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
		if s.doomed != nil && s.accepted.Len() == 0 {
			s.merger.offerAll() // to see if it accepts anything
		}
		if pass.Reason == store.ReasonFailing || pass.Reason == store.ReasonPoll {
			s.reflector.Resync(cause)
		}
	}
	s.end()
}

// end ends the turn, and forgets what belongs to the pass.
func (s *batchSink[T]) end() {
	s.page, s.paged, s.accepted, s.late, s.left, s.kept, s.begun = nil, nil, nil, nil, nil, nil, false
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
