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

// ResourceEventHandler does something about the changes that a
// [ResourceVersionInformer] finds, such as writing them to a database.
//
//   - A nil error acknowledges the change: only then is the version recorded in
//     the storage, or taken out of it. After any other error the same key is
//     handed over again later, in the state of then; see
//     [InformerConfig.RateLimiter]. So a change may be seen more than once, and a
//     handler must be able to write twice what it may have written before.
//   - What is called follows from what the storage has: OnAdd for a key that is
//     not recorded, OnUpdate for one that is, in another version. An object that
//     was created anew under its key, with another UID, is OnDelete followed by
//     OnAdd.
//   - OnDelete comes for an object that is recorded, and for one whose OnAdd failed,
//     since that may have written something. It does not come for an object that
//     the handler has answered with [ErrNotKept].
//   - Changes of one key come one at a time, in order, newer ones merged into the
//     one that waits. Those of different keys come from
//     [InformerConfig.Workers] goroutines at once, in no particular order.
//   - No lock is held during a call. It may take its time: what waits meanwhile is
//     bounded, and the reading of the API server waits for it.
//   - ctx ends when the informer is stopped. A handler that does not heed it holds
//     up the end of Run.
//   - The object is the handler's own. The informer keeps none.
//
// A panic is an error of the call, and so is one of the storage. The rule is in the
// documentation of package resource.
type ResourceEventHandler[T any] interface {
	// OnAdd says that there is an object that was not recorded.
	OnAdd(ctx context.Context, obj informer.Object[T]) error

	// OnUpdate says that the recorded object has another version. Old is what was
	// recorded: the key, the UID and the version. There is no old object, since
	// none is kept.
	OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[T]) error

	// OnDelete says that the recorded object, or one whose OnAdd failed, is gone:
	// it was deleted, or a complete list did not have it.
	OnDelete(ctx context.Context, gone Deletion[T]) error

	// OnSync says that a list had the recorded object in the recorded version.
	// It comes once per list. See [InformerConfig.SkipSync].
	OnSync(ctx context.Context, obj informer.Object[T]) error
}

// ErrNotKept is returned, or wrapped, by OnAdd, OnUpdate and OnSync to say: this
// was understood, and the handler has nothing of the object (any more). That
// includes what an earlier call, which failed, may have written: a handler that is
// in doubt removes it first. The key is then not recorded, or forgotten if it was;
// if the object changes again that is OnAdd, and nothing comes if it is deleted.
//
// Objects that are not kept are shown again by every list.
var ErrNotKept = errors.New("the handler does not keep this object")

// errFiltered is ErrNotKept of a filter whose handler was not asked.
var errFiltered = fmt.Errorf("the object does not match the filter: %w", ErrNotKept)

// Deletion is the deletion of an object that was recorded, or whose OnAdd failed.
type Deletion[T any] struct {
	// Meta is the key, the UID, and the last version that was recorded or tried
	// to be.
	store.Meta

	// Object is the last state of the object, as the server told it with the
	// deletion. It is there only if Known.
	Object T

	// Known is false if the deletion was found by a list. It is true if the object
	// left a [FilteringResourceEventHandler]; Object is then as it is now.
	Known bool

	// IsInInitialList is set if the first complete list showed that the object is
	// gone, or if it was deleted before what that list had of it was delivered.
	IsInInitialList bool
}

// ResourceVersionUpdater can be implemented by a [ResourceEventHandler] that saves
// the resume version, see [ResourceVersionInformer.ResumeVersion]. A handler that
// saves it with its rows only never saves that of its first list: the last row is
// written while the list, or the call for the row, is not over. Until something
// changes, each restart then begins with a list.
type ResourceVersionUpdater interface {
	// UpdateResourceVersion is called when the resume version has changed, one
	// call at a time, at most once in [InformerConfig.ResumeInterval], and always
	// with the newest one. The version is empty if there is none to resume from:
	// what was saved before must then not be used. An error is reported, and the
	// call is made again. There is none at the end of Run: what has moved since the
	// last call is what ResumeVersion then returns.
	//
	// A handler that saves the version along with its rows as well ignores the
	// argument and calls [ResourceVersionInformer.ResumeVersion] in the transaction:
	// others may have saved a newer one by the time that this one comes to it.
	UpdateResourceVersion(ctx context.Context, resourceVersion string) error
}

// ResourceEventHandlerFuncs is a [ResourceEventHandler] made of functions. One that
// is nil is taken for one that returns nil. To save the resume version, embed it in a
// type that is a [ResourceVersionUpdater].
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

func (f ResourceEventHandlerFuncs[T]) skipsSync() bool { return f.SyncFunc == nil }

// FilteringResourceEventHandler passes on to Handler only objects for which
// FilterFunc is true. An object that begins to match is OnAdd, whatever it was
// before, and one that ceases to match is OnDelete, with the object as it is now,
// also if its OnAdd failed.
//
// That it is right about this it owes to the storage, which records those objects
// only that passed; it keeps nothing itself. If the function is another one after
// a restart, that is right as well: the first list shows each object to it. (With
// [InformerConfig.SkipSync] it shows those only that are not recorded in the same
// version, and with a ResumeVersion there is no list: leave out both then.)
//
// FilterFunc must be pure. It is called by the goroutines that call Handler, and is
// never given anything but an object.
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

// UpdateResourceVersion implements [ResourceVersionUpdater]; it does nothing if
// Handler does not.
func (f FilteringResourceEventHandler[T]) UpdateResourceVersion(ctx context.Context, resourceVersion string) error {
	if updater, ok := f.Handler.(ResourceVersionUpdater); ok {
		return updater.UpdateResourceVersion(ctx, resourceVersion)
	}
	return nil
}

// leave says that obj, which was kept as old, does not match any more.
func (f FilteringResourceEventHandler[T]) leave(ctx context.Context, old store.Meta, obj informer.Object[T]) error {
	gone := Deletion[T]{Meta: old, Object: obj.Object, Known: true, IsInInitialList: obj.IsInInitialList}
	if err := f.Handler.OnDelete(ctx, gone); err != nil {
		return err
	}
	return ErrNotKept
}

// Validate reports how f was made wrongly. [NewResourceVersionInformer] calls it.
func (f FilteringResourceEventHandler[T]) Validate() error {
	if f.FilterFunc == nil {
		return errors.New("FilteringResourceEventHandler.FilterFunc is nil: give a function, or leave out the filter")
	}
	if check.IsNil(f.Handler) {
		return errors.New("FilteringResourceEventHandler.Handler is nil: give what the filtered objects go to")
	}
	return check.Validate(f.Handler)
}
