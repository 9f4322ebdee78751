// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package ciliumcompat

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// The types of packages resource and store under Cilium's names.
type (
	// Key is the name and the namespace of an object.
	Key = store.Key

	// WorkItem is what a rate limiter gets: the key, or the zero Key for a Sync.
	WorkItem = store.Key

	// Event is what a subscriber gets.
	Event[T runtime.Object] = resource.Event[T]

	// EventKind is the kind of an event.
	EventKind = resource.EventKind

	// EventsOpt configures a subscription.
	EventsOpt = resource.EventsOpt

	// ErrorAction is what is done about a failed event.
	ErrorAction = resource.ErrorAction

	// ErrorHandler decides about a failed event.
	ErrorHandler = resource.ErrorHandler
)

// Kinds of events.
const (
	Sync   = resource.Sync
	Upsert = resource.Upsert
	Delete = resource.Delete
)

// What an ErrorHandler can return.
const (
	ErrorActionRetry  = resource.ErrorActionRetry
	ErrorActionIgnore = resource.ErrorActionIgnore
	ErrorActionStop   = resource.ErrorActionStop
)

// NewKey returns the key of an object, or of a cache.DeletedFinalStateUnknown. It returns the
// zero Key for anything else.
func NewKey(obj any) Key {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		namespace, name, _ := cache.SplitMetaNamespaceKey(gone.Key)
		return Key{Name: name, Namespace: namespace}
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return Key{}
	}
	return store.MetaOf(accessor).Key
}

// WithRateLimiter sets the delays of retries: see [resource.WithRateLimiter].
func WithRateLimiter(limiter workqueue.TypedRateLimiter[WorkItem]) EventsOpt {
	return resource.WithRateLimiter(limiter)
}

// WithErrorHandler sets what is done about failed events. Default: AlwaysRetry.
func WithErrorHandler(handler ErrorHandler) EventsOpt { return resource.WithErrorHandler(handler) }

// AlwaysRetry is an [ErrorHandler] that always retries.
func AlwaysRetry(key Key, numRetries int, err error) ErrorAction {
	return resource.AlwaysRetry(key, numRetries, err)
}

// RetryUpTo returns an [ErrorHandler] that retries a key n times, and ends the subscription
// if it fails once more.
func RetryUpTo(n int) ErrorHandler { return resource.RetryUpTo(n) }
