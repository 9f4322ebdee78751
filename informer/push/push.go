// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/store"
)

// BatchConsumer receives a collection from a [Batcher]: first a snapshot of all of it, then
// batches of changes, merged by key.
//
//		BeginSnapshot (SnapshotPage | SnapshotKeep)* (EndSnapshot | AbortSnapshot)
//		OnBatch*
//		BeginSnapshot …
//
//	  - Calls come one at a time, in order.
//	  - No call has an older state of an object than the consumer accepted before. A change
//	    that is pending when a snapshot ends is dropped: the snapshot has it.
//	  - No batch comes within a snapshot. After an aborted one, another snapshot comes first.
//	  - An error or a panic refuses the whole call, a [RefusedError] only the objects that it
//	    names. A refused batch comes again, merged with newer changes. A snapshot of which a
//	    call is refused is aborted, and another one begins. So the consumer can get a change
//	    twice.
//	  - What a call that failed has applied is not known here. If a later call deletes or
//	    replaces the object of a key, the consumer must remove whatever it has under that key.
//	  - ctx ends when the Batcher stops. For the last batch it has a deadline instead.
//	  - The consumer owns the objects and can modify them. After an error they come again.
//
// Errors that repeat do not stop other objects. If OnBatch fails for MaxFailures or
// MaxFailing, the batch is delivered in parts, and if SnapshotPage fails, the page is: at
// most 2n-2 calls for n objects, or 2*log2(n)+4 if none of them is accepted. Objects that
// fail by themselves then count as refused by name, and each is delivered in a batch of its
// own. If the consumer accepts no part, it counts as out of order: no object is refused, and
// a new snapshot begins. A snapshot with a page in parts is aborted in any case. The next one
// leaves the refused objects out of its pages.
type BatchConsumer[T any] interface {
	// BeginSnapshot begins a snapshot. What the consumer has stays valid until EndSnapshot.
	BeginSnapshot(ctx context.Context, s SnapshotInfo) error

	// SnapshotPage has some of the objects. The consumer can apply them at once, or keep them
	// for EndSnapshot. An object that changes meanwhile can come again in a newer version. One
	// that is deleted meanwhile is a BatchDeleted right after the snapshot. After an error,
	// parts of the page can come before AbortSnapshot.
	//
	// The next page is requested when this one is accepted. A server forgets a list after some
	// minutes. If the consumer takes longer for all pages, snapshot after snapshot is aborted.
	//
	// If more objects are refused by name than MaxPending or MaxPendingBytes allows, the
	// snapshot is aborted.
	SnapshotPage(ctx context.Context, s SnapshotInfo, page []informer.Object[T]) error

	// EndSnapshot completes the snapshot. Objects that were in no page are gone, except those of
	// s.Refused and of [SnapshotKeeper]. Of a refused object the consumer must keep what it has:
	// the object exists, and comes again in a batch, as BatchAdded if the consumer may have an
	// older state.
	//
	// An object of a page that EndSnapshot refuses by name is a dead letter at once, because its
	// state is not kept: see [DeadLetterError].
	EndSnapshot(ctx context.Context, s SnapshotInfo) error

	// AbortSnapshot ends a snapshot that is not complete, because of cause, which can be an
	// error of the consumer. Objects that were in no page are not gone.
	AbortSnapshot(s SnapshotInfo, cause error)

	// OnBatch has changes.
	OnBatch(ctx context.Context, batch Batch[T]) error
}

// SnapshotKeeper can be implemented by a [BatchConsumer] that keeps an object whose new state
// cannot be decoded. Without it, a snapshot with such an object is aborted if the consumer
// accepted or refused an older state of the object from this Batcher.
type SnapshotKeeper interface {
	// SnapshotKeep comes within a snapshot. The object exists, and the consumer must keep what
	// it has of it at EndSnapshot. If meta has no name, it is not known which object it is: the
	// consumer must then keep everything.
	SnapshotKeep(ctx context.Context, s SnapshotInfo, meta store.Meta) error
}

// SnapshotInfo describes a snapshot of a whole collection.
type SnapshotInfo struct {
	// Epoch counts the snapshots of one Batcher from 1, aborted ones included.
	Epoch uint64

	// Reason says why there is a snapshot. Cause is what made it necessary, nil for a first one.
	Reason store.Reason
	Cause  error

	// First is set until a snapshot is complete.
	First bool

	// Refused has the keys of objects that exist and that the accepted pages lack, because
	// the consumer refused them, now or in an earlier snapshot. The consumer must keep what it
	// has of them. It is set in EndSnapshot.
	Refused []store.Key

	// Version is the version of the collection. It is set in EndSnapshot.
	Version string
}

// Batch has changes of a collection.
type Batch[T any] struct {
	// Changes has at most one change for each key, in the order in which the keys changed first.
	// Refused keys keep their place.
	Changes []BatchChange[T]

	// Epoch is that of the last complete snapshot.
	Epoch uint64

	// Version is a version of the collection. A consumer that accepts this batch has all changes
	// up to it, dead letters excepted. A refused key that is tried again holds it back. It is empty
	// if there is no such version. Changes of the batch can be newer.
	Version string

	// Failures is how often OnBatch has failed in a row before this call.
	Failures int
}

// BatchChange is the change of an object since the state that the consumer has.
type BatchChange[T any] struct {
	// Kind says what happened.
	Kind BatchKind

	// Object is the current state. Of a deleted object it is the last state if Known, and
	// otherwise only the Meta.
	informer.Object[T]

	// Known is false if the object is deleted and its last state is not known.
	Known bool

	// Old is the state that the consumer has. It is zero if the consumer has none.
	Old store.Meta
}

// BatchKind is the kind of a [BatchChange].
type BatchKind uint8

const (
	// BatchAdded: the consumer does not have the object, or refused it and may have it.
	BatchAdded BatchKind = iota + 1

	// BatchModified: the consumer has an older state.
	BatchModified

	// BatchReplaced: the consumer has another object of the same key, which was deleted. It must
	// delete Old and then add Object.
	BatchReplaced

	// BatchDeleted: the object is gone.
	BatchDeleted
)

// String returns the kind in lower case.
func (k BatchKind) String() string {
	switch k {
	case BatchAdded:
		return "added"
	case BatchModified:
		return "modified"
	case BatchReplaced:
		return "replaced"
	case BatchDeleted:
		return "deleted"
	}
	return fmt.Sprintf("BatchKind(%d)", uint8(k))
}

// BatchEventConsumer receives batches: see [BatchConsumer.OnBatch].
type BatchEventConsumer[T any] func(ctx context.Context, batch Batch[T]) error

// UndeliveredError reports changes that were not accepted when a Batcher or EventMerger
// stopped. Dead letters are not among them.
type UndeliveredError struct {
	// Name is the name of the Batcher or EventMerger.
	Name string

	// Changes is the number of changes.
	Changes int

	// Err is an [*informer.HandlerError] with the last error of the consumer, or nil if the
	// consumer was not called.
	Err error
}

// Error implements error.
func (e *UndeliveredError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %d changes were not delivered before the end", e.Name, e.Changes)
	}
	return fmt.Sprintf("%s: %d changes were not delivered before the end: %v", e.Name, e.Changes, e.Err)
}

// Unwrap returns Err.
func (e *UndeliveredError) Unwrap() error { return e.Err }

// MergerConfig configures when changes are delivered, and how refused ones are retried. The
// zero value has a default for everything.
type MergerConfig[T any] struct {
	// Pending changes are delivered when nothing has changed for Quiet, and after MaxDelay at
	// the latest. Defaults: 200ms and 3s. Negative: no wait.
	Quiet    time.Duration
	MaxDelay time.Duration

	// MaxItems and MaxBytes bound a batch. A single object can be larger. When so much is
	// pending, a batch is delivered at once. Defaults: 1000 and 4 MiB.
	MaxItems int
	MaxBytes int64

	// MaxPending and MaxPendingBytes bound the pending changes of all keys, refused ones
	// included. A change of a pending key can exceed them. At the bound, reading pauses. When
	// MaxPending keys are refused, it pauses until one is accepted or a dead letter. Defaults:
	// 10,000 and 64 MiB.
	MaxPending      int
	MaxPendingBytes int64

	// SizeOf estimates the size of an object in memory, in bytes; see
	// [mirror.InformerConfig.SizeOf].
	SizeOf func(T) int

	// Backoff is the delay before a refused batch, or a refused object, is delivered again. A
	// newer change of the object does not shorten it. Default: from 500ms to 30s. Reset and
	// Denied are not used.
	Backoff informer.Backoff

	// After MaxFailures refused batches in a row, or MaxFailing since the first of them, the
	// batch is delivered in parts: see [BatchConsumer]. If no part is accepted, a [Batcher]
	// drops the pending changes and begins a new snapshot. An EventMerger then tries what
	// comes next: if that is accepted, the whole batch counts as refused by name, else it
	// tries again. A [store.ErrResync] has a Batcher begin a snapshot at once. Defaults: 5
	// and 1m.
	MaxFailures int
	MaxFailing  time.Duration

	// MaxTries is how often an object can be refused in a row, by name or by itself, before
	// it is a dead letter: see [DeadLetterError]. Default: 20, about seven minutes with the
	// default Backoff. Negative: no bound.
	MaxTries int

	// StopTimeout bounds the last delivery when Run ends. Default: 5s. Negative: there is
	// none.
	StopTimeout time.Duration

	// ErrorHandler is called for each refusal with an [*informer.HandlerError], which has a
	// key if one object was refused, and with each [*DeadLetterError] and
	// [*UndeliveredError]. Deliveries wait for it. Default: warnings in slog.Default().
	ErrorHandler func(error)

	// Log gets panics, at most one a minute for each function, those of the reading side
	// included: see [informer.Config.Log]. Default: slog.Default().
	Log *slog.Logger
}

// Defaults of MergerConfig.
const (
	defaultQuiet           = 200 * time.Millisecond
	defaultMaxDelay        = 3 * time.Second
	defaultMaxItems        = 1000
	defaultMaxBytes        = 4 << 20
	defaultBatchesPending  = 10_000
	defaultBatchesBytes    = 64 << 20
	defaultMaxFailures     = 5
	defaultMaxFailing      = time.Minute
	defaultMaxTries        = 20
	defaultStopTimeout     = 5 * time.Second
	defaultDeliveryInitial = 500 * time.Millisecond
)

func (c *MergerConfig[T]) complete() error {
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"MaxItems", int64(c.MaxItems)},
		{"MaxBytes", c.MaxBytes},
		{"MaxPending", int64(c.MaxPending)},
		{"MaxPendingBytes", c.MaxPendingBytes},
		{"MaxFailures", int64(c.MaxFailures)},
		{"MaxFailing", int64(c.MaxFailing)},
	} {
		if n.value < 0 {
			return fmt.Errorf("MergerConfig.%s is negative: give a positive value, or 0 for the default", n.name)
		}
	}
	orDefault(&c.Quiet, defaultQuiet)
	orDefault(&c.MaxDelay, defaultMaxDelay)
	orDefault(&c.MaxItems, defaultMaxItems)
	orDefault(&c.MaxBytes, defaultMaxBytes)
	orDefault(&c.MaxPending, defaultBatchesPending)
	orDefault(&c.MaxPendingBytes, defaultBatchesBytes)
	orDefault(&c.MaxFailures, defaultMaxFailures)
	orDefault(&c.MaxFailing, defaultMaxFailing)
	orDefault(&c.MaxTries, defaultMaxTries)
	orDefault(&c.StopTimeout, defaultStopTimeout)
	orDefault(&c.Backoff.Initial, defaultDeliveryInitial)
	if c.SizeOf == nil {
		c.SizeOf = pending.SizeOf[T]
	}
	if err := c.Backoff.Complete(); err != nil {
		return fmt.Errorf("MergerConfig.%w", err)
	}
	return nil
}

func orDefault[N int | int64 | time.Duration](value *N, def N) {
	if *value == 0 {
		*value = def
	}
}

// wantsSnapshot reports whether a consumer that returned err asks for a snapshot.
func wantsSnapshot(err error) bool { return errors.Is(err, store.ErrResync) }

// logFailures is the default ErrorHandler of a merger.
func logFailures(name string) func(error) {
	return func(err error) {
		if undelivered := (*UndeliveredError)(nil); errors.As(err, &undelivered) {
			slog.Default().Warn("Changes were not delivered", "resource", name, "changes", undelivered.Changes, "error", err)
			return
		}
		if dead := (*DeadLetterError)(nil); errors.As(err, &dead) {
			slog.Default().Warn("The consumer refused an object too often, will try again when it changes", "resource", name, "key", dead.Meta.Key, "retries", dead.Tries-1, "error", dead.Err)
			return
		}
		informer.DefaultWatchErrorHandler(informer.ReflectorInfo{Name: name}, err)
	}
}
