// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
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

// betweenStoreAndHub makes a resource that stops in the midst of a change: after
// the change is visible in the store, and before the hub gets it. It sends to
// visible, and waits for release.
func betweenStoreAndHub(t *testing.T, version string) (r *rig, visible <-chan struct{}, release chan struct{}) {
	sent, release := make(chan struct{}), make(chan struct{})
	r = startRig(t,
		WithIndexers(cache.Indexers{"fails": func(obj any) ([]string, error) {
			if obj.(*corev1.Pod).ResourceVersion == version {
				return nil, errTest
			}
			return nil, nil
		}}),
		WithLogger(slog.New(slogFunc(func(slog.Record) {
			sent <- struct{}{}
			<-release
		}))))
	return r, sent, release
}

// slogFunc is a handler of log records.
type slogFunc func(slog.Record)

func (slogFunc) Enabled(context.Context, slog.Level) bool { return true }

func (f slogFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }

func (f slogFunc) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f slogFunc) WithGroup(string) slog.Handler { return f }

// Who subscribes while a change is in the store, but has not been passed on yet,
// gets it before Sync: it is in the store when they subscribe.
func TestSyncAfterWhatIsInTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, visible, release := betweenStoreAndHub(t, "3")
		other := r.view.Events(t.Context())
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
		expect(t, late, "upsert a@1")
		nothing(t, late) // no Sync yet
		close(release)
		expect(t, late, "upsert b@3", "sync")
		expect(t, other, "upsert b@3")
	})
}

// What was in the store when a late subscriber came is emitted before its Sync,
// also where an older state of the key was replayed meanwhile and is done in time.
func TestLateSyncAfterWhatWasOwed(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			r, visible, release := betweenStoreAndHub(t, "3")
			other := r.view.Events(t.Context())
			r.sync("a")
			expect(t, other, "upsert a@1", "sync")
			go r.upsert("a")
			<-visible
			late := r.view.Events(t.Context())
			a := take(t, late)
			if got := text(a); got != "upsert a@1" {
				t.Fatal(got)
			}
			nothing(t, late) // no Sync yet
			close(release)
			synctest.Wait() // Sync is being offered
			a.Done(nil)
			expect(t, late, "upsert a@3", "sync")
			expect(t, other, "upsert a@3")
		})
	}
}

// The id of a key that is gone is used for another: nothing of the old key sticks.
func TestIDsAreReusedClean(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.begin()
		r.upsert("a")
		a := take(t, events)
		r.upsert("a") // Sync must wait for it
		r.commit()
		r.delete("a")
		a.Done(nil)
		e := take(t, events)
		if got := text(e); got != "delete a@1" {
			t.Fatal(got)
		}
		e.Done(nil)
		synctest.Wait() // Sync is being offered
		r.upsert("b")
		expect(t, events, "sync", "upsert b@5")
		if n := len(r.view.hub.nodes); n != 2 {
			t.Fatalf("%d ids for one key at a time", n)
		}
	})
}

// An error handler or a rate limiter that panics ends the subscription: nobody can
// say what became of the event, and it was not forgotten.
func TestErrorHandlerThatPanics(t *testing.T) {
	r := startRig(t, WithForgottenDone(func(f ForgottenDone) { t.Errorf("reported: %v", f) }))
	events := r.view.Events(t.Context(), WithErrorHandler(func(store.Key, int, error) ErrorAction { panic("handler") }))
	r.sync("a")
	e := take(t, events)
	if got := catch(func() { e.Done(errTest) }); got != "handler" {
		t.Fatalf("got %v", got)
	}
	e.Done(nil)
	e.Done = nil
	expectClosed(t, events)
	for range 5 {
		runtime.GC()
	}
	r.upsert("a")
	if n := len(r.view.Stats().Subscribers); n != 0 {
		t.Fatalf("%d subscribers", n)
	}
}

func TestNilContextLeavesNoSubscriber(t *testing.T) {
	r := startRig(t)
	var none context.Context
	if catch(func() { r.view.Events(none) }) == nil {
		t.Fatal("no panic")
	}
	if n := len(r.view.Stats().Subscribers); n != 0 {
		t.Fatalf("%d subscribers", n)
	}
}

// An event that failed when the object had already changed is not held back.
func TestRetryOfWhatHasChangedComesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context(), after(time.Hour))
		r.sync("a")
		a := take(t, events)
		expect(t, events, "sync")
		r.upsert("a")
		start := time.Now()
		a.Done(errTest)
		expect(t, events, "upsert a@3")
		if took := time.Since(start); took != 0 {
			t.Fatalf("held back for %v", took)
		}
		time.Sleep(2 * time.Hour)
		nothing(t, events)
	})
}

// Who leaves remembers nothing: what is gone is forgotten, and the subscriber itself
// is, though its context goes on.
func TestWhoLeavesIsForgotten(t *testing.T) {
	r := startRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events := r.view.Events(ctx, WithErrorHandler(RetryUpTo(0)))
	r.sync("a", "b")
	take(t, events).Done(nil)
	b := take(t, events)
	left := weak.Make(r.view.hub.subs[0])
	r.delete("a")
	r.delete("b")
	b.Done(errTest)
	b.Done = nil
	expectClosed(t, events)
	for deadline := time.Now().Add(10 * time.Second); left.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the subscriber is kept alive")
		}
	}
	h := r.view.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.tombstones) != 0 || len(h.free) != 2 {
		t.Fatalf("%d tombstones, %d free ids", len(h.tombstones), len(h.free))
	}
}

// What a subscriber was shown stays in memory until it is shown a newer state: at most one
// old version of each key. It needs nothing of an object after that.
func TestOldVersionsOfSlowSubscriber(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		r.begin()
		shown := weak.Make(r.upsert("a"))
		r.commit()
		expect(t, events, "upsert a@1", "sync")
		r.upsert("b")
		synctest.Wait() // b is offered
		skipped := weak.Make(r.upsert("a"))
		r.upsert("a")
		for range 3 {
			synctest.Wait()
			runtime.GC()
		}
		if shown.Value() == nil || skipped.Value() != nil {
			t.Errorf("the version that was shown: %v, one that was merged away: %v", shown.Value(), skipped.Value())
		}
		expect(t, events, "upsert b@3", "upsert a@5")
		synctest.Wait()
		runtime.GC()
		if shown.Value() != nil {
			t.Error("the version before is still in memory")
		}
	})
}
