// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"iter"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// BatchConfig says when a batch is complete. The zero value is fine; a field that is
// not positive has its default.
type BatchConfig struct {
	// MaxEvents is how many events a batch has at most. Default: 1000.
	MaxEvents int

	// Quiet is how long nothing must have come for a batch to be complete. It is
	// what a single change waits, and does not slow down a consumer that has more
	// to do: what came while it worked is there at once. Default: 10ms.
	Quiet time.Duration

	// MaxDelay is how long after its first event a batch is complete, also if
	// events keep coming. Default: 100ms.
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

// Batch is a number of events to be processed at once. See [Batches].
type Batch[T runtime.Object] struct {
	// Events has at least one event, in the order in which they came, and at most
	// one of each key. If there is a Sync it is the last. The slice is the
	// receiver's.
	Events []Event[T]
}

// Done marks all events of the batch as processed, but for those whose own Done was
// called before. With an error the [ErrorHandler] is asked about each of them, in
// their order, the Sync included. It may be called from any goroutine, and blocks
// no longer than the Done of each event does; calls after the first do nothing.
func (b Batch[T]) Done(err error) {
	for i := range b.Events {
		b.Events[i].Done(err)
	}
}

// Upserts iterates over the keys and objects of the Upserts, in their order.
func (b Batch[T]) Upserts() iter.Seq2[store.Key, T] { return b.each(Upsert) }

// Deletes iterates over the keys of the Deletes, and the objects as the subscriber
// was last shown them, in their order.
func (b Batch[T]) Deletes() iter.Seq2[store.Key, T] { return b.each(Delete) }

// Synced reports whether the batch ends with the Sync: its Upserts and those of the
// batches before are a coherent snapshot. That is about what was shown. What failed
// before, and is held back, may come again after the Sync, also if both were in one
// batch; so who removes what there is no more must go by what was shown, not by what
// was written.
func (b Batch[T]) Synced() bool {
	last := len(b.Events) - 1
	return last >= 0 && b.Events[last].Kind == Sync
}

func (b Batch[T]) each(kind EventKind) iter.Seq2[store.Key, T] {
	return func(yield func(store.Key, T) bool) {
		for i := range b.Events {
			e := &b.Events[i]
			if e.Kind == kind && !yield(e.Key, e.Object) {
				return
			}
		}
	}
}

// Batches collects the events of a subscriber, for consumers that can do many at
// once: a database, a map in the kernel, an HTTP API.
//
//	for batch := range resource.Batches(pods.Events(ctx), resource.BatchConfig{}) {
//		batch.Done(db.Write(batch.Upserts(), batch.Deletes()))
//	}
//
// A batch begins with an event and is complete when it has MaxEvents, when nothing
// has come for Quiet, MaxDelay after its first event was received, and at once with
// a Sync. The loop ends when events is closed. Once the subscription has ended, by the
// end of its context, by [ErrorActionStop] or by a panic, there is no batch any more:
// what was collected is dropped, as are events that were not received.
//
// Every batch needs its Done, or every event in it does: calling some by themselves,
// for what failed or was done alone, and that of the batch for the rest, is fine. An
// event that lacks both is found, and reported with the place of the subscription,
// when the batch is dropped.
//
// Of a key there is at most one event in all batches that lack their Done; what
// happens to it meanwhile is merged. So a batch can be handed to another goroutine
// while the loop goes on with the next one, which has other keys; how many there are
// at once is up to the consumer.
//
// A batch that failed does not come back as such. Each of its keys is retried as
// the subscriber's error handler and rate limiter say, in its then-current state and
// in a batch with whatever else there is. The default rate limiter, which allows for
// bursts of 100 and ten retries per second, spreads a large batch over minutes;
// [WithRateLimiter] with a limiter that looks at each key alone keeps it together:
//
//	workqueue.NewTypedItemExponentialFailureRateLimiter[resource.Key](10*time.Millisecond, time.Minute)
//
// Events are collected by the goroutine that runs the loop, while it waits for the
// next batch, and at no other time: there is no goroutine, and who breaks out of the
// loop has received every event that was collected, and owes the Done of the last
// batch only. The rest stays with the subscriber; another loop, over the same
// Batches or over events itself, goes on from there.
func Batches[T runtime.Object](events <-chan Event[T], cfg BatchConfig) iter.Seq[Batch[T]] {
	cfg = cfg.withDefaults()
	return func(yield func(Batch[T]) bool) {
		timer := time.NewTimer(time.Hour)
		defer timer.Stop()
		for handOut(events, cfg, timer, yield) {
		}
	}
}

// handOut collects a batch and passes it to yield, and returns false if that was the
// last one. It is a function so that nothing refers to the batch while the next one is
// waited for: if it was dropped it must be found.
func handOut[T runtime.Object](events <-chan Event[T], cfg BatchConfig, timer *time.Timer, yield func(Batch[T]) bool) bool {
	first, ok := <-events
	if !ok {
		return false
	}
	batch := fill(first, events, cfg, timer)
	if s := first.sub; s != nil && s.ended() {
		s.cancel() // before the batch is dropped, lest it be taken for forgotten
		return false
	}
	return yield(Batch[T]{Events: batch})
}

// fill returns the first event and what comes after it until the batch is complete.
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
			// To reset the timer with each event would cost more than to look here
			// whether one has come since.
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
