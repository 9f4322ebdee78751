// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo

import (
	"context"
	"fmt"

	"github.com/apiary-go/apiary/store"
)

// Sink returns a [store.Sink] that adds objects to the queue, for one source at a time.
//
//   - Each object is added under the key of its Meta, which should be the key of the
//     KeyFunc. The queue does not hold popped objects, so every pass adds the whole
//     collection again. To queue only changes, use a [store.Store] and add from its
//     OnChange.
//   - A deletion removes the queued object, like [FIFO.Delete]. The end of a pass removes
//     objects that were queued before the pass and are not in it. An aborted pass removes
//     nothing.
//   - Between passes, a change that is older than the queued or leased object is ignored
//     and counted, if that object came from the source as well: see [store.Stale] and
//     [store.Superseded].
//   - It never blocks. After Close it returns [ErrClosed], which is a failure for the
//     source. Stop the source before Close.
func (f *FIFO[T]) Sink() store.Sink[T] { return fifoSink[T]{fifo: f} }

type fifoSink[T any] struct {
	store.SinkDefaults
	fifo *FIFO[T]
}

// SharesObjects implements [store.Sharing]: leased objects can be shared with other
// readers.
func (s fifoSink[T]) SharesObjects() bool { return true }

// Begin implements [store.Sink].
func (s fifoSink[T]) Begin(context.Context, store.Pass) error {
	f := s.fifo
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = true
	f.mark++
	return nil
}

// Apply implements [store.Sink].
func (s fifoSink[T]) Apply(_ context.Context, meta store.Meta, obj T) error {
	f := s.fifo
	if meta.Key.Name == "" {
		return fmt.Errorf("%s: apply %q: %w", f.name, meta, store.ErrNoName)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.errClosed("apply", meta.Key)
	}
	if held, ok := f.held(meta.Key); ok && store.Stale(meta, held) {
		f.stats.Stale++
		return nil
	}
	f.put(meta, obj)
	return nil
}

// Keep implements [store.Keeper].
func (s fifoSink[T]) Keep(_ context.Context, meta store.Meta) error {
	f := s.fifo
	f.mu.Lock()
	defer f.mu.Unlock()
	if meta.Key.Name == "" {
		for _, it := range f.byKey {
			it.latest().seen = f.mark
		}
	} else if it := f.byKey[meta.Key]; it != nil && meta.SameObject(it.latest().meta) {
		it.latest().seen = f.mark
	}
	return nil
}

// Delete implements [store.Sink].
func (s fifoSink[T]) Delete(_ context.Context, meta store.Meta, _ T, _ bool) error {
	f := s.fifo
	f.mu.Lock()
	defer f.mu.Unlock()
	if held, ok := f.held(meta.Key); ok && store.Superseded(meta, held) {
		f.stats.Stale++
		return nil
	}
	f.drop(meta.Key)
	return nil
}

// Commit implements [store.Sink].
func (s fifoSink[T]) Commit(context.Context, string) error {
	f := s.fifo
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open {
		return fmt.Errorf("%s: %w: call Begin before Commit", f.name, store.ErrNoPass)
	}
	f.open = false
	for key, it := range f.byKey {
		if it.latest().seen != f.mark {
			f.drop(key)
		}
	}
	f.setSynced()
	return nil
}

// Abort implements [store.Sink].
func (s fifoSink[T]) Abort(store.Pass, error) {
	f := s.fifo
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
}

// held returns the meta of the latest state of key. It returns false during a pass, and
// if the key is not queued or leased, or was deleted.
func (f *FIFO[T]) held(key store.Key) (meta store.Meta, ok bool) {
	it := f.byKey[key]
	if it == nil || f.open {
		return store.Meta{}, false
	}
	latest := it.latest()
	return latest.meta, !latest.gone
}

// latest returns the item of its key that was added last.
func (it *item[T]) latest() *item[T] {
	if it.behind != nil {
		return it.behind
	}
	return it
}
