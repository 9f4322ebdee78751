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

// Condition reports whether a set of objects is in the state that [Engine.Wait] waits
// for. It gets the latest status of each object, ordered by ID. At first these can be
// Unknown with the reason NotObserved. It must not keep or change the slice. An error
// ends the wait.
type Condition func(statuses []ObjectStatus) (met bool, err error)

// All returns the condition that all objects have a status.
//
// A stale status (see [ObjectStatus.Stale]) does not count. An object whose kind is not
// installed counts as NotFound.
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

// is reports whether s is surely in the given status.
func (s ObjectStatus) is(status Status) bool {
	if !s.Stale.IsZero() {
		return false
	}
	return s.Status == status || status == NotFound && s.Reason == KindNotInstalled
}

// OrFailed returns a condition that is met if until is. If it is not, and an object is
// Failed, the wait ends with a [*FailedError].
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

// AtLeast returns a condition for a caller that has just written objects and waits for
// the result. The map has the resource versions that the writes returned. While an
// object is older than its version, until gets it as Unknown with the reason
// NotObserved, so its old status does not end the wait. An object without a version in
// the map, or NotFound, is passed on unchanged. Children are not checked, and can be
// older.
//
//	status.AtLeast(versions, status.OrFailed(status.All(status.Current)))
//
// A different version that cannot be compared with the object's is an error. The map
// must not be changed while the condition is in use.
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
				return false, fmt.Errorf("%s has the version %q, which cannot be compared with the version %q that AtLeast wants", s.ID, s.Object.GetResourceVersion(), least)
			}
			if order < 0 {
				*s = ObjectStatus{ID: s.ID, Status: Unknown, Reason: NotObserved}
			}
		}
		return until(shown)
	}
}

// FailedError holds the objects that are Failed.
type FailedError struct{ Failed []ObjectStatus }

// Error implements error.
func (e *FailedError) Error() string { return "failed: " + lines(e.Failed) }

// WaitError holds the statuses at the end of a wait whose condition was not met.
type WaitError struct {
	// Statuses are the latest statuses of all objects.
	Statuses []ObjectStatus

	// Err is the cause of the context's end, or [ErrStopped].
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

// lines returns the texts of the first ten statuses.
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

// Wait blocks until the objects with the given IDs meet the condition. It returns their
// latest statuses, ordered by ID, also with an error. An empty set meets [All] at once.
//
// Objects that are already watched can be older than the caller's last write. To wait
// for the result of a write, use [AtLeast].
//
// The error is that of the condition; a [*WaitError] if ctx ends or the engine stops
// before the condition is met; or that of [Engine.Watch], without statuses. An object
// that cannot be read does not end the wait, since it can become readable. Give ctx a
// deadline.
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
		case <-w.updated:
		case <-w.ctx.Done():
			statuses = w.Statuses()
			return statuses, &WaitError{Statuses: statuses, Err: w.Err()}
		}
	}
}
