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
	// ErrNotStarted is wrapped by a [NotSyncedError] if the lifecycle of the
	// resource was not started.
	ErrNotStarted = errors.New("not started")

	// ErrStopped is wrapped by a [NotSyncedError] if the resource was stopped.
	ErrStopped = errors.New("stopped")

	// ErrReadOnly is returned by the writing methods of [Store.CacheStore].
	ErrReadOnly = errors.New("the store of a resource is read-only")
)

// NotSyncedError is returned by [Resource.Store] when there is no complete state
// of the collection. It says why, and wraps what Err and Ended hold.
type NotSyncedError struct {
	// Resource is the name of the resource.
	Resource string

	// Cause is the class of Err, for programs to decide on.
	Cause informer.Cause

	// Err is what keeps the resource from being synced: [ErrNotStarted],
	// [ErrStopped], the last failure of the informer, or nil if none happened
	// and it just takes its time.
	Err error

	// Ended is the error of the context that ended the wait, nil if the
	// resource was stopped.
	Ended error
}

// Error implements error.
func (e *NotSyncedError) Error() string {
	why := "the first list has not ended"
	if e.Err != nil {
		why = e.Err.Error()
	}
	if e.Ended == nil {
		return fmt.Sprintf("resource %s is not synced: %s", e.Resource, why)
	}
	return fmt.Sprintf("resource %s is not synced: %s (%v)", e.Resource, why, e.Ended)
}

// Unwrap gives Err and Ended to errors.Is and errors.As.
func (e *NotSyncedError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Err, e.Ended} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// ForgottenDone describes an event that was dropped without a call of Done.
type ForgottenDone struct {
	Resource string
	Kind     EventKind
	Key      store.Key

	// Site is the file and line of the call of Events or Observe.
	Site string
}

// String says what was forgotten and where to look.
func (f ForgottenDone) String() string {
	return fmt.Sprintf("resource %s: Done was not called on the %s event of key %q by the subscriber of %s",
		f.Resource, f.Kind, f.Key.String(), f.Site)
}
