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

// BatchConsumer is told a collection by a [Batcher]: first all of it, as one
// statement, then what changes, merged by key and in batches.
//
//		BeginSnapshot SnapshotPage* (EndSnapshot | AbortSnapshot)
//		OnBatch*
//		BeginSnapshot …
//
//	  - Calls come one at a time, in order.
//	  - No call tells of a state of an object that is older than one that a snapshot
//	    or a batch told before, and the consumer accepted. A change that was pending
//	    when a snapshot ended is not told: the snapshot has it.
//	  - Between the beginning of a snapshot and its end there is no batch, also if it
//	    is aborted: another one follows then.
//	  - An error or a panic refuses what the call told. A batch comes again, with what has changed
//	    since merged into it; a snapshot begins anew. So the consumer may be told
//	    twice what it may have taken the first time.
//	  - An object is what stands under its key. A consumer that took a call and
//	    returned an error may have another one there than the next call says: where
//	    that is deleted or replaced, it removes whatever it has under the key.
//	  - ctx ends when the Batcher is stopped, but for the last batch, for which it has
//	    a deadline.
//	  - Objects are the consumer's own.
type BatchConsumer[T any] interface {
	// BeginSnapshot says that a statement of the whole collection begins. What the
	// consumer has stays valid until EndSnapshot.
	BeginSnapshot(ctx context.Context, s Snapshot) error

	// SnapshotPage brings some of the objects. The pages of a snapshot have no object
	// twice in the same version. They have it again, with a newer one, if it changed
	// meanwhile. The consumer may apply them at once, or keep them for EndSnapshot.
	// What is deleted after it was told, which a streamed pass may show, is
	// BatchDeleted right after the snapshot.
	//
	// The next page is requested when this one was accepted. A server forgets the
	// list after some minutes, and so a consumer that takes longer for all of it
	// than that gets one snapshot after the other, each of which breaks off.
	SnapshotPage(ctx context.Context, s Snapshot, page []informer.Object[T]) error

	// EndSnapshot completes it: what was in none of the pages is gone, except what
	// [SnapshotKeeper] says.
	EndSnapshot(ctx context.Context, s Snapshot) error

	// AbortSnapshot says that the snapshot broke off because of cause, be it an
	// error of the consumer itself. Nothing may be concluded from what is missing.
	AbortSnapshot(s Snapshot, cause error)

	// OnBatch brings changes.
	OnBatch(ctx context.Context, batch Batch[T]) error
}

// SnapshotKeeper can be implemented by a [BatchConsumer] that keeps an object whose new state
// cannot be decoded. Without it, a snapshot with such an object breaks off if the consumer has
// accepted an older state of the object from this Batcher.
type SnapshotKeeper interface {
	// SnapshotKeep comes within a snapshot: the collection has this object, and what the
	// consumer has of it, if anything, is not gone with the snapshot. Meta has no name if
	// nobody knows which object it is: then nothing is gone with the snapshot.
	SnapshotKeep(ctx context.Context, s Snapshot, meta store.Meta) error
}

// Snapshot describes a statement of a whole collection.
type Snapshot struct {
	// Epoch counts the snapshots of one Batcher, from 1, those that broke off
	// included.
	Epoch uint64

	// Reason says why there is one, and Cause what made it necessary: nil for a
	// first one.
	Reason store.Reason
	Cause  error

	// First is set until one was completed.
	First bool

	// Refused are keys of objects that exist, and that the consumer did not accept in this
	// snapshot. See [BatchConsumer.EndSnapshot]. It is set in EndSnapshot only.
	Refused []store.Key

	// Version is that of the collection. It is known in EndSnapshot only.
	Version string
}

// Batch is a number of changes of a collection.
type Batch[T any] struct {
	// Changes are at most one for each key, in the order in which the keys changed
	// first.
	Changes []BatchChange[T]

	// Epoch is that of the snapshot that they follow.
	Epoch uint64

	// Version is the one up to which a consumer knows everything that has accepted
	// this batch, empty if there is none. Changes of the batch may be newer.
	Version string

	// Failures is how often OnBatch has failed in a row before this.
	Failures int
}

// BatchChange is what has become of an object since the consumer was told of it
// last.
type BatchChange[T any] struct {
	// Kind says what happened.
	Kind BatchKind

	// Object is the object as it is. If it was deleted: the last state of it as far
	// as that is known, and else zero but for the Meta.
	informer.Object[T]

	// Known is false if it was deleted and Object.Object is not known.
	Known bool

	// Old is the state that the consumer has, zero if it has none.
	Old store.Meta
}

// BatchKind says what kind of a [BatchChange] there is.
type BatchKind uint8

const (
	// BatchAdded: the consumer does not have the object.
	BatchAdded BatchKind = iota + 1

	// BatchModified: it has an older state of it.
	BatchModified

	// BatchReplaced: it has another object of the same key, which was deleted. One
	// that does not know of that deletes Old first, and adds Object then.
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

// BatchEventConsumer is told batches; it is [BatchConsumer.OnBatch].
type BatchEventConsumer[T any] func(ctx context.Context, batch Batch[T]) error

// UndeliveredError tells of changes that were not accepted when what delivers them
// was stopped.
type UndeliveredError struct {
	// Name is that of the Batcher or EventMerger.
	Name string

	// Changes is how many there are.
	Changes int

	// Err is why: an [*informer.HandlerError] with what the consumer returned last, or
	// nil if it was not asked.
	Err error
}

// Error implements error.
func (e *UndeliveredError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %d changes were not delivered before the end", e.Name, e.Changes)
	}
	return fmt.Sprintf("%s: %d changes were not delivered before the end: %v", e.Name, e.Changes, e.Err)
}

// Unwrap returns why they were not.
func (e *UndeliveredError) Unwrap() error { return e.Err }

// MergerConfig says when changes are delivered, and what becomes of those that are
// refused. The zero value is useful.
type MergerConfig[T any] struct {
	// Quiet is how long nothing must have changed for what is pending to be
	// delivered, MaxDelay how long the oldest change waits at most. Defaults
	// 200 ms and 3 s; negative: no wait.
	Quiet    time.Duration
	MaxDelay time.Duration

	// MaxItems and MaxBytes bound a batch, but for one object of any size. So much
	// is delivered at once, without waiting. Defaults 1000 and 4 MiB.
	MaxItems int
	MaxBytes int64

	// MaxPending and MaxPendingBytes bound what is pending, over all keys, but for
	// changes of keys that are pending. Defaults 10,000 and 64 MiB.
	MaxPending      int
	MaxPendingBytes int64

	// SizeOf estimates the size of an object in memory, in bytes; see
	// [mirror.InformerConfig.SizeOf].
	SizeOf func(T) int

	// Backoff is the time between two attempts to deliver. Default: from 500 ms to
	// 30 s. Reset and Denied are not used.
	Backoff informer.Backoff

	// MaxFailures is how often delivery may fail in a row, and MaxFailing for how
	// long, before what is pending is given up: a [Batcher] then begins a new
	// snapshot. An error that is [store.ErrResync] has that effect at once. Defaults 5 and
	// 1 min.
	MaxFailures int
	MaxFailing  time.Duration

	// MaxTries is how often one object can be refused in a row before it is a dead
	// letter: see [RefusedError] and [DeadLetterError]. Default: 20, about seven minutes
	// with the default Backoff. Negative: no bound.
	MaxTries int

	// StopTimeout is how long the last delivery may take, when Run ends. Default
	// 5 s; negative: there is none.
	StopTimeout time.Duration

	// ErrorHandler is told of each failure, as a [*informer.HandlerError] or an
	// [*UndeliveredError]. Default: warnings in slog.Default().
	ErrorHandler func(error)

	// Log gets panics, those of the reading side included, of each function one a
	// minute: see [informer.Config.Log]. Default: slog.Default().
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
			slog.Default().Warn("The consumer refused an object too often, will try again when it changes", "resource", name, "key", dead.Meta.Key, "tries", dead.Tries, "error", dead.Err)
			return
		}
		informer.DefaultWatchErrorHandler(informer.ReflectorInfo{Name: name}, err)
	}
}
