// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

func TestRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		var calls []int
		events := r.view.Events(t.Context(), after(time.Second), WithErrorHandler(
			func(key store.Key, retries int, err error) ErrorAction {
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
		ignoring := r.view.Events(t.Context(), WithErrorHandler(func(store.Key, int, error) ErrorAction { return ErrorActionIgnore }))
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

// RetryThenIgnore gives up on the state of one key. The subscription goes on, and a change
// of the key has all its retries.
func TestRetryThenIgnore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context(), after(time.Second), WithErrorHandler(RetryThenIgnore(1)))
		r.sync("a")
		for _, other := range []string{"sync", "upsert b@4"} {
			take(t, events).Done(errTest)
			expect(t, events, other)
			time.Sleep(2 * time.Second)
			if e := take(t, events); e.Key != podKey("a") {
				t.Fatalf("got %s, want a retry of a", text(e))
			} else {
				e.Done(errTest)
			}
			time.Sleep(time.Hour)
			nothing(t, events)
			r.upsert("a")
			r.upsert("b")
		}
		if got := r.view.Stats().Events; got.Retried != 2 || got.Ignored != 2 || got.Stopped != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestRetryOfSync(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		var keys []store.Key
		events := r.view.Events(t.Context(), after(time.Second), WithErrorHandler(
			func(key store.Key, retries int, _ error) ErrorAction {
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
		if len(keys) != 1 || keys[0] != (store.Key{}) {
			t.Fatalf("error handler got %v, want the zero key", keys)
		}
	})
}

func TestRateLimiterIsPerSubscriberAndForgets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](time.Second, time.Hour)
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
