// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apiary-go/apiary/status"
)

func TestAggregate(t *testing.T) {
	current := status.ObjectStatus{Status: status.Current}
	progress := status.ObjectStatus{Status: status.InProgress}
	failed := status.ObjectStatus{Status: status.Failed}
	notFound := status.ObjectStatus{Status: status.NotFound}
	forbidden := status.ObjectStatus{Status: status.Unknown, Reason: status.Forbidden}
	uninstalled := status.ObjectStatus{Status: status.Unknown, Reason: status.KindNotInstalled}
	stale := func(s status.ObjectStatus) status.ObjectStatus {
		s.Reason, s.Stale = status.Transient, time.Unix(1, 0)
		return s
	}
	for _, c := range []struct {
		name     string
		statuses []status.ObjectStatus
		desired  status.Status
		want     status.Status
	}{
		{"nothing", nil, status.Current, status.Current},
		{"nothing left", nil, status.NotFound, status.NotFound},
		{"all", []status.ObjectStatus{current, current}, status.Current, status.Current},
		{"one on its way", []status.ObjectStatus{current, progress}, status.Current, status.InProgress},
		{"one missing", []status.ObjectStatus{current, notFound}, status.Current, status.InProgress},
		{"one failed", []status.ObjectStatus{forbidden, failed, progress}, status.Current, status.Failed},
		{"one forbidden", []status.ObjectStatus{progress, forbidden, current}, status.Current, status.Unknown},
		{"all failed, as desired", []status.ObjectStatus{failed}, status.Failed, status.Failed},
		{"one failed, as all are to", []status.ObjectStatus{current, failed}, status.Failed, status.InProgress},
		{"one failed, as all are to, and one is forbidden", []status.ObjectStatus{failed, forbidden}, status.Failed, status.Unknown},
		{"one stale", []status.ObjectStatus{current, stale(current)}, status.Current, status.Unknown},
		{"failed when last heard of", []status.ObjectStatus{current, stale(failed)}, status.Current, status.Unknown},
		{"gone with its kind", []status.ObjectStatus{notFound, uninstalled}, status.NotFound, status.NotFound},
		{"gone with its kind, another is not", []status.ObjectStatus{current, uninstalled}, status.NotFound, status.InProgress},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := status.Aggregate(c.statuses, c.desired); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestCollector(t *testing.T) {
	a, b := status.ID{Namespace: "x", Name: "a"}, status.ID{Namespace: "x", Name: "b"}
	c := status.NewCollector(b, a)
	if got := c.Statuses(); len(got) != 2 || got[0].ID != a || got[0].Status != status.Unknown || got[0].Reason != status.NotObserved {
		t.Fatalf("before any event: %v", got)
	}
	events := make(chan status.Event, 4)
	events <- status.Event{Type: status.ResourceUpdate, Resource: status.ObjectStatus{ID: a, Status: status.InProgress}}
	events <- status.Event{Type: status.Synced}
	events <- status.Event{Type: status.ResourceUpdate, Resource: status.ObjectStatus{ID: a, Status: status.Current}}
	close(events)
	var seen []status.Status
	err := c.Listen(t.Context(), events, func(status.Event) error {
		seen = append(seen, c.Statuses()[0].Status) // it can be asked, and knows of the event
		if c.Synced() != (len(seen) > 1) {
			t.Errorf("Synced is %v after %d events", c.Synced(), len(seen))
		}
		return nil
	})
	if err != nil || len(seen) != 3 || seen[0] != status.InProgress || seen[2] != status.Current {
		t.Errorf("seen %v, %v", seen, err)
	}
	if got := c.Statuses(); got[0].Status != status.Current || got[1].Status != status.Unknown {
		t.Errorf("in the end: %v", got)
	}
}

func TestCollectorEnds(t *testing.T) {
	boom := errors.New("boom")
	t.Run("Error", func(t *testing.T) {
		events := make(chan status.Event, 1)
		events <- status.Event{Type: status.Error, Err: boom}
		err := status.NewCollector().Listen(t.Context(), events, func(ev status.Event) error {
			t.Errorf("observed %v", ev)
			return nil
		})
		if !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("observer", func(t *testing.T) {
		events := make(chan status.Event, 1)
		events <- status.Event{Type: status.Synced}
		err := status.NewCollector().Listen(t.Context(), events, func(status.Event) error { return boom })
		if !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(boom)
		if err := status.NewCollector().Listen(ctx, make(chan status.Event), nil); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
}
