// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
)

// An object that was created anew before Sync is two events, of which the second
// comes before Sync as well if the Done of the first does.
func TestSyncAfterObjectCreatedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.begin()
		r.upsertAs("a", "old")
		expect(t, events, "upsert a@1")
		r.upsert("b")
		synctest.Wait() // b is being offered
		r.upsertAs("a", "new")
		r.upsert("c")
		r.commit()
		expect(t, events, "upsert b@2")
		synctest.Wait() // a is being offered
		a := take(t, events)
		if got := text(a); got != "delete a@1" {
			t.Fatal(got)
		}
		synctest.Wait() // c is being offered
		a.Done(nil)
		expectSet(t, events, "upsert c@4", "upsert a@3")
		expect(t, events, "sync")
	})
}

// Who subscribes while a change is in the store, but has not been passed on yet,
// gets it before Sync: it is in the store when they subscribe.
func TestSyncAfterWhatIsInTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		visible, release := make(chan struct{}), make(chan struct{})
		slow := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
			if p.Name == "b" {
				visible <- struct{}{}
				<-release
			}
			return true
		})
		other := slow.Events(t.Context())
		r.sync("a")
		expect(t, other, "upsert a@1", "sync")
		go r.upsert("b")
		<-visible
		store, err := r.view.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(store.List()); n != 2 {
			t.Fatalf("%d objects in the store", n)
		}
		late := r.view.Events(t.Context())
		synctest.Wait()
		close(release)
		expectSet(t, late, "upsert a@1", "upsert b@3")
		expect(t, late, "sync")
		expect(t, other, "upsert b@3")
	})
}
