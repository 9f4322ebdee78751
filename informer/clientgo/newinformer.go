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

// NewInformer returns a [Controller] that keeps the objects of lw in st and tells
// h of the changes, as client-go's informers do. For one that keeps no objects see
// [mirror.ResourceVersionInformer], for one in new code package resource.
//
//   - St is the caller's, and may have objects already, say those of the run
//     before. It must be keyed as by cache.MetaNamespaceKeyFunc. Only the
//     controller may write to it.
//   - Transform turns an object as it was decoded into the T that is stored and
//     told; see [source.FromListerWatcher], which gets it. It comes before anything is
//     queued, and nobody sees what an object was before it. If it is nil the
//     objects must be Ts. A T needs metadata.
//   - H is told after st was changed: OnAdd of what st did not have, OnUpdate of
//     what it had, with that as the old object, and OnDelete. A list brings an
//     OnUpdate for each object that st has, changed or not, and so does a resync.
//     If the deletion was found by a list OnDelete gets a
//     cache.DeletedFinalStateUnknown with what st had.
//   - The changes of one object come in order. Those that came while others were
//     handled are all told. The object is shared with st and must not be modified.
//   - H is called from one goroutine, under the lock of a queue: what it is told of
//     next is not read before it returns. It may read st.
//   - An error of st goes to slog.Default(), and the change is lost until the next
//     list; h is not told of it. What goes on between the server and st is logged as
//     by [informer.LogObserver].
//
// St is resynced every resyncPeriod, if it is not zero. [Controller.HasSynced] is
// true once h has returned from the last call that is due to the first list.
//
// It fails if one of lw, st and h is nil or resyncPeriod is negative.
func NewInformer[T any](lw cache.ListerWatcher, st cache.Store, resyncPeriod time.Duration,
	h cache.ResourceEventHandler, transform func(runtime.Object) (T, error)) (*Controller[T], error) {
	name := check.TypeName[T]()
	switch {
	case check.IsNil(st):
		return nil, fmt.Errorf("informer of %s: the store is nil: give one, for example of cache.NewStore(cache.MetaNamespaceKeyFunc)", name)
	case check.IsNil(h):
		return nil, fmt.Errorf("informer of %s: the handler is nil: give one, or use NewNamedReflector if the store is all that is needed", name)
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

// keeper brings what a DeltaFIFO tells into a store and tells a handler.
type keeper struct {
	store   cache.Store
	handler cache.ResourceEventHandler
}

// process does all of the deltas, whatever becomes of one of them.
func (k keeper) process(item any, isInInitialList bool) error {
	deltas, ok := item.(cache.Deltas)
	if !ok {
		return fmt.Errorf("the queue gave a %T in place of cache.Deltas", item)
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
		return errors.New("not a type that a DeltaFIFO makes")
	}
	return nil
}
