// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"iter"

	"github.com/cilium/stream"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// Resource provides an eventually consistent copy of a collection of Kubernetes
// objects, as a stream of events for each subscriber and as one read-only store.
//
// A Resource is lazy. It sends no request to the API server before the first call
// of Events, Observe or Store, nor before its lifecycle starts. From then on, one
// informer fills one store for any number of subscribers. All methods can be called
// from any goroutine. All except Store can be called from constructors. With
// [WithStopUnused], the informer stops when the resource is not in use, and the next use
// starts it again.
//
// The store and all subscribers share the objects. Objects must not be modified; use
// DeepCopy. They can be kept after Done: a kept object does not change.
//
// # Events
//
// Each subscriber gets, in this order:
//
//   - An Upsert for each object that is in the store when it subscribes. Before the
//     first complete list, also an Upsert for each object that arrives until then.
//   - One Sync. The Upserts before it are a coherent snapshot: each object of the
//     collection was emitted at least once, in the version that it had or in a newer
//     one. The only exception is a key with an older event that has no Done yet. A
//     later subscriber gets Sync right after the replay of the store, even while the
//     informer relists. An empty collection has a Sync, too.
//   - Upserts and Deletes, as objects change.
//
// A change during the replay can come before the rest of the replay; see [WithOrder].
//
// For each key:
//
//   - At most one event is outstanding, that is, emitted and without Done. It does
//     not delay other keys. Changes of the key in the meantime are merged: the next
//     event shows the state that is current when it is emitted.
//   - A Delete is emitted only after an Upsert, and shows the object of the last
//     emitted Upsert. It is also emitted if the object was deleted while the informer
//     was disconnected.
//   - An object that was deleted and created again, with another UID, gives a Delete
//     of the old object and then an Upsert of the new one. If the old object was never
//     emitted, or its Delete is being retried, the subscriber gets only the Upsert.
//
// When Done is called with an error, the [ErrorHandler] of the subscriber decides. A
// key that is retried is held back for the delay of the rate limiter. It is then
// emitted in its current state: a failed Upsert can be followed by a Delete, and a
// failed Delete by an Upsert. If the object changes earlier, it is emitted at once.
//
// Subscribers do not wait for each other. A subscriber that is slow, or has stopped
// reading, costs memory in proportion to the keys that exist and that it has seen,
// not to the number of changes.
type Resource[T runtime.Object] interface {
	// Observe is like Events, with callbacks instead of a channel and without
	// options. It returns at once. Prefer Events where there is a choice.
	//
	// Observe calls next with each event. Each event needs its Done, which next can
	// call. After the last event it calls complete: with the error of ctx if ctx has
	// ended, with a [store.PanicError] if next or a filter panicked, and with nil if
	// the resource was stopped. It makes one call at a time, from another goroutine.
	// If next is nil, all events are marked as done. A nil complete is not called.
	// Stop waits half a second for a call that does not return, and then fails.
	stream.Observable[Event[T]]

	// Events subscribes. It never blocks.
	//
	// The channel is closed when ctx ends, when the error handler returns
	// ErrorActionStop, when a function of the subscription panics, or when the
	// resource is stopped. Events that were not received by then are dropped. Done
	// must be called for each received event; without it, no further event of the key
	// is delivered.
	//
	// No event is received after the cancel function of ctx has returned, even if
	// one was being offered. The same holds after Stop, and after a Done that led to
	// ErrorActionStop. There is one exception: an event that the resource begins to
	// offer while the cancel function runs. This window is a fraction of a
	// microsecond. Observe and [Batches] have no exception.
	//
	// The channel is unbuffered. The next event is built, and counts as emitted, when
	// the previous one is received. Later changes of its key are delivered after its
	// Done.
	//
	// Before the start of the lifecycle, a subscription has no goroutine. After its
	// stop, or if an argument of [New] was invalid, the returned channel is closed.
	Events(ctx context.Context, opts ...EventsOpt) <-chan Event[T]

	// Resync makes the informer list the collection once more. Call it if the program
	// knows or suspects that the store is stale. The reason can be nil. Resync can be
	// called at any time and returns at once; Store.WaitFor waits for a version. For a
	// view of [Filter] it lists the whole resource.
	//
	//   - Calls before the list begins are merged. A call during the list requests
	//     another list after it. Such lists begin at least [informer.Backoff].Initial
	//     apart.
	//   - The list gives events only for changes.
	//   - Resync does not start a lazy resource, nor one that was not in use and has
	//     stopped. Before the first use or the start, it is covered by the first list.
	//     After the stop it does nothing.
	//
	// It costs the server one list of the collection. For lists at intervals, see
	// [informer.Settings].ResyncInterval.
	Resync(reason error)

	// Store returns the store. It blocks until the first list is complete, ctx ends or
	// the resource is stopped. It can be called from a start hook of a cell that
	// depends on the resource, and later. It must not be called from a constructor,
	// since the resource starts after all constructors have returned.
	//
	// A call that waits for ten seconds is logged, and one that waits before the start of
	// the lifecycle after a second: a constructor that waits prevents the start.
	//
	// If ctx ends first, or the resource is stopped, Store returns a [NotSyncedError]
	// with the reason. If an argument of [New] was invalid, it returns an error at
	// once. A returned store can be read without limit; after the stop it no longer
	// changes.
	Store(ctx context.Context) (Store[T], error)
}

// Store is a read-only view of the objects of a resource. Its methods can be called
// from any goroutine. Only WaitFor blocks.
//
// Each method returns one state of the collection, which does not change while the
// caller reads it. The objects are shared and must not be modified.
type Store[T runtime.Object] interface {
	// List returns all objects, in no particular order. The caller owns the slice.
	List() []T

	// All iterates over all objects, in no particular order. No lock is held during
	// the loop. Its body can block, call the store, and leave early.
	All() iter.Seq2[store.Key, T]

	// IterKeys iterates over all keys, like All.
	IterKeys() iter.Seq[store.Key]

	// Get returns the current version of the object with the key of obj. It returns an
	// error only if obj has no metadata.
	Get(obj T) (item T, exists bool, err error)

	// GetByKey returns the current version of the object with this key. The error is
	// always nil.
	GetByKey(key store.Key) (item T, exists bool, err error)

	// IndexKeys returns the keys of the objects that have this value in the named
	// index, in no particular order. If there is no such index, the error wraps
	// [store.ErrNoIndex]; see [WithIndexers].
	IndexKeys(indexName, indexedValue string) ([]store.Key, error)

	// ByIndex is like IndexKeys and returns the objects.
	ByIndex(indexName, indexedValue string) ([]T, error)

	// WaitFor blocks until the store is at this resource version or a newer one. Use it
	// to read your own writes:
	//
	//	pod, err := client.Pods("shop").Update(ctx, pod, metav1.UpdateOptions{})
	//	…
	//	err = pods.WaitFor(ctx, pod.ResourceVersion)
	//
	// Subscribers can get the events later. The version must be of this resource and
	// server. If the selectors exclude the object, the store gets there with the next
	// change or bookmark, which a server sends about every minute. So does each namespace
	// of [NewInNamespaces] in which nothing changes. A resource that polls gets there with
	// its next poll.
	//
	// If the version cannot be ordered, WaitFor returns [store.ErrNoOrder] at once. If ctx
	// ends, the error wraps its cause. If the resource is stopped, it wraps [ErrStopped].
	WaitFor(ctx context.Context, version string) error

	// CacheStore returns the store as a cache.Indexer of client-go, with keys of the
	// form "namespace/name". It reads from this store. Its writing methods return
	// [ErrReadOnly].
	CacheStore() cache.Store
}
