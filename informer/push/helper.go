// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"context"
	"errors"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// WholeSnapshots returns a [BatchConsumer] that collects each snapshot in one list. It calls
// onList once for each, with all objects in no particular order. What the list lacks is gone.
// The error of onList is that of EndSnapshot: a [RefusedError] refuses single objects. Both
// functions are required.
//
// All objects of a snapshot are in memory at once.
func WholeSnapshots[T any](onList func(ctx context.Context, s SnapshotInfo, objects []informer.Object[T]) error, onBatch BatchEventConsumer[T]) BatchConsumer[T] {
	return &wholeSnapshots[T]{onList: onList, onBatch: onBatch}
}

type wholeSnapshots[T any] struct {
	onList  func(context.Context, SnapshotInfo, []informer.Object[T]) error
	onBatch BatchEventConsumer[T]
	objects []informer.Object[T]
	at      map[store.Key]int
}

// Validate fails if a function is missing. [NewBatcher] calls it.
func (w *wholeSnapshots[T]) Validate() error {
	if w.onList == nil || w.onBatch == nil {
		return errors.New("WholeSnapshots has a nil function: give both")
	}
	return nil
}

// BeginSnapshot implements [BatchConsumer].
func (w *wholeSnapshots[T]) BeginSnapshot(context.Context, SnapshotInfo) error {
	w.objects, w.at = nil, map[store.Key]int{}
	return nil
}

// SnapshotPage implements [BatchConsumer].
func (w *wholeSnapshots[T]) SnapshotPage(_ context.Context, _ SnapshotInfo, page []informer.Object[T]) error {
	for _, obj := range page {
		if i, ok := w.at[obj.Key]; ok {
			w.objects[i] = obj
			continue
		}
		w.at[obj.Key] = len(w.objects)
		w.objects = append(w.objects, obj)
	}
	return nil
}

// EndSnapshot implements [BatchConsumer].
func (w *wholeSnapshots[T]) EndSnapshot(ctx context.Context, s SnapshotInfo) error {
	objects := w.objects
	w.objects, w.at = nil, nil
	return w.onList(ctx, s, objects)
}

// AbortSnapshot implements [BatchConsumer].
func (w *wholeSnapshots[T]) AbortSnapshot(SnapshotInfo, error) { w.objects, w.at = nil, nil }

// OnBatch implements [BatchConsumer].
func (w *wholeSnapshots[T]) OnBatch(ctx context.Context, batch Batch[T]) error {
	return w.onBatch(ctx, batch)
}

// ListWatchCallback has the functions that a [ListWatchHelper] calls, one call at a time. Both
// are required. After an error the call is repeated with the state of that time, after a delay.
// If it is [store.ErrResync], or repeats, OnList is called again.
type ListWatchCallback[T any] struct {
	// OnList gets all objects, as in [WholeSnapshots].
	OnList func(ctx context.Context, objects []informer.Object[T]) error

	// OnEvent gets one change at a time, without delay.
	OnEvent func(ctx context.Context, change BatchChange[T]) error
}

// ListWatchHelper calls one function with all objects of a collection, then another one with
// each change. It begins again if they keep failing:
//
//	helper, err := push.NewListWatchHelper(lw, push.ListWatchCallback[*corev1.Pod]{OnList: …, OnEvent: …})
//	…
//	err = helper.Run(ctx) // until ctx ends
//
// It is a [Batcher] with batches of one change and snapshots of one page.
type ListWatchHelper[T any] struct{ batcher *Batcher[T] }

// NewListWatchHelper returns a helper that does nothing until Run. The objects of lw must be of
// type T. It fails if something is nil.
func NewListWatchHelper[T any](lw cache.ListerWatcher, callback ListWatchCallback[T]) (*ListWatchHelper[T], error) {
	if callback.OnList == nil || callback.OnEvent == nil {
		return nil, errors.New("ListWatchCallback.OnList or OnEvent is nil: give both")
	}
	b, err := NewBatcher(check.TypeName[T](), BatcherConfig[T]{
		ListerWatcher: lw,
		Consumer: WholeSnapshots(
			func(ctx context.Context, _ SnapshotInfo, objects []informer.Object[T]) error {
				return callback.OnList(ctx, objects)
			},
			func(ctx context.Context, batch Batch[T]) error {
				for _, change := range batch.Changes { // there is one
					if err := callback.OnEvent(ctx, change); err != nil {
						return err
					}
				}
				return nil
			}),
		Merger: MergerConfig[T]{MaxItems: 1, Quiet: -1, MaxDelay: -1},
	})
	if err != nil {
		return nil, err
	}
	return &ListWatchHelper[T]{batcher: b}, nil
}

// Run is [Batcher.Run].
func (h *ListWatchHelper[T]) Run(ctx context.Context) error { return h.batcher.Run(ctx) }

// Reset requests another call of OnList because of reason: see [Batcher.Resync].
func (h *ListWatchHelper[T]) Reset(reason error) { h.batcher.Resync(reason) }

// Stats is [Batcher.Stats].
func (h *ListWatchHelper[T]) Stats() BatcherStats { return h.batcher.Stats() }
