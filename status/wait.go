// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apiary-go/apiary/store"
)

// Condition says whether a set of objects is as [Engine.Wait] is to see it. It gets the
// latest status of each, in the order of the IDs, also while some are Unknown with the
// reason NotObserved; the slice must not be kept or changed. An error ends the wait.
type Condition func(statuses []ObjectStatus) (met bool, err error)

// All is the condition that all objects have a status.
//
// For NotFound, an object whose kind is not installed counts: it is not there. A
// status that is stale (see [ObjectStatus.Stale]) does not count.
func All(status Status) Condition {
	return func(statuses []ObjectStatus) (bool, error) {
		for _, s := range statuses {
			if !s.is(status) {
				return false, nil
			}
		}
		return true, nil
	}
}

// is reports whether s can be relied upon to be that.
func (s ObjectStatus) is(status Status) bool {
	if !s.Stale.IsZero() {
		return false
	}
	return s.Status == status || status == NotFound && s.Reason == KindNotInstalled
}

// OrFailed is a condition that ends the wait with a [*FailedError] as soon as one of
// the objects is Failed, unless until is met.
func OrFailed(until Condition) Condition {
	return func(statuses []ObjectStatus) (bool, error) {
		if met, err := until(statuses); met || err != nil {
			return met, err
		}
		var failed FailedError
		for _, s := range statuses {
			if s.is(Failed) {
				failed.Failed = append(failed.Failed, s)
			}
		}
		if failed.Failed != nil {
			return false, &failed
		}
		return false, nil
	}
}

// AtLeast is a condition for who has just written objects, and waits for what becomes
// of that. An object that is older than the resource version given for its ID is shown
// to until as Unknown with the reason NotObserved: what it was before neither meets nor
// ends the wait. An ID without a version, and an object that is NotFound, are shown as
// they are. Nothing is asked of children, which may still lag behind.
//
//	status.AtLeast(versions, status.OrFailed(status.All(status.Current)))
//
// A version that cannot be compared with that of the object, and is not the same, is an
// error. The map must not be changed while the condition is in use.
func AtLeast(versions map[ID]string, until Condition) Condition {
	return func(statuses []ObjectStatus) (bool, error) {
		shown := slices.Clone(statuses)
		for i := range shown {
			s := &shown[i]
			least := versions[s.ID]
			if least == "" || s.Object == nil || s.Object.GetResourceVersion() == least {
				continue
			}
			order, ordered := store.CompareVersions(s.Object.GetResourceVersion(), least)
			if !ordered {
				return false, fmt.Errorf("%s has the version %q: which of it and %q is newer cannot be told", s.ID, s.Object.GetResourceVersion(), least)
			}
			if order < 0 {
				*s = ObjectStatus{ID: s.ID, Status: Unknown, Reason: NotObserved}
			}
		}
		return until(shown)
	}
}

// FailedError says which objects are Failed.
type FailedError struct{ Failed []ObjectStatus }

// Error implements error.
func (e *FailedError) Error() string { return "failed: " + lines(e.Failed) }

// WaitError says how the objects were when a wait ended before its time.
type WaitError struct {
	// Statuses are the latest of all objects.
	Statuses []ObjectStatus

	// Err is the cause of the context, or [ErrStopped].
	Err error
}

// Error implements error. It names the objects that are not Current.
func (e *WaitError) Error() string {
	var not []ObjectStatus
	for _, s := range e.Statuses {
		if s.Status != Current {
			not = append(not, s)
		}
	}
	if len(not) == 0 {
		return fmt.Sprintf("waiting for %d objects: %v", len(e.Statuses), e.Err)
	}
	return fmt.Sprintf("waiting for %d objects: %v; not Current: %s", len(e.Statuses), e.Err, lines(not))
}

// Unwrap returns Err.
func (e *WaitError) Unwrap() error { return e.Err }

// lines names some objects and how they are.
func lines(statuses []ObjectStatus) string {
	const most = 10
	var b strings.Builder
	for i, s := range statuses {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(statuses)-most)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s.String())
	}
	return b.String()
}

// Wait blocks until the condition is met by the objects with the given IDs, and
// returns their statuses, in the order of the IDs. If the set is empty it asks the
// condition at once, and [All] is met.
//
// What is watched already may lag behind what the caller has just written. A wait for
// what becomes of that can be met by what was there before: use [AtLeast].
//
// The error is that of the condition; a [*WaitError] if ctx ends, or the engine stops,
// before the condition is met; or that of [Engine.Watch]. The statuses are the latest
// in any case. What cannot be read does not end a wait: it may be allowed, or
// installed, later; give ctx a deadline.
func (e *Engine) Wait(ctx context.Context, ids []ID, until Condition) ([]ObjectStatus, error) {
	w, err := e.Watch(ctx, ids...)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for {
		statuses := w.Statuses()
		if met, err := until(statuses); met || err != nil {
			return statuses, err
		}
		select {
		case <-w.told:
		case <-w.ctx.Done():
			statuses = w.Statuses()
			return statuses, &WaitError{Statuses: statuses, Err: w.Err()}
		}
	}
}
