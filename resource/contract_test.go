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
	return WithRateLimiter(workqueue.NewTypedItemFastSlowRateLimiter[Key](d, d, 1<<30))
}

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
			expect(t, events, "upsert a@2")
			expectSet(t, events, "upsert b@4", "sync")
			nothing(t, events)
		})
	}
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

func TestRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		var calls []int
		events := r.view.Events(t.Context(), after(time.Second), WithErrorHandler(
			func(key Key, retries int, err error) ErrorAction {
				if key != podKey("a") || err != errTest {
					t.Errorf("got %v, %v", key, err)
				}
				calls = append(calls, retries)
				return ErrorActionRetry
			}))
		r.sync("a")
		for range 3 {
			start := time.Now()
			a := take(t, events)
			if got := text(a); got != "upsert a@1" {
				t.Fatal(got)
			}
			if len(calls) == 0 {
				expect(t, events, "sync")
			} else if took := time.Since(start); took != time.Second {
				t.Fatalf("emitted after %v", took)
			}
			a.Done(errTest)
			nothing(t, events)
		}
		expect(t, events, "upsert a@1")
		r.upsert("a")
		take(t, events).Done(errTest) // the count begins anew
		expect(t, events, "upsert a@3")
		if got, want := len(calls), 4; got != want || calls[2] != 2 || calls[3] != 0 {
			t.Fatalf("numbers of retries: %v", calls)
		}
	})
}

func TestRetryShowsThenCurrentState(t *testing.T) {
	for _, test := range []struct {
		name   string
		fail   string // the event that fails
		before func(r *rig)
		then   func(r *rig)
		want   []string
	}{
		{"upsert comes back changed", "upsert a@1", nil, func(r *rig) { r.upsert("a") }, []string{"upsert a@3"}},
		{"upsert comes back as delete", "upsert a@1", nil, func(r *rig) { r.delete("a") }, []string{"delete a@1"}},
		{"upsert comes back as it was", "upsert a@1", nil, func(*rig) {}, []string{"upsert a@1"}},
		{"upsert of another object", "upsert a@1", nil,
			func(r *rig) { r.delete("a"); r.upsertAs("a", "other") }, []string{"delete a@1", "upsert a@4"}},
		{"delete comes back", "delete a@1", func(r *rig) { r.delete("a") }, func(*rig) {}, []string{"delete a@1"}},
		{"delete comes back as upsert of another object alone", "delete a@1",
			func(r *rig) { r.delete("a") }, func(r *rig) { r.upsertAs("a", "other") }, []string{"upsert a@4"}},
		{"delete that became moot", "delete a@1",
			func(r *rig) { r.delete("a") }, func(r *rig) { r.upsertAs("a", "other"); r.delete("a") }, []string{"delete a@1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, when := range []string{"while outstanding", "while held back"} {
				if test.name == "delete that became moot" && when == "while held back" {
					continue // the Upsert may be emitted before it is moot
				}
				t.Run(when, func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						r := startRig(t)
						events := r.view.Events(t.Context(), after(time.Second))
						r.sync("a")
						if test.before != nil {
							expect(t, events, "upsert a@1", "sync")
							test.before(r)
						}
						e := take(t, events)
						if got := text(e); got != test.fail {
							t.Fatalf("got %q, want %q", got, test.fail)
						}
						if test.before == nil {
							expect(t, events, "sync")
						}
						if when == "while outstanding" {
							test.then(r)
							e.Done(errTest)
						} else {
							e.Done(errTest)
							synctest.Wait()
							test.then(r)
						}
						expect(t, events, test.want...)
						nothing(t, events)
						time.Sleep(time.Minute)
						nothing(t, events)
					})
				})
			}
		})
	}
}

func TestIgnoreAndStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		ignoring := r.view.Events(t.Context(), WithErrorHandler(func(Key, int, error) ErrorAction { return ErrorActionIgnore }))
		stopping := r.view.Events(t.Context(), after(time.Second), WithErrorHandler(RetryUpTo(1)))
		r.sync("a")
		take(t, ignoring).Done(errTest)
		expect(t, ignoring, "sync")
		time.Sleep(time.Hour)
		nothing(t, ignoring)
		r.delete("a")
		expect(t, ignoring, "delete a@1")

		take(t, stopping).Done(errTest)
		expect(t, stopping, "sync")
		time.Sleep(2 * time.Second)
		take(t, stopping).Done(errTest)
		expectClosed(t, stopping)
		r.upsert("b")
		expect(t, ignoring, "upsert b@4")
	})
}

func TestRetryOfSync(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		var keys []Key
		events := r.view.Events(t.Context(), after(time.Second), WithErrorHandler(
			func(key Key, retries int, _ error) ErrorAction {
				keys = append(keys, key)
				return RetryUpTo(5)(key, retries, nil)
			}))
		r.sync()
		take(t, events).Done(errTest)
		nothing(t, events)
		time.Sleep(time.Second)
		expect(t, events, "sync")
		time.Sleep(time.Hour)
		nothing(t, events)
		if len(keys) != 1 || keys[0] != (Key{}) {
			t.Fatalf("error handler got %v, want the zero key", keys)
		}
	})
}

func TestRateLimiterIsPerSubscriberAndForgets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[Key](time.Second, time.Hour)
		events := r.view.Events(t.Context(), WithRateLimiter(limiter))
		r.sync("a")
		for i, want := range []time.Duration{0, time.Second, 2 * time.Second} {
			start := time.Now()
			take(t, events).Done(errTest)
			if took := time.Since(start); took != want {
				t.Fatalf("try %d came after %v, want %v", i, took, want)
			}
			if i == 0 {
				expect(t, events, "sync")
			}
		}
		expect(t, events, "upsert a@1")
		if n := limiter.NumRequeues(podKey("a")); n != 0 {
			t.Fatalf("the limiter remembers %d failures after a success", n)
		}
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
