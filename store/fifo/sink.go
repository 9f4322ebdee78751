// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo

import (
	"context"
	"fmt"

	"github.com/apiary-go/apiary/store"
)

// Sink returns a [store.Sink] that fills the queue, for one source at a time.
//
//   - Each object that the source tells is added, under the key of its Meta, which
//     should be that of the KeyFunc. The queue does not remember what it handed
//     out, so every pass brings the whole collection once more: where only changes
//     are wanted, fill a [store.Store] and add from its OnChange.
//   - A deletion removes what is queued, as Delete does. So does the end of a pass
//     with what was queued before it, and was not added since. Of a pass that
//     breaks off nothing is concluded.
//   - Outside of a pass, what is older than what is queued or leased is ignored, and
//     counted, as far as that came from the source as well; see [store.Stale] and
//     [store.Superseded].
//   - Nothing blocks. After Close objects are refused with [ErrClosed], which the
//     source takes for a failure: stop it first.
func (f *FIFO[T]) Sink() store.Sink[T] { return fifoSink[T]{fifo: f} }

type fifoSink[T any] struct {
	store.SinkDefaults
	fifo *FIFO[T]
}

// SharesObjects implements [store.Sharing]: what is leased may be read elsewhere as well.
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
	f.passed()
	return nil
}

// Abort implements [store.Sink].
func (s fifoSink[T]) Abort(store.Pass, error) {
	f := s.fifo
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
}

// held returns the meta of the latest state of key, outside of a pass and if the
// queue still knows it.
func (f *FIFO[T]) held(key store.Key) (meta store.Meta, ok bool) {
	it := f.byKey[key]
	if it == nil || f.open {
		return store.Meta{}, false
	}
	latest := it.latest()
	return latest.meta, !latest.gone
}

// latest returns what was added to the key of it last.
func (it *item[T]) latest() *item[T] {
	if it.behind != nil {
		return it.behind
	}
	return it
}
