// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
)

// count waits until nothing happens any more, and returns how many lists there were.
func (s *shownPods) count() int {
	time.Sleep(2 * time.Second)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// resynced starts a resource of q, with the occurrences of missed changes.
func resynced(t *testing.T, q *shownPods, settings informer.Settings) (r Resource[*corev1.Pod], missed *[]informer.Missed, lc *cell.DefaultLifecycle) {
	missed, lc = new([]informer.Missed), &cell.DefaultLifecycle{}
	settings.Lists = informer.ListPaged
	r = New[*corev1.Pod](lc, q, WithLogger(quiet()), WithSettings(settings),
		WithObserver(informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
			if m, ok := o.(informer.Missed); ok {
				*missed = append(*missed, m)
			}
		})))
	if err := lc.Start(quiet(), t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, missed, lc
}

// Resync makes one list, which finds what the watch left out. It does not begin the use of
// the resource, and does nothing after the stop.
func TestResync(t *testing.T) {
	for _, filtered := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			q := &shownPods{}
			q.set("5", pod("a", "u", 1))
			r, missed, lc := resynced(t, q, informer.Settings{})
			if filtered {
				r = Filter(r, func(*corev1.Pod) bool { return true })
			}
			r.Resync(errors.New("too early"))
			if n := q.count(); n != 0 {
				t.Fatalf("%d lists before the first use", n)
			}
			events := r.Events(t.Context())
			expect(t, events, "upsert a@1", "sync")
			if n := q.count(); n != 1 {
				t.Fatalf("%d lists, want the first one", n)
			}

			q.set("7", pod("a", "u", 1), pod("b", "v", 6))
			q.bookmark("7")
			if n := q.count(); n != 1 {
				t.Fatalf("%d lists before Resync", n)
			}
			for range 3 {
				r.Resync(errors.New("suspicion"))
			}
			expect(t, events, "upsert b@6")
			nothing(t, events)
			if n := q.count(); n != 2 {
				t.Errorf("%d lists after Resync, want 2", n)
			}
			if len(*missed) != 1 || (*missed)[0].Count != 1 || (*missed)[0].Key != podKey("b") {
				t.Errorf("missed %+v", *missed)
			}
			q.set("7", pod("a", "u", 1))
			r.Resync(nil)
			expect(t, events, "delete b@6")
			if n := q.count(); n != 3 || len(*missed) != 2 || (*missed)[1].Key != podKey("b") {
				t.Errorf("%d lists, missed %+v", n, *missed)
			}

			if err := lc.Stop(quiet(), context.Background()); err != nil {
				t.Fatal(err)
			}
			r.Resync(errors.New("too late"))
			if n := q.count(); n != 3 {
				t.Errorf("%d lists after the stop", n)
			}
		})
	}
}

// A resource that was made wrongly, or that is disabled, has nothing to list.
func TestResyncOfNothing(t *testing.T) {
	New[*corev1.Pod](&cell.DefaultLifecycle{}, nil).Resync(nil)
	Disabled[*corev1.Pod](errors.New("no cluster")).Resync(nil)
}

// All settings of the Reflector reach it.
func TestResyncInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := &shownPods{}
		q.set("5", pod("a", "u", 1))
		r, _, lc := resynced(t, q, informer.Settings{ResyncInterval: time.Minute, CheckInterval: -1})
		events := r.Events(t.Context())
		expect(t, events, "upsert a@1", "sync")
		q.set("9", pod("b", "v", 8))
		time.Sleep(70 * time.Second)
		expectSet(t, events, "delete a@1", "upsert b@8")
		if n := q.count(); n != 2 {
			t.Errorf("%d lists, want 2", n)
		}
		if err := lc.Stop(quiet(), context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
