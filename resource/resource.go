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

// Resource gives access to a collection of Kubernetes objects, as a stream of
// events and as a read-only store.
//
// It is lazy: nothing is requested from the API server until the first call of
// Events, Observe or Store. From then on one informer feeds one store, however
// many follow. Every method may be called from any goroutine, from constructors
// and start hooks as well as later.
//
// Objects are shared by the store and all subscribers and must not be modified;
// use DeepCopy.
//
// # Events
//
// A subscriber gets, in this order:
//
//   - An Upsert for each object that is in the store when it subscribes, or
//     that comes in until the collection is known.
//   - One Sync. The Upserts before it are a coherent snapshot: each object of
//     the collection was emitted at least once, in the version that it had or a
//     newer one, unless an older event of its key still lacks its Done. A late
//     subscriber gets Sync right after the replay, also while the informer
//     lists anew, and also if the collection is empty.
//   - Upserts and Deletes as things change.
//
// For each key:
//
//   - At most one event is outstanding, that is, emitted and without Done.
//     Meanwhile the other keys go on. What happens to the key in that time is
//     merged: the next event shows the state that is current when it is emitted.
//   - A Delete comes only after an Upsert was emitted, and shows the object as
//     it was in the last Upsert. It comes as well when the object vanished
//     while the informer was disconnected.
//   - An object that was deleted and created again is a Delete of the old
//     object followed by an Upsert of the new one, told by the UIDs. If the
//     subscriber never saw the old one, or its Delete is being retried, it gets
//     the Upsert alone.
//
// When Done is called with an error, the subscriber's [ErrorHandler] decides. A
// key that is retried is held back as the rate limiter says, then emitted in its
// then-current state: a failed Upsert may come back as a Delete, and a failed
// Delete as an Upsert. If the object changes while it is held back, it is
// emitted at once.
//
// Subscribers do not wait for each other. One that is slow, or has stopped
// reading, costs memory in proportion to the keys that exist and those that it
// has seen, not to the number of changes.
type Resource[T runtime.Object] interface {
	// Observe calls next with each event, and complete when there will be no
	// more: with the error of ctx when that ended, with nil when the resource
	// stopped. Done must be called on each event; it may be called by next. It
	// returns at once; next and complete are called from another goroutine, one
	// call at a time. A nil next has all events marked as done, a nil complete
	// is not called. A next that does not return keeps Stop waiting, for half a
	// second. Events holds the same contract as a channel, and takes options,
	// of which Observe has the defaults; use it where there is a choice.
	stream.Observable[Event[T]]

	// Events subscribes. It never blocks.
	//
	// The channel is closed when ctx ends, when the error handler returns
	// ErrorActionStop, or when the resource stops. Events that were not
	// received by then are dropped. Each event received must be marked with
	// Done, or its key is not heard of again.
	//
	// After the cancel function of ctx has returned, a receive gets no event, also
	// if one was waiting to be received. The same holds after a Done that was
	// answered with ErrorActionStop, and after Stop. There is one exception: an
	// event that the resource begins to offer while the cancel function runs. The
	// beginning takes a fraction of a microsecond. Observe and [Batches] have no
	// exception.
	//
	// The channel has no buffer. The next event is chosen, and counts as
	// emitted, when the one before was received, so to whom takes his time it
	// shows what was current then; what is newer comes after its Done.
	//
	// Before the start of the lifecycle a subscription owns no goroutine.
	// After its stop, or if [New] was given what makes no sense, the channel is
	// closed from the beginning.
	Events(ctx context.Context, opts ...EventsOpt) <-chan Event[T]

	// Resync makes the informer list the collection once more, because of reason, which
	// can be nil. Use it where the program knows, or suspects, that the store is behind. It
	// returns at once: WaitFor of the store waits for a version. It can be called from any
	// goroutine, at any time. Of a view of [Filter] it is that of the whole resource.
	//
	//   - Calls before the list begins are one. A call during the list is for another one
	//     after it. Such lists begin [informer.Backoff].Initial apart at least.
	//   - The list gives events for what has changed, and for nothing else.
	//   - It does not begin the use of a lazy resource: before the first use, or before the
	//     start, the first list is the one that was asked for. After the stop it does nothing.
	//
	// It costs the server one list of the collection. To have one at intervals, see
	// [informer.Settings].ResyncInterval.
	Resync(reason error)

	// Store returns the store once the first complete state of the collection
	// is in it. Until then it blocks, without polling. It may be called from a
	// start hook of something that depends on the resource, or later; a call
	// from a constructor would wait for a start that waits for the constructor.
	//
	// When ctx ends first, or the resource stops, the error is a
	// [NotSyncedError] that says why there is no store. What [New] was given that
	// makes no sense is an error at once. A store that was returned can be read
	// as long as anybody likes; after the stop it no longer changes.
	Store(ctx context.Context) (Store[T], error)
}

// Store is a read-only view of the objects of a resource. Its methods do not
// block, but for WaitFor, and may be called from any goroutine.
//
// What a method returns is one state of the collection: it does not change
// while it is being read. The objects are shared and must not be modified.
type Store[T runtime.Object] interface {
	// List returns all objects, in no particular order. The slice is the
	// caller's.
	List() []T

	// All iterates over all objects, in no particular order. No lock is held
	// while the loop runs: its body may take its time, call the store, and
	// leave early.
	All() iter.Seq2[store.Key, T]

	// IterKeys iterates over all keys as All does.
	IterKeys() iter.Seq[store.Key]

	// Get returns the present version of the object that has the key of obj.
	// The error is not nil only if obj has no metadata.
	Get(obj T) (item T, exists bool, err error)

	// GetByKey returns the present version of the object with that key. The
	// error is always nil.
	GetByKey(key store.Key) (item T, exists bool, err error)

	// IndexKeys returns the keys of the objects for which the named index has
	// that value, in no particular order. The error wraps [store.ErrNoIndex]
	// if there is no such index; see [WithIndexers].
	IndexKeys(indexName, indexedValue string) ([]store.Key, error)

	// ByIndex returns these objects themselves.
	ByIndex(indexName, indexedValue string) ([]T, error)

	// WaitFor blocks until the store is at that version of the resource or a
	// newer one, so that what a write to the server returned can be read here:
	//
	//	pod, err := client.Pods("shop").Update(ctx, pod, metav1.UpdateOptions{})
	//	…
	//	err = pods.WaitFor(ctx, pod.ResourceVersion)
	//
	// It says nothing of events: subscribers may get theirs later. A version
	// that cannot be ordered fails at once, with [store.ErrNoOrder]. When ctx
	// ends the error wraps its cause, when the resource stops [ErrStopped].
	WaitFor(ctx context.Context, version string) error

	// CacheStore returns the store as client-go knows it, for code that wants
	// one: a cache.Indexer whose keys are "namespace/name". Its reads are those
	// of this store; its writes fail with [ErrReadOnly].
	CacheStore() cache.Store
}
