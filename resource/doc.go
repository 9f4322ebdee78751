// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

/*
Package resource gives access to a collection of Kubernetes objects as a typed,
lazy [Resource]: a stream of events for each subscriber, and one store for all.

# One informer, one store, many subscribers

	API server ── informer.Reflector ── store.Store ─┬─ Store[T]        for readers
	                                                 └─ queue ─ Event[T] for each subscriber
	                                                            └─ Done(err) back

[New] makes a Resource of anything that client-go can list and watch and hangs it
on the lifecycle of a hive. Constructors ask for the Resource and subscribe; nothing
is requested before the first of them does, nor before the hive starts. package
cells provides resources in one line.

# Consuming events

A consumer is a loop:

	for event := range pods.Events(ctx) {
		switch event.Kind {
		case resource.Sync:
			// What was upserted so far is a coherent snapshot.
			event.Done(nil)
		case resource.Upsert:
			event.Done(onUpsert(event.Object))
		case resource.Delete:
			event.Done(onDelete(event.Object))
		}
	}

An event is a statement of the present, not a line of a log: there is one for a key
when the key is not as the subscriber last saw it, and it shows the key as it is when
it is emitted. So it does not matter how often a pod changed while its last event was
being worked on, and the work can fail: Done with an error has the key emitted again,
after a while, as it is then. [WithErrorHandler] and [WithRateLimiter] say how long and
how often. Done may be called later and from elsewhere, so a consumer may hand events
to as many workers as it likes: of each key there is one event at a time.

Every event needs its Done. One that is dropped without is found by the garbage
collector, and ends the process with the place of the subscription;
[WithForgottenDone] turns that into a report.

# Consuming batches

A consumer that can do many at once (a database, a map in the kernel, an HTTP API)
has [Batches] collect its events. One Done answers for the batch, and what failed
alone can have its own before:

	for batch := range resource.Batches(pods.Events(ctx), resource.BatchConfig{}) {
		batch.Done(db.Write(batch.Upserts(), batch.Deletes()))
	}

# Reading the store

[Resource.Store] waits for the first complete state. When it does not come in time
the error says why: a [NotSyncedError] has the cause as a value that programs can
switch over, and in words that name the verb and the resource. What is read is one
state of the collection; readers hold no lock while they work and never hold up the
informer, however many they are.

# Objects that cannot be decoded

An object whose newest state cannot be decoded is left out, and the others are served. The
store and the subscribers keep the state before, if there is one, until the object can be
decoded again or is gone. Reflector.LeftOut in [Stats] names such objects. With package cells,
the health is degraded as long, and the metric left_out counts them. See package informer for
the rules, and source.WithStrictDecoding for a resource that fails instead.

# Where watching is not allowed

What may be listed and not watched is polled: each list, at an interval of half a
minute, gives events for what changed since the last one, and for nothing else. It is
watched as soon as that is allowed. [Stats] tells of it, in Reflector.Polling;
PollInterval of [informer.Settings] sets the interval.

# How stale a store can be

A watch that is healthy brings changes at once. One that is held back or cut is checked,
see CheckInterval of [informer.Settings]. ResyncInterval makes a list in any case, and so
bounds how long the store can differ from the server unnoticed. Resource.Resync makes one
at once. What such a list finds, and the watch should have brought, is reported as
[informer.Missed].

# What it costs

A key costs a subscriber an element of 4 bytes in a slice, which has as many elements
as there were keys at the same time, and does not shrink; and 24 bytes more as long as it
waits to be emitted, is outstanding or held back. What has been merged, or came and went
without having been seen, costs nothing. An event is one allocation, for its Done
(BenchmarkEvent).
All subscribers share the objects, which must therefore not be modified; and objects
have in common what is equal in them (see source.WithoutSharing). In a process with
KUBE_CACHE_MUTATION_DETECTOR=true in its environment, as in client-go, a modification
ends it with the difference (see store.DetectMutations): run your tests so. It takes a
copy of each object.

All resources of a process read 16 lists at a time at most, together with its mirrors
and batchers. Lists that many resources need at once, as after a restart of the server,
begin at random moments within a second. ListBudget of [informer.Settings] sets another budget.

# Functions of the user

A function runs on the goroutine of the subscriber or the reader that it serves, or on
that of the informer. If it hangs, it delays what that goroutine serves, and nothing
else. No lock is held, with one exception: see [store.IndexFunc].

One rule holds for a panic of a function, in all packages of this module:

  - On a goroutine of this module, the panic is recovered where the function is called.
    It ends neither the process nor any other subscriber. It is an error of the call: a
    handler is called again, a request is made again, an observation is lost.
  - The error is a [store.PanicError], with the function, the key and the stack. The
    logger gets it at error level, one report a minute of each function. The attribute
    panics says how many there were. [Stats] counts all of them.
  - On a goroutine of the user, the panic reaches the caller.

The functions of a resource:

	function                           goroutine          after a panic
	filter, next of Observe            the subscriber's   the subscription ends
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
	WithForgottenDone                  the collector's    the report is lost
	logger                             that of the error  the line is lost

A filter that panics ends the subscription. To take the object for rejected would
emit a Delete for an object that is still there.

# Views and tests

[Filter] is a view with the objects that satisfy a function: leaving the view is a
Delete, entering it an Upsert. Package resourcetest has a Resource that a unit test
drives by hand.
*/
package resource
