// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

// Condition reports whether a set of objects is in the state that [Engine.Wait] waits
// for. It gets the status of each object, ordered by ID. At first all are Unknown with
// the reason NotObserved. It must not keep or change the slice. An error ends the wait.
//
// A wait shows each state of each object to the condition, in order: see
// [Watch.Events]. States of different objects are combined as they come. The object of
// a status has the UID, by which a condition can distinguish an object from a later one
// of the same name: see [Deleted].
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

// Deleted returns the condition that all objects are deleted that were there when the
// wait began: each of them has been NotFound, or has another UID. So an object that is
// created again under the name does not count. An object that was not there when the
// wait began counts as deleted.
//
// The map has the UIDs of the objects to wait for, such as those that were just deleted.
// If an object has no entry, the first one that the wait sees is meant. The map is
// copied and can be nil. Objects that are already watched can be older than an entry:
// use [AtLeast].
//
// The condition remembers which objects are deleted. Each wait needs its own.
func Deleted(uids map[ID]types.UID) Condition {
	meant := map[ID]types.UID{}
	maps.Copy(meant, uids)
	deleted := map[ID]bool{}
	return func(statuses []ObjectStatus) (bool, error) {
		all := true
		for i := range statuses {
			s := &statuses[i]
			if meant[s.ID] == "" {
				meant[s.ID] = s.uid()
			}
			if s.is(NotFound) || s.Object != nil && s.uid() != meant[s.ID] {
				deleted[s.ID] = true
			}
			all = all && deleted[s.ID]
		}
		return all, nil
	}
}

// OrFailed returns a condition that is met if until is. If it is not, and an object is
// Failed, the wait ends with a [*FailedError].
//
// An object that cannot be read does not end the wait: it can be allowed or installed
// later. With reasons, the wait also ends with a [*FailedError] for an object that is
// Unknown for one of them:
//
//	status.OrFailed(status.All(status.Current), status.Forbidden, status.RuleError)
//
// NotObserved and Transient pass by themselves, and never end the wait.
func OrFailed(until Condition, reasons ...Reason) Condition {
	reasons = slices.DeleteFunc(slices.Clone(reasons), func(r Reason) bool { return r == NotObserved || r == Transient })
	return func(statuses []ObjectStatus) (bool, error) {
		if met, err := until(statuses); met || err != nil {
			return met, err
		}
		var failed FailedError
		for _, s := range statuses {
			if s.is(Failed) || s.Status == Unknown && slices.Contains(reasons, s.Reason) {
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

// FailedError holds the objects that are Failed, or Unknown for one of the reasons that
// [OrFailed] was called with.
type FailedError struct{ Failed []ObjectStatus }

// Error implements error.
func (e *FailedError) Error() string { return "failed: " + lines(e.Failed) }

// WaitError holds the statuses at the end of a wait whose condition was not met.
type WaitError struct {
	// Statuses are the latest statuses of all objects.
	Statuses []ObjectStatus

	// Err is the cause of the context's end, [ErrStopped], or the error of an object
	// with the reason InvalidID.
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
// statuses, ordered by ID, also with an error. An empty set meets [All] at once.
//
// The condition judges each state that the engine has received, also of an object that
// was deleted meanwhile: see [Condition].
//
// Objects that are already watched can be older than the caller's last write. To wait
// for the result of a write, use [AtLeast].
//
// The error is that of the condition; a [*WaitError] if ctx ends, the engine stops or an
// ID turns out invalid (reason InvalidID) before the condition is met; or that of
// [Engine.Watch], without statuses. Another object that cannot be read does not end the
// wait, since it can become readable. Give ctx a deadline.
func (e *Engine) Wait(ctx context.Context, ids []ID, until Condition) ([]ObjectStatus, error) {
	w, err := e.Watch(ctx, ids...)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	v := newView(ids)
	for {
		more := v.take(w)
		if met, err := until(v.statuses); met || err != nil {
			return v.statuses, err
		}
		if v.invalid != nil {
			return v.statuses, &WaitError{Statuses: v.statuses, Err: v.invalid}
		}
		if more && w.ctx.Err() == nil {
			continue
		}
		select {
		case <-w.updated:
		case <-w.ctx.Done():
			statuses := w.Statuses()
			return statuses, &WaitError{Statuses: statuses, Err: w.Err()}
		}
	}
}

// view holds the statuses that a condition gets.
type view struct {
	statuses []ObjectStatus // ordered by ID
	index    map[ID]int     // in statuses
	round    int            // counts the calls of take
	changed  []int          // the last round in which a status has changed
	invalid  error          // of an ID that turned out invalid
}

func newView(ids []ID) *view {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, ID.Compare)
	ids = slices.Compact(ids)
	v := &view{index: map[ID]int{}, changed: make([]int, len(ids))}
	for i, id := range ids {
		v.statuses = append(v.statuses, ObjectStatus{ID: id, Status: Unknown, Reason: NotObserved})
		v.index[id] = i
	}
	return v
}

// take takes updates of w until one would replace another one of the same call. It
// reports whether there is such an update.
func (v *view) take(w *Watch) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v.round++
	for len(w.updates) > 0 {
		i := v.index[w.updates[0].tracked.id]
		if v.changed[i] == v.round {
			return true
		}
		s := w.shift().status
		v.statuses[i], v.changed[i] = s, v.round
		if s.Reason == InvalidID {
			v.invalid = s.Err
		}
	}
	return false
}
