// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// EventKind is the kind of an [Event].
type EventKind string

const (
	// Sync: the Upserts up to here form a coherent snapshot. Key and Object
	// are zero.
	Sync EventKind = "sync"

	// Upsert: the object was created or changed.
	Upsert EventKind = "upsert"

	// Delete: the object is gone. Object is its last state that the subscriber
	// was shown.
	Delete EventKind = "delete"
)

// Event is what a subscriber of a [Resource] gets.
type Event[T runtime.Object] struct {
	Kind   EventKind
	Key    store.Key
	Object T

	// Done marks the event as processed and must be called exactly once. It
	// may be called from any goroutine, and does not block but for the error
	// handler and the rate limiter, which it calls when err is not nil. Calls
	// after the first, or after the subscription ended, do nothing.
	//
	// If the event is dropped without a call, its key would never be heard of
	// again. When the garbage collector finds that, the process panics with the
	// place of the subscription; [WithForgottenDone] makes it a report.
	Done func(err error)

	sub *subscriber[T] // nil if a user made the event
}

// ErrorAction is what is to be done about an event that failed.
type ErrorAction string

const (
	// ErrorActionRetry: emit the key again after the delay that the rate
	// limiter gives.
	ErrorActionRetry ErrorAction = "retry"

	// ErrorActionIgnore: go on as if there had been no error.
	ErrorActionIgnore ErrorAction = "ignore"

	// ErrorActionStop: end this subscription. Done returns when no other event can
	// be received.
	ErrorActionStop ErrorAction = "stop"
)

// ErrorHandler decides about a failed event. It gets the key (the zero Key for
// a Sync), how many times the key has been retried since it last succeeded, and
// the error given to Done. It is called from the goroutine that called Done, and
// no further event of the key is emitted until it returns. An unknown action
// counts as ErrorActionRetry. It can use the resource, and other events.
type ErrorHandler func(key store.Key, numRetries int, err error) ErrorAction

// AlwaysRetry is an [ErrorHandler] that always retries. It is the default.
func AlwaysRetry(store.Key, int, error) ErrorAction {
	return ErrorActionRetry
}

// RetryUpTo returns an [ErrorHandler] that retries a key n times, and ends the
// subscription if it fails once more.
func RetryUpTo(n int) ErrorHandler {
	return func(_ store.Key, numRetries int, _ error) ErrorAction {
		if numRetries >= n {
			return ErrorActionStop
		}
		return ErrorActionRetry
	}
}
