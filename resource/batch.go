// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"iter"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// BatchConfig sets when a batch is complete. A field that is not positive has its
// default.
type BatchConfig struct {
	// MaxEvents is the maximum number of events of a batch. Default: 1000.
	MaxEvents int

	// Quiet completes a batch when no event has arrived for this long. A single change
	// waits for Quiet. A busy consumer does not: the events that arrived while it worked
	// are there at once. Default: 10ms.
	Quiet time.Duration

	// MaxDelay completes a batch this long after its first event, even if events keep
	// arriving. Default: 100ms.
	MaxDelay time.Duration
}

func (c BatchConfig) withDefaults() BatchConfig {
	if c.MaxEvents <= 0 {
		c.MaxEvents = 1000
	}
	if c.Quiet <= 0 {
		c.Quiet = 10 * time.Millisecond
	}
	if c.MaxDelay <= 0 {
		c.MaxDelay = 100 * time.Millisecond
	}
	return c
}

// EventBatch holds events to be processed together. See [Batches].
type EventBatch[T runtime.Object] struct {
	// Events has at least one event, and at most one for each key, in the order of
	// their arrival. A Sync is always the last. The receiver owns the slice.
	Events []Event[T]
}

// Done calls the Done of each event, except of those that had theirs before. With an
// error, it calls the [ErrorHandler] for each of them in order, Sync included. It can be
// called from any goroutine, and blocks only as long as the Done of each event. Calls
// after the first one do nothing.
func (b EventBatch[T]) Done(err error) {
	for i := range b.Events {
		b.Events[i].Done(err)
	}
}

// Upserts iterates over the keys and objects of the Upserts, in order.
func (b EventBatch[T]) Upserts() iter.Seq2[store.Key, T] { return b.each(Upsert) }

// Deletes iterates over the keys and objects of the Deletes, in order. Each object is
// that of the last Upsert that the subscriber got.
func (b EventBatch[T]) Deletes() iter.Seq2[store.Key, T] { return b.each(Delete) }

// Synced returns true if the batch ends with the Sync. Its Upserts and those of the
// batches before it are then a coherent snapshot. Events that failed can be emitted again
// after the Sync, even those of the same batch. So a consumer that removes stale entries
// must compare them with the Upserts that it got, not with those that it has written.
func (b EventBatch[T]) Synced() bool {
	last := len(b.Events) - 1
	return last >= 0 && b.Events[last].Kind == Sync
}

func (b EventBatch[T]) each(kind EventKind) iter.Seq2[store.Key, T] {
	return func(yield func(store.Key, T) bool) {
		for i := range b.Events {
			e := &b.Events[i]
			if e.Kind == kind && !yield(e.Key, e.Object) {
				return
			}
		}
	}
}

// Batches collects the events of a subscriber, for consumers that handle many at once,
// such as a database, a BPF map or an HTTP API.
//
//	for batch := range resource.Batches(pods.Events(ctx), resource.BatchConfig{}) {
//		batch.Done(db.Write(batch.Upserts(), batch.Deletes()))
//	}
//
// A batch is complete when it has MaxEvents, when no event has arrived for Quiet, when
// MaxDelay has passed since its first event, or when it has a Sync. The loop ends when
// events is closed. After the end of the subscription (by its context, by
// [ErrorActionStop] or by a panic) there is no further batch: collected events are
// dropped, like those that were not received.
//
// Each event needs its Done. [EventBatch.Done] calls it for the events that had none before.
// An event that gets neither is reported with the place of the subscription, after the
// batch is dropped.
//
// A key has at most one event in all batches that have no Done yet. Its changes are
// merged meanwhile. So the loop can hand a batch to another goroutine and go on with the
// next one, which has other keys. The consumer limits the number of such batches.
//
// The keys of a failed batch are retried one by one, as the error handler and the rate
// limiter of the subscriber decide. Each is emitted in its current state, in a batch with
// other keys. The default rate limiter allows bursts of 100 and ten retries a second, so
// it spreads a large batch over minutes. A limiter for each key keeps the batch together.
// Set it with [WithRateLimiter]:
//
//	workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](10*time.Millisecond, time.Minute)
//
// Batches starts no goroutine. Events are collected by the goroutine of the loop, only
// while it waits for the next batch. A loop that is left with break has received all
// collected events; only the last batch still needs its Done. Another loop, over the
// same Batches or over events, gets the events after that.
func Batches[T runtime.Object](events <-chan Event[T], cfg BatchConfig) iter.Seq[EventBatch[T]] {
	cfg = cfg.withDefaults()
	return func(yield func(EventBatch[T]) bool) {
		timer := time.NewTimer(time.Hour)
		defer timer.Stop()
		for handOut(events, cfg, timer, yield) {
		}
	}
}

// handOut collects a batch and passes it to yield. It returns false after the last one.
// It is a function of its own so that nothing refers to the batch during the wait for the
// next one: the garbage collector must find a batch that was dropped.
func handOut[T runtime.Object](events <-chan Event[T], cfg BatchConfig, timer *time.Timer, yield func(EventBatch[T]) bool) bool {
	first, ok := <-events
	if !ok {
		return false
	}
	batch := fill(first, events, cfg, timer)
	if s := first.sub; s != nil && s.ended() {
		s.cancel() // before the batch is dropped: its events are not forgotten
		return false
	}
	return yield(EventBatch[T]{Events: batch})
}

// fill returns the first event and those after it until the batch is complete.
func fill[T runtime.Object](first Event[T], events <-chan Event[T], cfg BatchConfig, timer *time.Timer) []Event[T] {
	batch := []Event[T]{first}
	began := time.Now()
	last := began
	timer.Reset(min(cfg.Quiet, cfg.MaxDelay))
	for len(batch) < cfg.MaxEvents && batch[len(batch)-1].Kind != Sync {
		select {
		case event, ok := <-events:
			if !ok {
				return batch
			}
			batch = append(batch, event)
			last = time.Now()
		case <-timer.C:
			// A reset for each event would cost more than this check for events since
			// the timer was set.
			now := time.Now()
			left := min(cfg.Quiet-now.Sub(last), cfg.MaxDelay-now.Sub(began))
			if left <= 0 {
				return batch
			}
			timer.Reset(left)
		}
	}
	return batch
}
