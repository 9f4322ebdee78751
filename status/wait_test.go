// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/status"
)

// What has no object is as it is; a version that is none is an error.
func TestStatusAtLeast(t *testing.T) {
	pod := schema.GroupKind{Kind: "Pod"}
	one, two := status.ID{Namespace: "a", Name: "one", GroupKind: pod}, status.ID{Namespace: "a", Name: "two", GroupKind: pod}
	of := func(id status.ID, s status.Status, version string) status.ObjectStatus {
		obj := &unstructured.Unstructured{Object: map[string]any{}}
		obj.SetResourceVersion(version)
		return status.ObjectStatus{ID: id, Status: s, Object: obj}
	}
	gone := status.ObjectStatus{ID: one, Status: status.NotFound}
	current := status.All(status.Current)
	for _, test := range []struct {
		name     string
		versions map[status.ID]string
		until    status.Condition
		statuses []status.ObjectStatus
		met, bad bool
	}{
		{"older", map[status.ID]string{one: "10"}, current, []status.ObjectStatus{of(one, status.Current, "9")}, false, false},
		{"equal", map[status.ID]string{one: "10"}, current, []status.ObjectStatus{of(one, status.Current, "10")}, true, false},
		{"newer", map[status.ID]string{one: "9"}, current, []status.ObjectStatus{of(one, status.Current, "10")}, true, false},
		{"another one", map[status.ID]string{two: "10"}, current, []status.ObjectStatus{of(one, status.Current, "9")}, true, false},
		{"any", map[status.ID]string{one: ""}, current, []status.ObjectStatus{of(one, status.Current, "9")}, true, false},
		{"gone", map[status.ID]string{one: "10"}, status.All(status.NotFound), []status.ObjectStatus{gone}, true, false},
		{"one of two", map[status.ID]string{one: "10"}, status.OrFailed(current),
			[]status.ObjectStatus{of(one, status.Failed, "9"), of(two, status.Failed, "9")}, false, true},
		{"old failure", map[status.ID]string{one: "10"}, status.OrFailed(current), []status.ObjectStatus{of(one, status.Failed, "9")}, false, false},
		{"no version", map[status.ID]string{one: "x"}, current, []status.ObjectStatus{of(one, status.Current, "9")}, false, true},
		{"no version, but the same", map[status.ID]string{one: "x"}, current, []status.ObjectStatus{of(one, status.Current, "x")}, true, false},
	} {
		if met, err := status.AtLeast(test.versions, test.until)(test.statuses); met != test.met || (err != nil) != test.bad {
			t.Errorf("%s: %v, %v", test.name, met, err)
		}
	}
	kept := []status.ObjectStatus{of(one, status.Current, "9")}
	if _, err := status.AtLeast(map[status.ID]string{one: "10"}, current)(kept); err != nil || kept[0].Status != status.Current {
		t.Errorf("what was given is now %v, %v", kept, err)
	}
}

// OrFailed ends for an object that cannot be read only for the reasons that it got, and
// never for one that passes by itself.
func TestStatusOrFailedReasons(t *testing.T) {
	all := []status.Reason{status.NotObserved, status.InvalidID, status.Forbidden, status.KindNotInstalled, status.Transient, status.RuleError}
	lasting := []status.Reason{status.InvalidID, status.Forbidden, status.KindNotInstalled, status.RuleError}
	current := status.All(status.Current)
	for _, reason := range all {
		unknown := []status.ObjectStatus{{Status: status.Current}, {Status: status.Unknown, Reason: reason}}
		for name, c := range map[string]struct {
			until status.Condition
			ends  bool
		}{
			"no reason":    {status.OrFailed(current), false},
			"all":          {status.OrFailed(current, all...), slices.Contains(lasting, reason)},
			"this one":     {status.OrFailed(current, reason), slices.Contains(lasting, reason)},
			"another":      {status.OrFailed(current, "Other"), false},
			"met":          {status.OrFailed(func([]status.ObjectStatus) (bool, error) { return true, nil }, reason), false},
			"AtLeast, too": {status.AtLeast(nil, status.OrFailed(current, reason)), slices.Contains(lasting, reason)},
		} {
			_, err := c.until(unknown)
			var failed *status.FailedError
			if errors.As(err, &failed) != c.ends || c.ends && (len(failed.Failed) != 1 || failed.Failed[0].Reason != reason) {
				t.Errorf("%s, %s: got %v", reason, name, err)
			}
		}
		known := []status.ObjectStatus{{Status: status.InProgress, Reason: reason, Stale: time.Now()}, {Status: status.NotFound, Reason: reason}}
		if _, err := status.OrFailed(current, all...)(known); err != nil {
			t.Errorf("%s of an object whose status is known: %v", reason, err)
		}
	}
	reasons := []status.Reason{status.Transient, status.Forbidden}
	if status.OrFailed(current, reasons...); reasons[0] != status.Transient || reasons[1] != status.Forbidden {
		t.Errorf("the reasons are now %q", reasons)
	}
}

// Deleted is met once each object that was there is gone, also if another one of the
// same name is there by then.
func TestStatusDeleted(t *testing.T) {
	pod := schema.GroupKind{Kind: "Pod"}
	one, two := status.ID{Namespace: "a", Name: "one", GroupKind: pod}, status.ID{Namespace: "a", Name: "two", GroupKind: pod}
	of := func(id status.ID, uid types.UID) status.ObjectStatus {
		obj := &unstructured.Unstructured{Object: map[string]any{}}
		obj.SetUID(uid)
		return status.ObjectStatus{ID: id, Status: status.Current, Object: obj}
	}
	none := func(id status.ID) status.ObjectStatus { return status.ObjectStatus{ID: id, Status: status.NotFound} }
	unknown := func(id status.ID) status.ObjectStatus {
		return status.ObjectStatus{ID: id, Status: status.Unknown, Reason: status.NotObserved}
	}
	stale := none(one)
	stale.Stale = time.Now()
	for name, c := range map[string]struct {
		uids  map[status.ID]types.UID
		shown [][]status.ObjectStatus // met by the last one only
	}{
		"not there":         {nil, [][]status.ObjectStatus{{unknown(one)}, {none(one)}}},
		"one after another": {nil, [][]status.ObjectStatus{{of(one, "1"), of(two, "2")}, {none(one), of(two, "2")}, {of(one, "3"), of(two, "2")}, {of(one, "3"), none(two)}}},
		"by the UID":        {nil, [][]status.ObjectStatus{{of(one, "1")}, {unknown(one)}, {of(one, "1")}, {of(one, "2")}}},
		"stale":             {nil, [][]status.ObjectStatus{{of(one, "1")}, {stale}, {none(one)}}},
		"created again":     {map[status.ID]types.UID{one: "1"}, [][]status.ObjectStatus{{unknown(one)}, {of(one, "2")}}},
		"that one":          {map[status.ID]types.UID{one: "1"}, [][]status.ObjectStatus{{of(one, "1")}, {none(one)}}},
	} {
		until := status.Deleted(c.uids)
		for i, statuses := range c.shown {
			if met, err := until(statuses); err != nil || met != (i == len(c.shown)-1) {
				t.Errorf("%s: it is met: %t, %v, by %d. of %d", name, met, err, i+1, len(c.shown))
			}
		}
	}
}
