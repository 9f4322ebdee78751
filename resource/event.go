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
	// Sync: the Upserts before it are a coherent snapshot. Key and Object are zero.
	Sync EventKind = "sync"

	// Upsert: the object was created or changed.
	Upsert EventKind = "upsert"

	// Delete: the object was deleted. Object is that of the last Upsert that the
	// subscriber got.
	Delete EventKind = "delete"
)

// Event is what a subscriber of a [Resource] gets.
type Event[T runtime.Object] struct {
	Kind   EventKind
	Key    store.Key
	Object T

	// Old is set with [WithOld]. It is the object of the last Upsert of the key that was
	// done without error or was ignored, nil if there is none. After a Delete there is none.
	// So an event that is retried has the same Old again, and merged changes have the Old
	// of the first. Its UID differs from that of Object if a new object replaces one whose
	// Delete was not done.
	Old T

	// Done marks the event as processed. It must be called exactly once, from any
	// goroutine. With an error, it calls the error handler and the rate limiter, and
	// blocks while they run. Calls after the first one, or after the end of the
	// subscription, do nothing. After the end, an event needs no Done.
	//
	// A key whose event is dropped without Done would get no further event. When the
	// garbage collector finds such an event, the process panics with the place of the
	// subscription. [WithForgottenDone] replaces the panic with a report.
	Done func(err error)

	sub *subscriber[T] // nil if a user made the event
}

// ErrorAction is the decision of an [ErrorHandler] about a failed event.
type ErrorAction string

const (
	// ErrorActionRetry emits the key again after the delay of the rate limiter.
	ErrorActionRetry ErrorAction = "retry"

	// ErrorActionIgnore continues as if there had been no error.
	ErrorActionIgnore ErrorAction = "ignore"

	// ErrorActionStop ends this subscription. After Done has returned, no other event
	// can be received.
	ErrorActionStop ErrorAction = "stop"
)

// ErrorHandler decides what happens after a failed event. It gets the key (the zero
// Key for a Sync), the number of retries since the key last succeeded, and the error
// of Done. It runs on the goroutine that called Done. Until it returns, no further
// event of the key is emitted. It can use the resource, and other events. An unknown
// action counts as ErrorActionRetry.
type ErrorHandler func(key store.Key, numRetries int, err error) ErrorAction

// AlwaysRetry is the default [ErrorHandler]. It always retries.
func AlwaysRetry(store.Key, int, error) ErrorAction {
	return ErrorActionRetry
}

// RetryThenIgnore returns an [ErrorHandler] that retries a key n times. If the key fails
// again, it ignores the error: the subscription goes on, and the key is emitted again
// when it changes.
func RetryThenIgnore(n int) ErrorHandler { return retry(n, ErrorActionIgnore) }

// RetryUpTo returns an [ErrorHandler] that retries a key n times. If the key fails
// again, it ends the subscription, for all keys. See [RetryThenIgnore] to give up on one
// key only.
func RetryUpTo(n int) ErrorHandler { return retry(n, ErrorActionStop) }

// retry returns an ErrorHandler that retries a key n times, and then decides for then.
func retry(n int, then ErrorAction) ErrorHandler {
	return func(_ store.Key, numRetries int, _ error) ErrorAction {
		if numRetries >= n {
			return then
		}
		return ErrorActionRetry
	}
}
