// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// failureLog is an observer that keeps what consumers did, as texts.
type failureLog struct {
	mu  sync.Mutex
	got []string
}

func (l *failureLog) Observe(info informer.ReflectorInfo, o informer.ReflectorEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o := o.(type) {
	case informer.ConsumerFailed:
		l.got = append(l.got, fmt.Sprintf("%s: %s failed %s of %s: %v: %s, retries=%d next=%v for=%v",
			info.Name, o.Subscriber, o.Change, o.Key, o.Err, o.Action, o.Retries, o.Next, time.Since(o.Since)))
	case informer.ConsumerRecovered:
		l.got = append(l.got, fmt.Sprintf("%s recovered %s, retries=%d after=%v", o.Subscriber, o.Key, o.Retries, o.After))
	case informer.ConsumerEnded:
		l.got = append(l.got, o.Subscriber+" ended")
	}
}

// expect compares what was observed since the last call.
func (l *failureLog) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.got, want) {
		t.Errorf("observed:\n%s\nwant:\n%s", strings.Join(l.got, "\n"), strings.Join(want, "\n"))
	}
	l.got = nil
}

// The observer gets each failure of a subscriber, with what is done about it, and the end
// of the failures of each key.
func TestFailuresAreObserved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := &failureLog{}
		r := startRig(t, WithName("pods"), WithObserver(log))
		ctx, cancel := context.WithCancel(t.Context())
		events := r.view.Events(ctx, after(time.Second), WithSubscriberName("programmer"))
		r.sync("a")
		fail := func() {
			t.Helper()
			take(t, events).Done(errTest)
		}
		fail()
		log.expect(t, "pods: programmer failed upsert of ns/a: test: retry, retries=0 next=1s for=0s")
		expect(t, events, "sync")
		fail()
		log.expect(t, "pods: programmer failed upsert of ns/a: test: retry, retries=1 next=1s for=1s")
		expect(t, events, "upsert a@1")
		log.expect(t, "programmer recovered ns/a, retries=2 after=2s")
		r.upsert("a")
		fail()
		log.expect(t, "pods: programmer failed upsert of ns/a: test: retry, retries=0 next=1s for=0s")
		r.delete("a")
		expect(t, events, "delete a@3")
		log.expect(t, "programmer recovered ns/a, retries=1 after=0s")
		r.upsert("b")
		fail()
		cancel()
		log.expect(t, "pods: programmer failed upsert of ns/b: test: retry, retries=0 next=1s for=0s", "programmer ended")
	})
}

// The decisions of an error handler are observed, and named.
func TestFailureActionsAreObserved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := &failureLog{}
		r := startRig(t, WithName("pods"), WithObserver(log))
		actions := []ErrorAction{ErrorActionIgnore, "unknown", ErrorActionStop}
		events := r.view.Events(t.Context(), after(time.Second), WithSubscriberName("s"), WithErrorHandler(func(store.Key, int, error) ErrorAction {
			next := actions[0]
			actions = actions[1:]
			return next
		}))
		r.sync("a")
		take(t, events).Done(errTest)
		take(t, events).Done(errTest) // Sync
		take(t, events).Done(errTest)
		log.expect(t, "pods: s failed upsert of ns/a: test: ignore, retries=0 next=0s for=0s",
			"pods: s failed sync of : test: retry, retries=0 next=1s for=0s",
			"pods: s failed sync of : test: stop, retries=1 next=0s for=1s", "s ended")
	})
}

// Stats show the last error, the key that fails most, and for how long, also while no event
// waits: the keys are held back nearly all the time.
func TestStatsOfFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context(), after(30*time.Second))
		r.sync("a", "b")
		begin := time.Now()
		for range 3 { // a, b, sync
			e := take(t, events)
			if e.Kind == Sync {
				e.Done(nil)
				continue
			}
			e.Done(fmt.Errorf("%s: map full", e.Key.Name))
		}
		time.Sleep(30 * time.Second)
		a := take(t, events)
		a.Done(errTest)
		time.Sleep(25 * time.Second)
		sub := r.view.Stats().Subscribers[0]
		if sub.Errors != 3 || !errors.Is(sub.LastError, errTest) || sub.Oldest != 55*time.Second || sub.RetryingOldest != 55*time.Second {
			t.Errorf("got %+v", sub)
		}
		want := FailingKey{Key: a.Key, Retries: 2, Since: begin, Next: begin.Add(time.Minute), Err: errTest}
		if sub.Worst == nil || *sub.Worst != want {
			t.Errorf("the worst key is %+v, want %+v", sub.Worst, want)
		}
		expect(t, events, "upsert b@2", "upsert a@1")
		if sub := r.view.Stats().Subscribers[0]; sub.Worst != nil || sub.Oldest != 0 || sub.Errors != 3 || sub.LastError == nil {
			t.Errorf("after the recovery: %+v", sub)
		}
	})
}

// A subscriber that fails 26 times in a row is in the log, and does not flood it.
func TestFailuresAreLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		r := startRig(t, WithName("pods"), WithObserver(informer.LogObserver(log)))
		events := r.view.Events(t.Context(), after(100*time.Millisecond), WithSubscriberName("programmer"))
		r.sync("a")
		take(t, events).Done(errors.New("map full"))
		expect(t, events, "sync")
		for range 25 {
			take(t, events).Done(errors.New("map full"))
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines:\n%s", len(lines), &out)
		}
		for i, want := range []string{
			`level=WARN msg="The consumer failed, will try again" resource=pods subscriber=programmer key=ns/a change=upsert retries=0 next=100ms error="map full"`,
			`retries=10 next=100ms error="map full" omitted=9`,
		} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s\nlacks %s", lines[i], want)
			}
		}
	})
}

// The observer gets what happens to a key in order, and one thing at a time, from any
// number of goroutines.
func TestFailuresOfManyAreInOrder(t *testing.T) {
	log := &orderLog{t: t, last: map[informer.Consumer]int{}}
	r := startRig(t, WithObserver(log))
	var wg sync.WaitGroup
	for range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		events := r.view.Events(ctx, after(time.Millisecond))
		failed := map[store.Key]int{}
		wg.Go(func() {
			defer cancel()
			var done sync.WaitGroup
			for left := 10; left > 0; {
				e := take(t, events)
				if e.Kind == Sync {
					e.Done(nil)
					continue
				}
				if failed[e.Key]++; failed[e.Key] > 5 {
					left--
				}
				fails := failed[e.Key] <= 5
				done.Go(func() {
					if fails {
						e.Done(errTest)
					} else {
						e.Done(nil)
					}
				})
			}
			done.Wait()
		})
	}
	r.sync("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	wg.Wait()
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.recovered != 40 {
		t.Errorf("%d recoveries, want 40", log.recovered)
	}
}

// orderLog checks that the failures of each consumer are counted up, and that no call
// overlaps another.
type orderLog struct {
	t         *testing.T
	mu        sync.Mutex
	last      map[informer.Consumer]int
	recovered int
}

func (l *orderLog) Observe(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
	if !l.mu.TryLock() {
		l.t.Error("two calls of the observer overlap")
		return
	}
	defer l.mu.Unlock()
	switch o := o.(type) {
	case informer.ConsumerFailed:
		if o.Retries != l.last[o.Consumer] {
			l.t.Errorf("%v: failed with %d retries, want %d", o.Consumer, o.Retries, l.last[o.Consumer])
		}
		l.last[o.Consumer]++
	case informer.ConsumerRecovered:
		if o.Retries != l.last[o.Consumer] {
			l.t.Errorf("%v: recovered with %d retries, want %d", o.Consumer, o.Retries, l.last[o.Consumer])
		}
		l.recovered++
		delete(l.last, o.Consumer)
	}
}

var _ informer.Observer = (*orderLog)(nil)
