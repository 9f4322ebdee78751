// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/apiary-go/apiary/store"
)

// Consumer identifies who did not accept a change.
type Consumer struct {
	// Subscriber is the name of a subscription of a resource, or the file and line of the
	// call that began it. It is empty for mirrors and pushes.
	Subscriber string

	// ID distinguishes subscriptions of one resource that have the same name.
	ID uint64

	// Key is the key of the object. It is the zero Key for a Sync, and for a whole batch of
	// a push.
	Key store.Key
}

// Action is what happens to a change that a consumer did not accept.
type Action string

const (
	// ActionRetry: it comes again after Next of the [ConsumerFailed].
	ActionRetry Action = "retry"

	// ActionIgnore: it counts as accepted.
	ActionIgnore Action = "ignore"

	// ActionStop: the subscription ends.
	ActionStop Action = "stop"

	// ActionDeadLetter: it was tried too often, and comes again when the object changes, or
	// in the next snapshot of the push.
	ActionDeadLetter Action = "dead letter"
)

type (
	// ConsumerFailed reports that a consumer did not accept a change: a subscriber of a
	// resource called Done with an error, or the handler of a mirror or the consumer of a
	// push returned one.
	ConsumerFailed struct {
		Consumer

		// Change is what was not accepted: "upsert", "delete" or "sync" of a subscriber, and
		// the name of the call of a handler or of a consumer of a push.
		Change string

		Action  Action
		Retries int           // how often it was retried before
		Since   time.Time     // the first failure in a row
		Next    time.Duration // until the next try, of ActionRetry
		Err     error

		// Quiet is set if the same subscription, mirror or push has failed shortly before.
		// Logs show such failures at debug level. Omitted is the number of failures that were
		// Quiet since the last one that was not.
		Quiet   bool
		Omitted int
	}

	// ConsumerRecovered reports that a change was accepted, ignored or is no longer needed,
	// after Retries retries or as a dead letter. After is the time since the first failure.
	ConsumerRecovered struct {
		Consumer
		Retries int
		After   time.Duration
	}

	// ConsumerEnded reports the end of a subscription that had changes to retry. Consumer has
	// no Key.
	ConsumerEnded struct{ Consumer }
)

func (ConsumerFailed) reflectorEvent()    {}
func (ConsumerRecovered) reflectorEvent() {}
func (ConsumerEnded) reflectorEvent()     {}

// Report passes a [ConsumerFailed], [ConsumerRecovered] or [ConsumerEnded] to the observer, on
// the goroutine of the caller. Sinks call it. It waits while the observer is called with
// something else.
func (r *Reflector[T]) Report(o ReflectorEvent) { r.observe(o) }

// logConsumerFailed logs a failure as [LogObserver] documents.
func logConsumerFailed(log *slog.Logger, o ConsumerFailed) {
	level := slog.LevelWarn
	if o.Quiet || errors.As(o.Err, new(*store.PanicError)) { // a panic has a log line of its own
		level = slog.LevelDebug
	}
	attrs := o.Consumer.attrs()
	attrs = append(attrs, "change", o.Change, "retries", o.Retries)
	message := "The consumer failed, will try again"
	switch o.Action {
	case ActionRetry:
		attrs = append(attrs, "next", o.Next.Round(time.Millisecond))
	case ActionIgnore:
		message = "The consumer failed, the event is ignored"
	case ActionStop:
		message = "The consumer failed, its subscription ends"
	case ActionDeadLetter:
		message = "The consumer refused the object too often, will try again when it changes"
	}
	attrs = append(attrs, "error", o.Err)
	if o.Omitted > 0 {
		attrs = append(attrs, "omitted", o.Omitted)
	}
	log.Log(context.Background(), level, message, attrs...)
}

// logConsumerRecovered logs a recovery as [LogObserver] documents.
func logConsumerRecovered(log *slog.Logger, o ConsumerRecovered) {
	level := slog.LevelDebug
	if o.After >= time.Minute {
		level = slog.LevelInfo
	}
	log.Log(context.Background(), level, "The consumer accepted the change",
		append(o.Consumer.attrs(), "retries", o.Retries, "after", o.After.Round(time.Millisecond))...)
}

// attrs returns the attributes of log lines.
func (c Consumer) attrs() (attrs []any) {
	if c.Subscriber != "" {
		attrs = append(attrs, "subscriber", c.Subscriber)
	}
	if c.Key.Name != "" {
		attrs = append(attrs, "key", c.Key.String())
	}
	return attrs
}
