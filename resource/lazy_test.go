// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/internal/servertest"
)

func counting(t testing.TB) (*cell.DefaultLifecycle, Resource[*corev1.Pod], chan struct{}) {
	requests := make(chan struct{}, 100)
	lc := &cell.DefaultLifecycle{}
	return lc, NewFromSource[*corev1.Pod](lc, servertest.Silent[*corev1.Pod]{Lists: requests}), requests
}

func TestLazy(t *testing.T) {
	uses := map[string]func(context.Context, Resource[*corev1.Pod]){
		"Events": func(ctx context.Context, r Resource[*corev1.Pod]) { r.Events(ctx) },
		"Observe": func(ctx context.Context, r Resource[*corev1.Pod]) {
			r.Observe(ctx, func(e Event[*corev1.Pod]) { e.Done(nil) }, func(error) {})
		},
		"Store": func(ctx context.Context, r Resource[*corev1.Pod]) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			r.Store(ctx)
		},
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				for _, before := range []bool{true, false} {
					lc, r, requests := counting(t)
					if before {
						use(t.Context(), r)
						synctest.Wait()
						if len(requests) != 0 {
							t.Fatal("a request before start")
						}
					}
					if err := lc.Start(quiet(), t.Context()); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if want := map[bool]int{true: 1, false: 0}[before]; len(requests) != want {
						t.Fatalf("%d requests after start, want %d", len(requests), want)
					}
					for range 3 {
						use(t.Context(), r)
						use(t.Context(), Filter(r, func(*corev1.Pod) bool { return true }))
					}
					synctest.Wait()
					if len(requests) != 1 {
						t.Fatalf("%d requests, want 1", len(requests))
					}
					if err := lc.Stop(quiet(), t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

func TestSubscribingBeforeStartOwnsNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	_, r, _ := counting(t)
	ctx, cancel := context.WithCancel(context.Background())
	for range 100 {
		r.Events(ctx)
		r.Observe(ctx, func(Event[*corev1.Pod]) {}, func(error) {})
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Fatalf("%d goroutines were started", now-before)
	}
	events := r.Events(ctx)
	cancel()
	expectClosed(t, events)
}

func TestCanceledBeforeStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lc, r, _ := counting(t)
		ctx, cancel := context.WithCancel(t.Context())
		canceled, live := r.Events(ctx), r.Events(t.Context())
		var completed []error
		r.Observe(ctx, func(Event[*corev1.Pod]) {}, func(err error) { completed = append(completed, err) })
		cancel()
		synctest.Wait()
		expectClosed(t, canceled)
		if len(completed) != 1 || !errors.Is(completed[0], context.Canceled) {
			t.Fatalf("completed with %v", completed)
		}
		if err := lc.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		nothing(t, live)
		if err := lc.Stop(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		expectClosed(t, live)
	})
}

func TestAfterStop(t *testing.T) {
	r := newRig(t)
	r.start()
	events := r.view.Events(t.Context())
	r.stop()
	expectClosed(t, events)
	expectClosed(t, r.view.Events(t.Context()))
	completed := make(chan error, 1)
	r.view.Observe(t.Context(), nil, func(err error) { completed <- err })
	if err := <-completed; err != nil {
		t.Fatalf("completed with %v", err)
	}
	if _, err := r.view.Store(t.Context()); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	if err := r.lc.Start(quiet(), t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be started again") {
		t.Fatalf("got %v", err)
	}
}

func TestStoreWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		go func() {
			time.Sleep(1234 * time.Millisecond)
			r.sync("a", "b")
		}()
		start := time.Now()
		s, err := r.view.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 1234*time.Millisecond {
			t.Fatalf("synced after 1.234s, told after %v", took)
		}
		if n := len(s.List()); n != 2 {
			t.Fatalf("%d objects, want 2", n)
		}
	})
}

func TestStoreSaysWhyNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		timeout, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := newRig(t, WithName("pods"))
		_, err := r.view.Store(timeout)
		var notSynced *NotSyncedError
		if !errors.As(err, &notSynced) || !errors.Is(err, ErrNotStarted) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if want := "resource pods is not synced: not started (context deadline exceeded)"; err.Error() != want {
			t.Fatalf("got %q", err)
		}
		r.start()
		waited := make(chan error)
		go func() {
			_, err := r.view.Store(t.Context())
			waited <- err
		}()
		synctest.Wait()
		r.stop()
		if err := <-waited; !errors.Is(err, ErrStopped) {
			t.Fatalf("got %v", err)
		}
	})
}

// The inspection command runs constructors, and neither starts nor stops anything.
func TestInspectionLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	requests := make(chan struct{}, 10)
	var events []<-chan podEvent
	h := hive.New(
		cell.Provide(func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return NewFromSource[*corev1.Pod](lc, servertest.Silent[*corev1.Pod]{Lists: requests}, WithName("pods"))
		}),
		cell.Invoke(func(r Resource[*corev1.Pod]) {
			ctx := context.Background() // nobody cancels it
			events = append(events, r.Events(ctx), Filter(r, local).Events(ctx))
			r.Observe(ctx, func(podEvent) {}, func(error) {})
		}))
	var out bytes.Buffer
	if err := h.PrintObjects(&out, quiet()); err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 || !strings.Contains(out.String(), "resource.hook") {
		t.Fatalf("%d subscribers; printed %s", len(events), out.String())
	}
	if now := runtime.NumGoroutine(); now > before || len(requests) != 0 {
		t.Fatalf("%d goroutines and %d requests are left", now-before, len(requests))
	}
}
