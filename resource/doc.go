// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

/*
Package resource provides Kubernetes objects to the controllers and agents of a hive
application. A [Resource] is a typed collection of objects, such as all pods. It replaces a
shared informer, a workqueue for each consumer, and the code between them.

	pods := resource.New[*corev1.Pod](lifecycle, listerWatcher)

	for event := range pods.Events(ctx) {
		switch event.Kind {
		case resource.Sync: // the Upserts before it are a coherent snapshot
			event.Done(nil)
		case resource.Upsert:
			event.Done(onUpsert(event.Object))
		case resource.Delete:
			event.Done(onDelete(event.Object))
		}
	}

# One informer, one store, many subscribers

	API server ── informer.Reflector ── store.Store ─┬─ Store[T]        for readers
	                                                 └─ queue ─ Event[T] for each subscriber
	                                                            └─ Done(err) back

[New] makes a Resource of a client-go ListerWatcher and appends its hook to the lifecycle
of a hive. Package cells does this in one line. Constructors take the Resource and
subscribe. A Resource sends no request before its first use, nor before the hive starts.
[WithStopUnused] stops it when it is not in use.

# Consuming events

Events are level-triggered: an event shows the current state of a key, not one change. A
subscriber gets an event for a key if the key differs from the last event that the
subscriber saw. The event shows the key at the time when it is emitted. Changes while an
event is being processed are merged into the next one.

Done with an error emits the key again after a delay, in the state that it has then.
[WithRateLimiter] sets the delays, and [WithErrorHandler] decides whether to retry. Done
can be called later and from any goroutine, so a consumer can hand events to any number
of workers. Each key has one event at a time.

Every event needs its Done. The garbage collector finds an event that is dropped without
it. The process then panics with the place of the subscription; [WithForgottenDone]
replaces the panic with a report.

# Consuming batches

[Batches] collects events for a consumer that handles many at once, such as a database, a
BPF map or an HTTP API. One Done completes the batch. A single event can have its own
Done before that:

	for batch := range resource.Batches(pods.Events(ctx), resource.BatchConfig{}) {
		batch.Done(db.Write(batch.Upserts(), batch.Deletes()))
	}

# Reading the store

[Resource.Store] waits until the store is synced. If the context ends first, it returns a
[NotSyncedError]. Its Cause is for programs, and its text names the verb and the resource.
Each read returns one state of the collection. Readers hold no lock while they work, and
any number of them does not delay the informer.

# Objects that cannot be decoded

An object whose newest state cannot be decoded is left out, and the others are served. The
store and the subscribers keep its previous state, if there is one, until the object can be
decoded again or is deleted. Reflector.LeftOut in [Stats] names such objects. With package
cells, health is degraded for that time, and the metric left_out counts them. Package
informer has the rules. To fail instead, use source.WithStrictDecoding.

# Without permission to watch

A collection that can be listed but not watched is polled: it is listed every 30s. A list
gives events only for changes since the previous one. The watch begins as soon as it is
allowed. Reflector.Polling in [Stats] is set meanwhile. PollInterval of
[informer.Settings] sets the interval.

# How stale a store can be

A healthy watch delivers changes at once. A watch that is delayed or cut is checked, see
CheckInterval of [informer.Settings]. ResyncInterval lists in any case, and so bounds how
long the store can differ from the server unnoticed. [Resource.Resync] lists at once.
Observers get an [informer.Missed] if such a list finds a change that the watch missed.

# What it costs

A subscriber without work has no goroutine: it ends after a second or two, and the next
change starts another one. What is left is about 1.2 KB for a view of 20 keys of 20,000 and
2 KB for a subscriber of 1,000 keys (TestMemoryOfSubscribers): a bit for each key that
exists, or 8 to 16 bytes for each key that was emitted, whichever is less. A key that waits
to be emitted, is outstanding or is held back uses about 60 bytes more, and entries of two
maps and a heap while it is being retried. If the
object changes or is deleted, the version that the subscriber was shown last stays in
memory until the next event of the key. Merged changes cost nothing, nor do objects that
come and go unseen. An event is one allocation, for its Done (BenchmarkEvent).

All subscribers share the objects, and objects share their equal parts (see
source.WithoutSharing). So objects must not be modified. With
KUBE_CACHE_MUTATION_DETECTOR=true in the environment, as in client-go, a modification ends
the process with the difference (see store.DetectMutations). Run your tests with it. It
copies each object.

All resources, mirrors and batchers of a process together read 16 lists at a time. Lists
that many resources need at once, as after a restart of the server, begin at random
moments within a second. ListBudget of [informer.Settings] sets another budget.

# Functions of the user

A function runs on the goroutine of the subscriber or the reader that it serves, or on
that of the informer. If it hangs, it delays only that goroutine. It is called without a
lock, with one exception: see [store.IndexFunc].

One rule holds for a panic of a function, in all packages of this module:

  - On a goroutine of this module, the panic is recovered where the function is called.
    It ends neither the process nor any other subscriber. It is an error of the call: a
    handler is called again, a request is made again, an observation is lost.
  - The error is a [store.PanicError], with the function, the key and the stack. It is
    logged at error level, at most once a minute for each function. The attribute panics
    is the number so far. [Stats] counts all of them.
  - On a goroutine of the user, the panic reaches the caller.

The functions of a resource:

	function                           goroutine          after a panic
	filter, function of Distinct,      the subscriber's   the subscription ends
	next of Observe
	complete of Observe                the subscriber's   the subscription has ended
	metrics of a provider              the subscriber's   the metrics lack the change
	error handler, rate limiter        the caller's       the subscription ends, Done panics
	                                   of Done
	context of a subscription          the caller's       Events or Observe panics
	                                   of Events
	filter of a Store                  the reader's       the reader panics
	transform                          the informer's     the object is left out
	ListerWatcher, Source              the informer's     the list or the watch fails, and is retried
	index function                     the informer's     the object is missing from the index
	observer                           the informer's     the occurrence is lost
	WithOnChange                       the informer's     the change is lost to the function
	WithForgottenDone                  the collector's    the report is lost
	logger                             that of the error  the line is lost

A filter that panics ends the subscription. If the object were rejected instead, the
subscriber would get a Delete for an object that still exists.

# Views and tests

[Filter] is a view of the objects that satisfy a function. An object that enters the view
is an Upsert, and one that leaves it a Delete. Package resourcetest has a Resource for
unit tests, which the test drives by hand.
*/
package resource
