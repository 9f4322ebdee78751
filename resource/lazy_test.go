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
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

func counting(t testing.TB) (*cell.DefaultLifecycle, Resource[*corev1.Pod], chan struct{}) {
	requests := make(chan struct{}, 100)
	lc := &cell.DefaultLifecycle{}
	return lc, NewFromSource[*corev1.Pod](lc, silentSource{requests}), requests
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

func TestObserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		completed := make(chan error, 1)
		r.view.Observe(ctx, func(e Event[*corev1.Pod]) {
			got = append(got, text(e))
			e.Done(nil)
		}, func(err error) { completed <- err })
		r.sync("a")
		synctest.Wait()
		r.delete("a")
		synctest.Wait()
		if want := "upsert a@1 sync delete a@1"; strings.Join(got, " ") != want {
			t.Fatalf("got %v", got)
		}
		cancel()
		if err := <-completed; !errors.Is(err, context.Canceled) {
			t.Fatalf("completed with %v", err)
		}
	})
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

func TestBadConstruction(t *testing.T) {
	lw := &cache.ListWatch{}
	for want, make := range map[string]func(cell.Lifecycle) Resource[*corev1.Pod]{
		"resource v1.Pod: no ListerWatcher was given": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, nil, nil)
		},
		"resource pods: no Source was given": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return NewFromSource[*corev1.Pod](lc, nil, WithName("pods"))
		},
		"it must return *v1.Pod": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, lw, WithTransform(func(p *corev1.Pod) (*corev1.Node, error) { return nil, nil }))
		},
		"index": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, lw, WithIndexers(cache.Indexers{"node": nil}))
		},
		"PageSize is -1": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, lw, WithSettings(Settings{PageSize: -1}))
		},
	} {
		lc := &cell.DefaultLifecycle{}
		r := make(lc)
		expectClosed(t, r.Events(t.Context()))
		_, storeErr := r.Store(t.Context())
		err := lc.Start(quiet(), t.Context())
		if err == nil || storeErr == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("start says %v, Store says %v, want %q", err, storeErr, want)
		}
	}
}

func TestLazyTransform(t *testing.T) {
	convert, err := converter[*corev1.Pod](lazyTransform{
		sourceObj: func() kruntime.Object { return &corev1.Node{} },
		transform: func(obj any) (any, error) {
			node := obj.(*corev1.Node)
			if node.Name == "wrong" {
				return node, nil
			}
			return pod(node.Name, "", 1), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := convert(&corev1.Node{}); err != nil || p == nil {
		t.Fatalf("got %v, %v", p, err)
	}
	wrong := &corev1.Node{}
	wrong.Name = "wrong"
	for _, obj := range []kruntime.Object{wrong, &corev1.Pod{}} {
		if _, err := convert(obj); err == nil {
			t.Fatalf("no error for %T", obj)
		}
	}
}

func TestDisabled(t *testing.T) {
	why := errors.New("no cluster")
	r := Disabled[*corev1.Pod](why)
	expectClosed(t, r.Events(t.Context()))
	if _, err := r.Store(t.Context()); !errors.Is(err, why) {
		t.Fatalf("got %v", err)
	}
	r.Observe(t.Context(), nil, func(err error) {
		if err != why {
			t.Fatalf("got %v", err)
		}
	})
	for _, bad := range []Resource[*corev1.Pod]{
		Filter(r, func(*corev1.Pod) bool { return true }),
		Filter[*corev1.Pod](startRig(t).view, nil),
		Filter[*corev1.Pod](foreign{}, func(*corev1.Pod) bool { return true }),
	} {
		if _, err := bad.Store(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
}

type foreign struct{ Resource[*corev1.Pod] }

func TestCacheStore(t *testing.T) {
	r := startRig(t, WithIndexers(cache.Indexers{"first": func(obj any) ([]string, error) {
		return []string{obj.(*corev1.Pod).Name[:1]}, nil
	}}))
	r.view.want()
	r.sync("aa", "ab", "b")
	s, err := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool { return p.Name != "ab" }).Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := s.CacheStore().(cache.Indexer)
	if len(c.List()) != 2 || len(c.ListKeys()) != 2 || c.LastStoreSyncResourceVersion() == "" {
		t.Fatalf("list %v, keys %v", c.List(), c.ListKeys())
	}
	for key, want := range map[string]bool{"ns/aa": true, "ns/ab": false, "ns/none": false, "/": false} {
		if _, exists, err := c.GetByKey(key); exists != want || err != nil {
			t.Errorf("%s: exists %v, %v", key, exists, err)
		}
	}
	if _, exists, err := c.Get(cache.DeletedFinalStateUnknown{Key: "ns/b"}); !exists || err != nil {
		t.Errorf("tombstone: %v, %v", exists, err)
	}
	if _, _, err := c.Get("no object"); err == nil {
		t.Error("no error for what is no object")
	}
	for _, find := range []func() (int, error){
		func() (int, error) { l, err := c.Index("first", pod("ax", "", 0)); return len(l), err },
		func() (int, error) { l, err := c.ByIndex("first", "a"); return len(l), err },
		func() (int, error) { l, err := c.IndexKeys("first", "a"); return len(l), err },
		func() (int, error) { l, err := s.ByIndex("first", "a"); return len(l), err },
		func() (int, error) { l, err := s.IndexKeys("first", "a"); return len(l), err },
	} {
		if n, err := find(); n != 1 || err != nil {
			t.Errorf("found %d, %v", n, err)
		}
	}
	if values := c.ListIndexFuncValues("first"); len(values) != 2 || len(c.GetIndexers()) != 1 {
		t.Errorf("values %v", values)
	}
	if _, err := c.ByIndex("none", ""); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Index("none", pod("a", "", 0)); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{c.Add(nil), c.Update(nil), c.Delete(nil), c.Replace(nil, ""), c.AddIndexers(nil)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("a write gave %v", err)
		}
	}
	if err := c.Resync(); err != nil {
		t.Error(err)
	}
}

// Observe returns at once: complete is called from another goroutine, also where
// there is nothing to come.
func TestObserveOfWhatHasEnded(t *testing.T) {
	stopped := newRig(t)
	stopped.start()
	stopped.stop()
	bad := NewFromSource[*corev1.Pod](&cell.DefaultLifecycle{}, nil)
	for name, r := range map[string]Resource[*corev1.Pod]{
		"stopped": stopped.view, "disabled": Disabled[*corev1.Pod](errTest), "misconstructed": bad,
	} {
		unlock, completed := make(chan struct{}), make(chan struct{})
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			r.Observe(t.Context(), func(podEvent) {}, func(error) { <-unlock; close(completed) })
		}()
		select {
		case <-returned:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: Observe waits for complete", name)
		}
		close(unlock)
		<-completed
		<-returned
	}
}

func TestObserveWithoutFunctions(t *testing.T) {
	r := newRig(t)
	r.start()
	r.view.Observe(t.Context(), nil, nil)
	r.sync("a")
	for r.view.Stats().Events.OK < 2 {
		runtime.Gosched()
	}
	r.stop()
}

// The inspection command runs constructors, and neither starts nor stops anything.
func TestInspectionLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	requests := make(chan struct{}, 10)
	var events []<-chan podEvent
	h := hive.New(
		cell.Provide(func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return NewFromSource[*corev1.Pod](lc, silentSource{requests}, WithName("pods"))
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

// Every resource of the package can be inspected.
func TestInspector(t *testing.T) {
	for _, r := range []Resource[*corev1.Pod]{
		newRig(t).view, Filter[*corev1.Pod](newRig(t).view, local), Disabled[*corev1.Pod](errTest),
		NewFromSource[*corev1.Pod](&cell.DefaultLifecycle{}, nil),
	} {
		if i, ok := r.(Inspector); !ok || i.Stats().Name == "" {
			t.Errorf("%T cannot be inspected", r)
		}
	}
}

// The place of a subscription is that of the call, whatever it was called through.
func TestSite(t *testing.T) {
	type named Resource[*corev1.Pod]
	r := startRig(t)
	var n named = Filter[*corev1.Pod](r.view, local)
	n.Events(t.Context())
	n.Observe(t.Context(), nil, nil)
	for _, s := range r.view.Stats().Subscribers {
		if !strings.Contains(s.Site, "lazy_test.go:") {
			t.Errorf("site %q", s.Site)
		}
	}
}
