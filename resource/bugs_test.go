// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"testing"
	"testing/synctest"
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
