// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

var errTest = errors.New("test")

// nothing fails the test if there is an event. It must run in a synctest bubble.
func nothing(t testing.TB, events <-chan Event[*corev1.Pod]) {
	t.Helper()
	synctest.Wait()
	select {
	case e, ok := <-events:
		t.Fatalf("got %v (open: %v), want nothing", e, ok)
	default:
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func after(d time.Duration) EventsOpt {
	return WithRateLimiter(workqueue.NewTypedItemFastSlowRateLimiter[store.Key](d, d, 1<<30))
}

func TestOneEventOutstandingPerKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.sync("a")
		a := take(t, events)
		expect(t, events, "sync")
		for range 3 {
			r.upsert("a")
		}
		nothing(t, events)
		r.upsert("b")
		expect(t, events, "upsert b@6")
		nothing(t, events)
		a.Done(nil)
		expect(t, events, "upsert a@5")
		nothing(t, events)
	})
}

func TestDeleteNeedsUpsert(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.sync("first")
		synctest.Wait() // "first" is being offered
		r.upsert("a")
		r.delete("a")
		r.upsert("b")
		expect(t, events, "upsert first@1", "sync", "upsert b@5")
		nothing(t, events)
	})
}

func TestDeleteFoundByRelist(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.sync("a", "b")
		expect(t, events, "upsert a@1", "upsert b@2", "sync")
		r.begin()
		r.upsert("b")
		expect(t, events, "upsert b@4")
		r.sink.Abort(storePass(r), errTest)
		nothing(t, events)
		r.begin()
		r.upsert("b")
		r.commit()
		expect(t, events, "upsert b@5", "delete a@1")
		nothing(t, events)
	})
}

func TestRecreated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.sync("a")
		expect(t, events, "upsert a@1", "sync")
		r.upsertAs("a", "other")
		expect(t, events, "delete a@1", "upsert a@3")
		nothing(t, events)

		// The same in the middle of things: what was never seen is not deleted.
		e := func() Event[*corev1.Pod] { r.upsert("b"); return take(t, events) }()
		r.upsertAs("b", "second")
		r.upsertAs("b", "third")
		e.Done(nil)
		expect(t, events, "delete b@4", "upsert b@6")
		nothing(t, events)
	})
}

func TestDoneIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		events := r.view.Events(ctx)
		r.sync("a", "b")
		a := take(t, events)
		r.upsert("a")
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Done(nil)
			a.Done(errTest)
			a.Done(nil)
		}()
		<-done
		expect(t, events, "upsert b@2", "sync", "upsert a@4")
		r.upsert("c")
		e := take(t, events)
		cancel()
		expectClosed(t, events)
		e.Done(errTest)
		e.Done(nil)
	})
}
