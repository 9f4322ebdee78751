// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
)

// unversioned makes a pod like those of metrics.k8s.io: with neither UID nor
// version.
func unversioned(name, phase string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"},
		Status:     corev1.PodStatus{Phase: corev1.PodPhase(phase)},
	}
}

// pollEvery starts a resource of u with that interval. Its transform counts.
func pollEvery(t *testing.T, u *shownPods, every time.Duration, transformed *int) Resource[*corev1.Pod] {
	lc := &cell.DefaultLifecycle{}
	r := New[*corev1.Pod](lc, u, WithLogger(quiet()),
		WithSettings(informer.Settings{PollInterval: every, Backoff: informer.Backoff{Jitter: -1}}),
		WithTransform(func(p *corev1.Pod) (*corev1.Pod, error) {
			*transformed++
			return p, nil
		}))
	if err := lc.Start(quiet(), t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lc.Stop(quiet(), context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Each poll brings events for what changed since the last one, and for nothing
// else; what did not change is not even transformed.
func TestPolling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u, transformed := unwatched(), 0
		u.set("9", pod("a", "u", 1), pod("b", "v", 2), pod("c", "w", 3))
		r := pollEvery(t, u, 10*time.Second, &transformed)
		events := r.Events(t.Context())
		expectSet(t, events, "upsert a@1", "upsert b@2", "upsert c@3")
		expect(t, events, "sync")
		synctest.Wait()
		stats := r.(Inspector).Stats()
		if p := stats.Reflector.Polling; p == nil || p.Every != 10*time.Second || p.Cause != informer.CauseNotSupported || !stats.Synced {
			t.Fatalf("%+v", stats)
		}

		time.Sleep(time.Minute)
		nothing(t, events)
		u.set("20", pod("a", "u", 1), pod("b", "v", 15), pod("d", "x", 17))
		time.Sleep(10 * time.Second)
		expectSet(t, events, "upsert b@15", "delete c@3", "upsert d@17")
		u.set("30", pod("a", "other", 25)) // in place of another object
		time.Sleep(10 * time.Second)
		expectSet(t, events, "delete a@1", "delete b@15", "delete d@17", "upsert a@25")
		nothing(t, events)
		if transformed != 6 {
			t.Errorf("%d transforms for 6 states of objects", transformed)
		}
	})
}

// Objects and lists without versions: the same, by content.
func TestPollingWithoutVersions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u, transformed := unwatched(), 0
		u.set("", unversioned("a", "Pending"), unversioned("b", "Pending"), unversioned("c", "Pending"))
		r := pollEvery(t, u, 0, &transformed)
		events := r.Events(t.Context())
		expectSet(t, events, "upsert a@", "upsert b@", "upsert c@")
		expect(t, events, "sync")
		time.Sleep(10 * time.Minute)
		nothing(t, events)
		u.set("", unversioned("a", "Pending"), unversioned("b", "Running"))
		time.Sleep(30 * time.Second) // the default
		expectSet(t, events, "upsert b@", "delete c@")
		time.Sleep(10 * time.Minute)
		nothing(t, events)
		if transformed != 4 {
			t.Errorf("%d transforms for 4 states of objects", transformed)
		}
		if stats := r.(Inspector).Stats(); stats.Reflector.Version != "" || stats.Reflector.Err != nil || stats.Store.Objects != 2 {
			t.Errorf("%+v", stats)
		}
	})
}
