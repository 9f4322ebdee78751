// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"testing"
	"testing/synctest"
)

func TestReplaySyncChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		early := r.view.Events(t.Context())
		r.begin()
		r.upsert("a")
		expect(t, early, "upsert a@1")
		nothing(t, early)
		during := r.view.Events(t.Context())
		r.upsert("b")
		r.commit()
		expect(t, early, "upsert b@2", "sync")
		expect(t, during, "upsert a@1", "upsert b@2", "sync")

		r.upsert("a")
		r.delete("b")
		expect(t, early, "upsert a@4", "delete b@2")
		expect(t, during, "upsert a@4", "delete b@2")
		nothing(t, early)

		late := r.view.Events(t.Context())
		expect(t, late, "upsert a@4", "sync")
		nothing(t, late)
	})
}

func TestSyncOnEmptyCollection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		early := r.view.Events(t.Context())
		nothing(t, early)
		r.sync()
		expect(t, early, "sync")
		expect(t, r.view.Events(t.Context()), "sync")
	})
}

func TestSyncDuringRelist(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.view.want()
		r.sync("a", "b")
		r.begin()
		r.upsert("a")
		late := r.view.Events(t.Context())
		expectSet(t, late, "upsert a@4", "upsert b@2")
		expect(t, late, "sync")
		r.commit()
		expect(t, late, "delete b@2")
		nothing(t, late)
	})
}

func TestSyncDoesNotWaitForDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.begin()
		r.upsert("a")
		a := take(t, events)
		r.commit()
		expect(t, events, "sync")
		a.Done(nil)
		nothing(t, events)
	})
}

// What changed before Sync, while an older event was outstanding, is emitted
// before Sync if the older event is done by then.
func TestSyncAfterWhatWasOwed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.begin()
		r.upsert("a")
		r.upsert("b")
		a := take(t, events)
		synctest.Wait() // b is being offered
		r.upsert("a")
		r.commit()
		a.Done(nil)
		expect(t, events, "upsert b@2", "upsert a@3", "sync")
	})
}

// The same for a Sync that is being offered already.
func TestSyncIsRecalledForWhatWasOwed(t *testing.T) {
	for range 100 {
		bubble(t, func(t *testing.T) {
			r := startRig(t)
			events := r.view.Events(t.Context())
			r.begin()
			r.upsert("a")
			a := take(t, events)
			r.upsert("a")
			r.commit()
			r.upsert("b")
			a.Done(nil)
			expect(t, events, "upsert b@4", "upsert a@2", "sync")
			nothing(t, events)
		})
	}
}
