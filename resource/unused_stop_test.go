// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
)

// A use during the stop waits for its end, and two informers never run at once.
func TestUnusedUseDuringTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, lc := make(chan struct{}), &cell.DefaultLifecycle{}
		fake := resourcetest.NewOn[*corev1.Pod](t, lc, resource.WithStopUnused(unusedTime), resource.WithLogger(silent), resource.WithObserver(
			informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
				if _, ok := o.(informer.StoppedUnused); ok {
					<-hang
				}
			})))
		r := &unusedRig{t: t, Fake: fake, pods: fake.Resource()}
		if err := lc.Start(silent, t.Context()); err != nil {
			t.Fatal(err)
		}
		r.Sync()
		r.add("ns", "a")
		r.subscribed(r.pods, "upsert ns/a", "sync")
		time.Sleep(unusedTime)
		if s := r.stats(); s.Wanted || s.Events.OK != 2 {
			t.Fatalf("while it stops: %+v", s)
		}
		events := r.pods.Events(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := r.pods.Store(ctx)
		if want := "resource Pod.v1 is not synced: the first list is not complete yet (context deadline exceeded)"; err == nil || err.Error() != want {
			t.Fatalf("got %v", err)
		}
		r.subscribed(r.pods)
		if n := r.Requests().Watches; n != 1 {
			t.Fatalf("%d watches before the end of the stop", n)
		}
		hang <- struct{}{}
		wantTexts(t, texts(events), "upsert ns/a", "sync")
		if err := lc.Stop(silent, t.Context()); err != nil {
			t.Fatal(err)
		}
		wantTexts(t, texts(events), "closed")
	})
}

// The lifecycle can stop at any moment. What follows is as after the stop of any resource.
func TestUnusedLifecycle(t *testing.T) {
	for _, moment := range []string{"before a use", "in use", "not in use", "while it stops", "after it has stopped"} {
		t.Run(moment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lc, hang := &cell.DefaultLifecycle{}, make(chan struct{})
				r := &unusedRig{t: t}
				r.Fake = resourcetest.NewOn[*corev1.Pod](t, lc, resource.WithStopUnused(unusedTime), resource.WithLogger(silent), resource.WithObserver(
					informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
						if _, ok := o.(informer.StoppedUnused); ok && moment == "while it stops" {
							<-hang
						}
					})))
				r.pods = r.Resource()
				r.Sync()
				r.add("ns", "a")
				early, cancelEarly := context.WithCancel(t.Context())
				earlyEvents := r.pods.Events(early)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if _, err := r.pods.Store(ctx); !errors.Is(err, resource.ErrNotStarted) {
					t.Fatalf("before the start: %v", err)
				}
				if err := lc.Start(silent, t.Context()); err != nil {
					t.Fatal(err)
				}
				wantTexts(t, texts(earlyEvents), "upsert ns/a", "sync")
				var held resource.Store[*corev1.Pod]
				if moment == "in use" {
					held, _ = r.pods.Store(t.Context())
				} else {
					cancelEarly()
				}
				if moment != "before a use" && moment != "in use" {
					synctest.Wait()
					time.Sleep(map[string]time.Duration{"not in use": unusedTime / 2, "while it stops": unusedTime, "after it has stopped": time.Hour}[moment])
				}
				synctest.Wait()
				if moment == "while it stops" {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if err := lc.Stop(silent, ctx); err == nil || !strings.Contains(err.Error(), "resource Pod.v1: the informer that was not in use has not ended") {
						t.Fatalf("got %v", err)
					}
					hang <- struct{}{}
				} else if err := lc.Stop(silent, t.Context()); err != nil {
					t.Fatal(err)
				}
				cancelEarly()
				wantTexts(t, texts(earlyEvents), "closed")
				wantTexts(t, texts(r.pods.Events(t.Context())), "closed")
				s, err := r.pods.Store(t.Context())
				if synced := strings.HasPrefix(moment, "in use") || moment == "not in use" || moment == "before a use"; synced != (err == nil) || !synced && !errors.Is(err, resource.ErrStopped) {
					t.Fatalf("after the stop: %v", err)
				} else if synced && len(s.List()) != 1 {
					t.Fatal("the store is empty")
				}
				if held != nil && (len(held.List()) != 1 || !errors.Is(held.WaitFor(t.Context(), "99"), resource.ErrStopped)) {
					t.Fatal("the held store has changed")
				}
				time.Sleep(time.Hour)
				if err := lc.Start(silent, t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be started again") {
					t.Fatalf("a second start: %v", err)
				}
			})
		})
	}
}

// A use that ended before the start is one.
func TestUnusedBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lc := &cell.DefaultLifecycle{}
		r := &unusedRig{t: t, Fake: resourcetest.NewOn[*corev1.Pod](t, lc, resource.WithStopUnused(unusedTime), resource.WithLogger(silent))}
		r.pods = r.Resource()
		r.Sync()
		r.add("ns", "a")
		ctx, cancel := context.WithCancel(t.Context())
		events := r.pods.Events(ctx)
		cancel()
		wantTexts(t, texts(events), "closed")
		time.Sleep(time.Hour)
		if err := lc.Start(silent, t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(unusedTime - time.Nanosecond)
		r.running(true)
		time.Sleep(time.Nanosecond)
		r.running(false)
		if err := lc.Stop(silent, t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// badContext panics when it is watched.
type badContext struct{ context.Context }

func (badContext) Done() <-chan struct{} { panic("bad") }

// A subscription that fails is no use.
func TestUnusedAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t)
		r.add("ns", "a")
		r.subscribed(r.pods, "upsert ns/a", "sync")
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			r.pods.Events(badContext{t.Context()})
		}()
		time.Sleep(unusedTime)
		r.running(false)
	})
}

// validated is a source that is asked to validate itself, for each run of the resource.
type validated struct {
	servertest.Silent[*corev1.Pod]
	validate func() error
}

func (v validated) Validate() error { return v.validate() }

// A use at the last moment keeps the resource, and so does a source that is no longer valid.
func TestUnusedIsNotReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		validate func(use func()) error
		stops    bool
	}{
		"valid":    {func(func()) error { return nil }, true},
		"a use":    {func(use func()) error { use(); return nil }, false},
		"an error": {func(func()) error { return errors.New("bad") }, false},
		"a panic":  {func(func()) error { panic("bad") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lc := &cell.DefaultLifecycle{}
				var validate atomic.Value
				validate.Store(func() error { return nil })
				r := &unusedRig{t: t}
				r.pods = resource.NewFromSource[*corev1.Pod](lc, validated{validate: func() error { return validate.Load().(func() error)() }},
					resource.WithStopUnused(unusedTime), resource.WithLogger(silent), resource.WithObserver(informer.ObserverFunc(r.observe)))
				if err := lc.Start(silent, t.Context()); err != nil {
					t.Fatal(err)
				}
				r.subscribed(r.pods)
				var events <-chan resource.Event[*corev1.Pod]
				validate.Store(func() error { return test.validate(func() { events = r.pods.Events(t.Context()) }) })
				time.Sleep(unusedTime)
				synctest.Wait()
				wantTexts(t, texts(events))
				if s := r.stats(); s.Wanted == test.stops || (len(r.seen()) > 0) != test.stops {
					t.Fatalf("observed %v, %+v", r.seen(), s)
				}
				validate.Store(func() error { return nil })
				wantTexts(t, texts(r.pods.Events(t.Context())))
				time.Sleep(unusedTime)
				if s := r.stats(); !s.Wanted {
					t.Fatalf("not used: %+v", s)
				}
				if err := lc.Stop(silent, t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// The stop of the lifecycle waits for a Validate that hangs.
func TestUnusedStopWaitsForValidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lc, hang, calls := &cell.DefaultLifecycle{}, make(chan struct{}), 0
		r := &unusedRig{t: t}
		r.pods = resource.NewFromSource[*corev1.Pod](lc, validated{validate: func() error {
			if calls++; calls > 2 {
				<-hang
			}
			return nil
		}}, resource.WithStopUnused(unusedTime), resource.WithLogger(silent), resource.WithName("pods"))
		if err := lc.Start(silent, t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time without use begins while it hangs
			r.subscribed(r.pods)
			time.Sleep(unusedTime)
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := lc.Stop(silent, ctx); err == nil || !strings.Contains(err.Error(), "resource pods: Validate of the source has not ended") {
			t.Fatalf("got %v", err)
		}
		hang <- struct{}{}
		synctest.Wait()
		if calls != 3 {
			t.Errorf("%d calls of Validate, want 3", calls)
		}
	})
}

func TestUnusedBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after, valid := range map[time.Duration]bool{
			-1: false, 0: false, time.Second - 1: false, time.Second: true, 24 * time.Hour: true, 24*time.Hour + 1: false,
		} {
			lc := &cell.DefaultLifecycle{}
			pods := resource.New[*corev1.Pod](lc, &cache.ListWatch{}, resource.WithName("pods"), resource.WithStopUnused(after))
			err := lc.Start(silent, t.Context())
			want := fmt.Sprintf("resource pods: WithStopUnused(%v): the time must be from 1s to 24h0m0s", after)
			_ = lc.Stop(silent, t.Context())
			if valid != (err == nil) || !valid && !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %v", after, err)
			}
			if !valid {
				wantTexts(t, texts(pods.Events(t.Context())), "closed")
			}
		}
	})
}
