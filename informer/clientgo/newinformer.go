// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/check"
)

// NewInformer returns a [Controller] that keeps the objects of lw in st and calls h for each
// change, like client-go's informers. To keep no objects, use
// [mirror.ResourceVersionInformer]. New code can use package resource.
//
//   - st must be keyed as by cache.MetaNamespaceKeyFunc. It can have objects already, such
//     as those of an earlier run. Only the controller may write to it.
//   - transform converts a decoded object to the T that st and h get, before it is queued:
//     see [source.FromListerWatcher]. If it is nil, objects must be Ts. A T must have
//     metadata.
//   - h is called after st was changed. OnAdd is called for an object that st did not have,
//     OnUpdate for an object that it had, with that as the old object, and OnDelete for a
//     deletion. A list and a resync call OnUpdate for each object in st, changed or not. If
//     a list showed the deletion, OnDelete gets a cache.DeletedFinalStateUnknown with the
//     object of st.
//   - Changes of one object come in order, and none are merged. The object is shared with
//     st and must not be modified.
//   - h is called from one goroutine, under the lock of a queue: reading waits until it
//     returns. It can read st.
//   - An error of st goes to slog.Default(). h is not called for that change, which is lost
//     until the next list. The reading is logged as by [informer.LogObserver].
//
// st is resynced every resyncPeriod; zero is never. [Controller.HasSynced] is true after h has
// returned from its last call for the first list.
//
// It returns an error if lw, st or h is nil, or resyncPeriod is negative.
func NewInformer[T any](lw cache.ListerWatcher, st cache.Store, resyncPeriod time.Duration,
	h cache.ResourceEventHandler, transform func(runtime.Object) (T, error)) (*Controller[T], error) {
	name := check.TypeName[T]()
	switch {
	case check.IsNil(st):
		return nil, fmt.Errorf("informer of %s: the store is nil: give one, for example cache.NewStore(cache.MetaNamespaceKeyFunc)", name)
	case check.IsNil(h):
		return nil, fmt.Errorf("informer of %s: the handler is nil: give one, or use NewNamedReflector to fill only the store", name)
	}
	keep := keeper{store: st, handler: h}
	return NewNamedController(name, ControllerConfig[T]{
		Queue: cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{
			KeyFunction: cache.MetaNamespaceKeyFunc, KnownObjects: st, EmitDeltaTypeReplaced: true,
		}),
		Source:           source.FromListerWatcher(lw, transform),
		Process:          keep.process,
		FullResyncPeriod: resyncPeriod,
	})
}

// keeper applies the deltas of a DeltaFIFO to a store and calls a handler.
type keeper struct {
	store   cache.Store
	handler cache.ResourceEventHandler
}

// process applies all deltas, also after one of them failed.
func (k keeper) process(item any, isInInitialList bool) error {
	deltas, ok := item.(cache.Deltas)
	if !ok {
		return fmt.Errorf("the queue popped a %T, not cache.Deltas", item)
	}
	var errs []error
	for _, d := range deltas {
		if err := k.delta(d, isInInitialList); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Type, err))
		}
	}
	return errors.Join(errs...)
}

func (k keeper) delta(d cache.Delta, isInInitialList bool) error {
	switch d.Type {
	case cache.Added, cache.Updated, cache.Replaced, cache.Sync:
		old, exists, err := k.store.Get(d.Object)
		switch {
		case err != nil:
			return err
		case exists:
			if err := k.store.Update(d.Object); err != nil {
				return err
			}
			k.handler.OnUpdate(old, d.Object)
		default:
			if err := k.store.Add(d.Object); err != nil {
				return err
			}
			k.handler.OnAdd(d.Object, isInInitialList)
		}
	case cache.Deleted:
		gone := d.Object
		if tombstone, ok := gone.(cache.DeletedFinalStateUnknown); ok {
			// Not every key function knows tombstones.
			held, exists, err := k.store.GetByKey(tombstone.Key)
			if err != nil {
				return err
			}
			if exists {
				gone = held
			}
		}
		if err := k.store.Delete(gone); err != nil {
			return err
		}
		k.handler.OnDelete(d.Object)
	default:
		return errors.New("a DeltaFIFO has no such type of delta")
	}
	return nil
}
