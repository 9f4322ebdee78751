// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"errors"
	"fmt"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

var (
	// ErrNotStarted is wrapped by a [NotSyncedError] if the lifecycle of the resource
	// has not started.
	ErrNotStarted = errors.New("not started")

	// ErrStopped is wrapped by a [NotSyncedError] if the resource was stopped.
	ErrStopped = errors.New("stopped")

	// ErrReadOnly is returned by the writing methods of [Store.CacheStore].
	ErrReadOnly = errors.New("the store of a resource is read-only")
)

// NotSyncedError is returned by [Resource.Store] if the resource is not synced. It
// wraps Err and Ended.
type NotSyncedError struct {
	// Resource is the name of the resource.
	Resource string

	// Cause classifies Err for programs.
	Cause informer.Cause

	// Err is the reason: [ErrNotStarted], [ErrStopped] or the last failure of the
	// informer. It is nil if nothing has failed and the first list is not complete yet.
	Err error

	// Ended is the error of the context that ended the wait. It is nil if the resource
	// was stopped.
	Ended error
}

// Error implements error.
func (e *NotSyncedError) Error() string {
	why := "the first list is not complete yet"
	if e.Err != nil {
		why = e.Err.Error()
	}
	if e.Ended == nil {
		return fmt.Sprintf("resource %s is not synced: %s", e.Resource, why)
	}
	return fmt.Sprintf("resource %s is not synced: %s (%v)", e.Resource, why, e.Ended)
}

// Unwrap returns Err and Ended, for errors.Is and errors.As.
func (e *NotSyncedError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Err, e.Ended} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// ForgottenDone describes an event that was dropped without Done.
type ForgottenDone struct {
	Resource string
	Kind     EventKind
	Key      store.Key

	// Site is the file and line of the call of Events or Observe.
	Site string
}

// String names the event and the place of its subscription.
func (f ForgottenDone) String() string {
	return fmt.Sprintf("resource %s: Done was not called on the %s event of key %q by the subscriber of %s",
		f.Resource, f.Kind, f.Key.String(), f.Site)
}
