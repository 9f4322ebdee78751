// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// A filter that hangs, whether in the replay or at a change, holds up the informer,
// the other subscribers of its view and all others not at all.
func TestFilterThatHangs(t *testing.T) {
	for name, late := range map[string]bool{"in the replay": true, "at a change": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := startRig(t)
				release := make(chan struct{})
				var hangs atomic.Bool
				first := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
					if p.Name == "hang" && hangs.CompareAndSwap(false, true) {
						<-release
					}
					return local(p)
				})
				var stuck <-chan podEvent
				subscribe := func() {
					stuck = first.Events(t.Context())
					synctest.Wait()
				}
				if !late {
					subscribe()
				}
				r.begin()
				r.upsert("hang", onNode("here"))
				r.commit()
				if late {
					subscribe()
				}
				synctest.Wait()
				if !hangs.Load() {
					t.Fatal("the filter was not called")
				}
				same, all := first.Events(t.Context()), r.view.Events(t.Context())
				r.upsert("b", onNode("here"))
				for _, events := range []<-chan podEvent{same, all} {
					expectSet(t, events, "upsert hang@1", "sync", "upsert b@3")
				}
				nothing(t, stuck)
				r.delete("b")
				r.upsert("c", onNode("here"))
				r.upsert("d")
				close(release)
				expect(t, stuck, "upsert hang@1")
				expectSet(t, stuck, "sync", "upsert c@5")
				nothing(t, stuck)
			})
		})
	}
}

// While a filter hangs its object changes: the event is of a state of which the
// filter was asked, and Sync waits for it.
func TestChangeWhileTheFilterRuns(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(*rig)
		want []string
	}{
		"rejected": {func(r *rig) { r.upsert("a") }, []string{"sync"}},
		"kept":     {func(r *rig) { r.upsert("a", onNode("here")) }, []string{"upsert a@3", "sync"}},
		"gone":     {func(r *rig) { r.delete("a") }, []string{"sync"}},
		"another":  {func(r *rig) { r.delete("a"); r.upsertAs("a", "new", onNode("here")) }, []string{"sync", "upsert a@4"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := startRig(t)
				asked, release := make(chan struct{}), make(chan struct{})
				events := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
					if p.ResourceVersion == "1" {
						close(asked)
						<-release
					}
					return local(p)
				}).Events(t.Context())
				r.begin()
				r.upsert("a", onNode("here"))
				r.commit()
				<-asked
				change.do(r)
				close(release)
				expect(t, events, change.want...)
				nothing(t, events)
			})
		})
	}
}

// A filter that rejects what was held back after an error, or accepts it, changes
// nothing about when it is due.
func TestFilterAndBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := Filter[*corev1.Pod](r.view, local).Events(t.Context(), after(time.Hour))
		r.begin()
		r.upsert("a", onNode("here"))
		r.commit()
		expect(t, events, "upsert a@1", "sync")
		r.upsert("a")
		e := take(t, events)
		e.Done(errTest)
		r.upsert("a") // which the subscriber does not see
		nothing(t, events)
		time.Sleep(time.Hour)
		expect(t, events, "delete a@1")
		nothing(t, events)
	})
}

// The text of a panic has no object in it, which is what filters may panic with.
func TestPanicShowsNoObject(t *testing.T) {
	secret := &corev1.Secret{StringData: map[string]string{"password": "c4nary"}}
	err := &store.PanicError{Resource: "secrets", Function: "filter", Value: secret}
	if text := err.Error(); strings.Contains(text, "c4nary") || !strings.Contains(text, "a *v1.Secret") {
		t.Error(text)
	}
}

// A filter that panics, in the replay or at a change, for a channel or for Observe,
// ends its own subscription alone, and the panic is reported with its key and stack.
func TestFilterThatPanics(t *testing.T) {
	for _, late := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			var log bytes.Buffer
			r := startRig(t, WithName("pods"), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			bad := Filter(Filter[*corev1.Pod](r.view, local), func(p *corev1.Pod) bool {
				if p.Name == "bad" {
					panic(errTest)
				}
				return true
			})
			var events, other <-chan podEvent
			completed := make(chan error, 1)
			subscribe := func() {
				events = bad.Events(t.Context())
				synctest.Wait()
				bad.Observe(t.Context(), nil, func(err error) { completed <- err })
				other = r.view.Events(t.Context())
			}
			if !late {
				subscribe()
			}
			r.begin()
			r.upsert("bad") // which the inner filter rejects
			r.upsert("ok", onNode("here"))
			if late {
				r.upsert("bad", onNode("here"))
			}
			r.commit()
			if late {
				subscribe()
			} else {
				expect(t, events, "upsert ok@2", "sync")
				synctest.Wait() // the other one is being offered an event
				r.upsert("bad", onNode("here"))
			}
			expectClosed(t, events)
			var panicked *store.PanicError
			if err := <-completed; !errors.As(err, &panicked) || !errors.Is(err, errTest) {
				t.Fatalf("completed with %v", err)
			}
			if panicked.Resource != "pods" || panicked.Key != podKey("bad") || panicked.Function != "filter" ||
				!strings.Contains(panicked.Site, "isolation_test.go:") || !bytes.Contains(panicked.Stack, []byte("isolation_test.go:")) {
				t.Errorf("got %+v", panicked)
			}
			want := []string{"upsert bad@1", "upsert ok@2", "sync", "upsert bad@4"}
			if late {
				want = []string{"upsert bad@3", "upsert ok@2", "sync"}
			}
			expectSet(t, other, want...)
			synctest.Wait() // complete has returned
			stats := r.view.Stats()
			if stats.Panics != 2 || len(stats.Subscribers) != 1 {
				t.Errorf("%d panics, %d subscribers", stats.Panics, len(stats.Subscribers))
			}
			for _, want := range []string{"resource=pods", "key=ns/bad", "isolation_test.go", errTest.Error(), "stack="} {
				if n := strings.Count(log.String(), want); n < 2 {
					t.Errorf("%q is logged %d times: %s", want, n, log.String())
				}
			}
		})
	}
}

// The same for callbacks of Observe.
func TestObserverThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		completed := make(chan error, 1)
		r.view.Observe(t.Context(), func(podEvent) { panic("next") }, func(err error) {
			completed <- err
			panic("complete")
		})
		other := r.view.Events(t.Context())
		r.sync("a")
		var panicked *store.PanicError
		if err := <-completed; !errors.As(err, &panicked) || panicked.Value != "next" || panicked.Key != podKey("a") {
			t.Fatalf("completed with %v", err)
		}
		expect(t, other, "upsert a@1", "sync")
		synctest.Wait() // complete has returned
		if stats := r.view.Stats(); stats.Panics != 2 || stats.Subscribers[0].Site == panicked.Site {
			t.Errorf("got %+v", stats)
		}
	})
}

// A subscriber that does not read costs its filter nothing: neither calls for each
// change, nor a turn of the others.
func TestFilterOfSlowSubscriber(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		var calls atomic.Int32
		slow := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool { calls.Add(1); return local(p) }).Events(t.Context())
		r.begin()
		r.upsert("first", onNode("here"))
		r.commit()
		synctest.Wait() // it is being offered
		before := calls.Load()
		for range 100 {
			r.upsert("a", onNode("here"))
			r.upsert("b")
		}
		synctest.Wait()
		if n := calls.Load() - before; n != 0 {
			t.Errorf("%d calls for a subscriber that does not read", n)
		}
		expect(t, slow, "upsert first@1", "sync", "upsert a@201")
		nothing(t, slow)
		if n := calls.Load() - before; n != 2 {
			t.Errorf("%d calls for two keys", n)
		}
	})
}

// A subscription that ends while its filter runs calls it no more.
func TestFilterIsNotCalledAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.view.want()
		r.sync("a", "b", "c")
		calls := 0
		asked, release := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		events := Filter[*corev1.Pod](r.view, func(*corev1.Pod) bool {
			if calls++; calls == 1 {
				close(asked)
				<-release
			}
			return false
		}).Events(ctx)
		<-asked
		cancel()
		synctest.Wait()
		close(release)
		expectClosed(t, events)
		if calls != 1 {
			t.Errorf("the filter was called %d times", calls)
		}
	})
}

// An error of Stop names the functions that do not return, and no other subscriber.
func TestStopNamesOnlyWhatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, WithName("pods"))
		r.start()
		release := make(chan struct{})
		hang := func() { <-release }
		r.view.Observe(t.Context(), nil, func(error) { hang() })
		r.view.Observe(t.Context(), func(podEvent) { hang() }, nil)
		filtered := Filter[*corev1.Pod](r.view, func(*corev1.Pod) bool { hang(); return true }).Events(t.Context())
		stuck := r.view.Events(t.Context())
		r.sync("a")
		synctest.Wait()
		err := r.lc.Stop(quiet(), context.Background())
		for _, want := range []string{"pods", "the filter", "the next function", "the complete function"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing in %v", want, err)
			}
		}
		if n := strings.Count(err.Error(), "isolation_test.go:"); n != 3 {
			t.Errorf("%d subscribers are named in %v", n, err)
		}
		close(release)
		expectClosed(t, filtered)
		expectClosed(t, stuck)
		r.view.hub.wg.Wait()
	})
}

// Stop waits for complete of those whose subscription never began, as for others.
func TestStopBeforeStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.view.Observe(t.Context(), nil, func(error) { <-release })
		if err := (hook[*corev1.Pod]{r.view.resource}).Stop(context.Background()); err == nil || !strings.Contains(err.Error(), "isolation_test.go:") {
			t.Errorf("got %v", err)
		}
		close(release)
		r.view.hub.wg.Wait()
	})
}
