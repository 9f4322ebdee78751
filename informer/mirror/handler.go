// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// ResourceEventHandler handles the changes that a [ResourceVersionInformer] finds, such as
// by writing them to a database. The table in the package documentation has which method
// is called when.
//
//   - A nil error acknowledges the change: its version is then recorded, or the record
//     deleted. After another error the key is retried, see
//     [InformerConfig.RateLimiter], in its state at that time. So a change can come
//     more than once, and a write must be repeatable.
//   - Changes of one key come one at a time and in order. Newer changes are merged into
//     the one that waits. Changes of different keys come from [InformerConfig.Workers]
//     goroutines at once, in no particular order.
//   - No lock is held during a call. A call can be slow: reading waits at a bound.
//   - ctx ends when the informer is stopped. Run waits for the calls in flight.
//   - The handler owns the object. The informer keeps no reference.
//   - A panic is an error of the call. See the documentation of package resource.
type ResourceEventHandler[T any] interface {
	// OnAdd is called for an object that is not recorded.
	OnAdd(ctx context.Context, obj informer.Object[T]) error

	// OnUpdate is called for a new version of a recorded object. Old is the record: key,
	// UID and version. The old object itself is not kept.
	OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[T]) error

	// OnDelete is called when a recorded object, or one whose OnAdd failed, is gone: it
	// was deleted, or a complete list did not have it. It is not called for an object
	// that the handler answered with [ErrNotKept].
	OnDelete(ctx context.Context, gone Deletion[T]) error

	// OnSync is called, once per list, for an object that the list has in the recorded
	// version. See [InformerConfig.SkipSync].
	OnSync(ctx context.Context, obj informer.Object[T]) error
}

// ErrNotKept is returned, or wrapped, by OnAdd, OnUpdate and OnSync. It acknowledges the
// object, and says that the handler stores nothing for it. That includes writes of an
// earlier failed call: a handler that is in doubt must remove them first.
//
// The key is then not recorded. The next change of the object is an OnAdd, its deletion
// causes no call, and each list shows the object again.
var ErrNotKept = errors.New("the handler does not keep this object")

// errFiltered is the ErrNotKept of a filter that did not call its handler.
var errFiltered = fmt.Errorf("the object does not match the filter: %w", ErrNotKept)

// Deletion is the deletion of an object that was recorded, or whose OnAdd failed.
type Deletion[T any] struct {
	// Meta has the key, the UID and the version of the record, or of the failed OnAdd.
	store.Meta

	// Object is the last state of the object, as the server sent it with the deletion.
	// It is set only if Known.
	Object T

	// Known is false if a list showed the deletion. It is true if the object no longer
	// matches a [FilteringResourceEventHandler]: Object is then the current state.
	Known bool

	// IsInInitialList is set if the first complete list showed that the object is gone,
	// or if the object was deleted before its state in that list was delivered.
	IsInInitialList bool
}

// ResourceVersionUpdater is an optional interface of a [ResourceEventHandler] that saves
// the resume version, see [ResourceVersionInformer.ResumeVersion]. It is needed beside
// saving with the rows: the rows of the first list are written while there is no resume
// version yet. If nothing is written after them, each restart would begin with a list.
type ResourceVersionUpdater interface {
	// UpdateResourceVersion is called with the newest resume version after it has
	// changed, one call at a time, and at most once in [InformerConfig.ResumeInterval].
	// An empty version means that there is none to resume from: the saved version must
	// not be used any more. An error is reported, and the call repeated. It is not called
	// when Run returns: use ResumeVersion for the final value.
	//
	// A handler that also saves the version with its rows must ignore the argument and
	// call [ResourceVersionInformer.ResumeVersion] in the transaction: a worker can
	// have saved a newer version meanwhile.
	UpdateResourceVersion(ctx context.Context, resourceVersion string) error
}

// ResourceEventHandlerFuncs implements [ResourceEventHandler] with functions. A nil
// function acknowledges the change. To save the resume version, embed it in a type that
// implements [ResourceVersionUpdater]. Such a type needs [InformerConfig.SkipSync] if
// its OnSync does nothing.
type ResourceEventHandlerFuncs[T any] struct {
	AddFunc    func(ctx context.Context, obj informer.Object[T]) error
	UpdateFunc func(ctx context.Context, old store.Meta, obj informer.Object[T]) error
	DeleteFunc func(ctx context.Context, gone Deletion[T]) error
	SyncFunc   func(ctx context.Context, obj informer.Object[T]) error
}

// OnAdd implements [ResourceEventHandler].
func (f ResourceEventHandlerFuncs[T]) OnAdd(ctx context.Context, obj informer.Object[T]) error {
	if f.AddFunc == nil {
		return nil
	}
	return f.AddFunc(ctx, obj)
}

// OnUpdate implements [ResourceEventHandler].
func (f ResourceEventHandlerFuncs[T]) OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[T]) error {
	if f.UpdateFunc == nil {
		return nil
	}
	return f.UpdateFunc(ctx, old, obj)
}

// OnDelete implements [ResourceEventHandler].
func (f ResourceEventHandlerFuncs[T]) OnDelete(ctx context.Context, gone Deletion[T]) error {
	if f.DeleteFunc == nil {
		return nil
	}
	return f.DeleteFunc(ctx, gone)
}

// OnSync implements [ResourceEventHandler].
func (f ResourceEventHandlerFuncs[T]) OnSync(ctx context.Context, obj informer.Object[T]) error {
	if f.SyncFunc == nil {
		return nil
	}
	return f.SyncFunc(ctx, obj)
}

// FilteringResourceEventHandler passes only objects that match FilterFunc to Handler. An
// object that begins to match is an OnAdd. An object that ceases to match is an OnDelete
// with its current state, also if its OnAdd failed.
//
// The storage records only objects that matched; the filter itself has no state. So
// FilterFunc can change between two runs, if the first list shows it every object. For
// that, start without ResumeVersion and leave [InformerConfig.SkipSync] unset. OnSync
// applies the filter, so a Handler without a SyncFunc does not imply SkipSync.
//
// FilterFunc must be pure. The workers call it, only with objects.
type FilteringResourceEventHandler[T any] struct {
	FilterFunc func(obj T) bool
	Handler    ResourceEventHandler[T]
}

// OnAdd implements [ResourceEventHandler].
func (f FilteringResourceEventHandler[T]) OnAdd(ctx context.Context, obj informer.Object[T]) error {
	if !f.FilterFunc(obj.Object) {
		return errFiltered
	}
	return f.Handler.OnAdd(ctx, obj)
}

// OnUpdate implements [ResourceEventHandler].
func (f FilteringResourceEventHandler[T]) OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[T]) error {
	if !f.FilterFunc(obj.Object) {
		return f.leave(ctx, old, obj)
	}
	return f.Handler.OnUpdate(ctx, old, obj)
}

// OnDelete implements [ResourceEventHandler].
func (f FilteringResourceEventHandler[T]) OnDelete(ctx context.Context, gone Deletion[T]) error {
	return f.Handler.OnDelete(ctx, gone)
}

// OnSync implements [ResourceEventHandler].
func (f FilteringResourceEventHandler[T]) OnSync(ctx context.Context, obj informer.Object[T]) error {
	if !f.FilterFunc(obj.Object) {
		return f.leave(ctx, obj.Meta, obj)
	}
	return f.Handler.OnSync(ctx, obj)
}

// UpdateResourceVersion implements [ResourceVersionUpdater]. It does nothing if Handler
// does not implement it.
func (f FilteringResourceEventHandler[T]) UpdateResourceVersion(ctx context.Context, resourceVersion string) error {
	if updater, ok := f.Handler.(ResourceVersionUpdater); ok {
		return updater.UpdateResourceVersion(ctx, resourceVersion)
	}
	return nil
}

// leave calls OnDelete for obj, which was recorded as old and no longer matches.
func (f FilteringResourceEventHandler[T]) leave(ctx context.Context, old store.Meta, obj informer.Object[T]) error {
	gone := Deletion[T]{Meta: old, Object: obj.Object, Known: true, IsInInitialList: obj.IsInInitialList}
	if err := f.Handler.OnDelete(ctx, gone); err != nil {
		return err
	}
	return ErrNotKept
}

// Validate returns an error if a field is not set. [NewResourceVersionInformer] calls it.
func (f FilteringResourceEventHandler[T]) Validate() error {
	if f.FilterFunc == nil {
		return errors.New("FilteringResourceEventHandler.FilterFunc is nil: give a function, or leave out the filter")
	}
	if check.IsNil(f.Handler) {
		return errors.New("FilteringResourceEventHandler.Handler is nil: give the handler for the objects that match")
	}
	return check.Validate(f.Handler)
}
