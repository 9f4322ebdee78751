// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/resource"
)

type podPool = Pool[string, *corev1.Pod]

// poolRig has a pool whose resources request into the void. How a key behaves that
// is not as the others says make.
type poolRig struct {
	t        testing.TB
	pool     *podPool
	make     map[string]func(cell.Lifecycle) resource.Resource[*corev1.Pod]
	requests chan struct{}
}

func newPoolRig(t testing.TB, linger time.Duration, log *slog.Logger) *poolRig {
	t.Helper()
	r := &poolRig{t: t, make: map[string]func(cell.Lifecycle) resource.Resource[*corev1.Pod]{}, requests: make(chan struct{}, 1000)}
	if log == nil {
		log = quiet()
	}
	pool, err := New(Config[string, *corev1.Pod]{New: r.new, Linger: linger, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r.pool = pool
	return r
}

func (r *poolRig) new(lc cell.Lifecycle, key string) resource.Resource[*corev1.Pod] {
	if make := r.make[key]; make != nil {
		return make(lc)
	}
	return r.plain(lc)
}

// comparablePods is a resource that can be compared with another.
type comparablePods struct{ resource.Resource[*corev1.Pod] }

func (r *poolRig) plain(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
	return &comparablePods{resource.NewFromSource[*corev1.Pod](lc, servertest.Silent[*corev1.Pod]{Lists: r.requests}, resource.WithLogger(quiet()))}
}

func (r *poolRig) get(key string) (resource.Resource[*corev1.Pod], func()) {
	r.t.Helper()
	res, release, err := r.pool.Get(key)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, release
}

func (r *poolRig) stop() {
	r.t.Helper()
	if err := r.pool.Stop(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// expect compares Stats and Users of the pool.
func (r *poolRig) expect(want Stats, users map[string]int) {
	r.t.Helper()
	synctest.Wait()
	if got := r.pool.Stats(); got != want {
		r.t.Errorf("stats are %+v, want %+v", got, want)
	}
	if got := r.pool.Users(); !maps.Equal(got, users) {
		r.t.Errorf("users are %v, want %v", got, users)
	}
}

func same(a, b resource.Resource[*corev1.Pod]) bool {
	return a == b
}

func open(events <-chan podEvent) bool {
	synctest.Wait()
	select {
	case _, ok := <-events:
		return ok
	default:
		return true
	}
}

func TestNewPool(t *testing.T) {
	if _, err := New(Config[string, *corev1.Pod]{}); err == nil {
		t.Error("a pool without New")
	}
}

func TestPoolShares(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, 0, nil)
		a, releaseA := r.get("a")
		again, releaseAgain := r.get("a")
		b, _ := r.get("b")
		if !same(a, again) || same(a, b) {
			t.Errorf("a is shared: %v, a and b are the same: %v", same(a, again), same(a, b))
		}
		r.expect(Stats{Used: 2, Starts: 2}, map[string]int{"a": 2, "b": 1})
		releaseA()
		releaseA() // counts once
		r.expect(Stats{Used: 2, Starts: 2}, map[string]int{"a": 1, "b": 1})
		releaseAgain()
		r.expect(Stats{Used: 1, Lingering: 1, Starts: 2}, map[string]int{"a": 0, "b": 1})
		time.Sleep(DefaultLinger + time.Nanosecond)
		r.expect(Stats{Used: 1, Starts: 2}, map[string]int{"b": 1})
		r.stop()
		r.expect(Stats{Starts: 2}, nil)
	})
}

// A resource of a pool has started, and is as lazy as any.
func TestPoolIsLazy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, 0, nil)
		a, release := r.get("a")
		release()
		synctest.Wait()
		if len(r.requests) != 0 {
			t.Error("a request that nobody made")
		}
		a.Events(t.Context())
		synctest.Wait()
		if len(r.requests) != 1 {
			t.Errorf("%d requests, want 1", len(r.requests))
		}
		r.stop()
	})
}

// A subscriber with a context that does not end, and that does not read, stays until the
// resource stops. Its channel is then closed.
func TestPoolAbandonedSubscriber(t *testing.T) {
	for name, end := range map[string]func(*poolRig){
		"linger": func(*poolRig) { time.Sleep(DefaultLinger + time.Nanosecond) },
		"stop":   (*poolRig).stop,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newPoolRig(t, 0, nil)
				defer r.stop()
				a, release := r.get("a")
				events := a.Events(t.Context())
				release()
				time.Sleep(DefaultLinger - time.Nanosecond)
				if !open(events) {
					t.Fatal("the channel is closed while the resource lingers")
				}
				end(r)
				if open(events) {
					t.Error("the channel is open")
				}
			})
		})
	}
}

func TestPoolLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, time.Minute, nil)
		a, release := r.get("a")
		release()
		time.Sleep(time.Minute - time.Nanosecond)
		revived, release := r.get("a")
		if !same(revived, a) {
			t.Error("what lingered was not taken up again")
		}
		time.Sleep(time.Hour)
		r.expect(Stats{Used: 1, Starts: 1}, map[string]int{"a": 1})
		release()
		time.Sleep(time.Minute - time.Nanosecond)
		r.expect(Stats{Lingering: 1, Starts: 1}, map[string]int{"a": 0})
		time.Sleep(time.Nanosecond)
		r.expect(Stats{Starts: 1}, nil)
		if other, _ := r.get("a"); same(other, a) {
			t.Error("what was stopped is used again")
		}
		r.stop()
	})
}

// A timer that fires while its resource is used again does not end later lingers.
func TestPoolStaleTimer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, time.Minute, nil)
		_, release := r.get("a")
		e := r.pool.current["a"]
		release()
		rest := e.rests
		_, release = r.get("a")
		r.pool.expire(e, rest)
		r.expect(Stats{Used: 1, Starts: 1}, map[string]int{"a": 1})
		release()
		r.pool.expire(e, rest)
		r.expect(Stats{Lingering: 1, Starts: 1}, map[string]int{"a": 0})
		time.Sleep(time.Minute)
		r.expect(Stats{Starts: 1}, nil)
		r.pool.expire(e, e.rests)
		r.stop()
	})
}

func TestPoolWithoutLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, -1, nil)
		a, release := r.get("a")
		events := a.Events(t.Context())
		begin := time.Now()
		release()
		if open(events) {
			t.Error("the channel is open")
		}
		r.expect(Stats{Starts: 1}, nil)
		if time.Since(begin) != 0 {
			t.Error("it took a while")
		}
		r.stop()
	})
}

// While the resource of a key is being stopped, a Get of the key starts another one. Stop
// waits for both.
func TestPoolGetWhileStopping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, -1, nil)
		finish := make(chan struct{})
		r.make["a"] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			lc.Append(cell.Hook{OnStop: func(cell.HookContext) error { <-finish; return nil }})
			return r.plain(lc)
		}
		old, release := r.get("a")
		release()
		r.expect(Stats{Stopping: 1, Starts: 1}, nil)
		fresh, _ := r.get("a")
		if same(fresh, old) {
			t.Error("what is being stopped is used again")
		}
		r.expect(Stats{Used: 1, Stopping: 1, Starts: 2}, map[string]int{"a": 1})
		if events := fresh.Events(t.Context()); !open(events) {
			t.Error("the new resource does not work")
		}
		stopped := make(chan struct{})
		go func() { defer close(stopped); r.stop() }()
		r.expect(Stats{Stopping: 2, Starts: 2}, nil)
		select {
		case <-stopped:
			t.Error("Stop did not wait")
		default:
		}
		close(finish)
		<-stopped
		r.expect(Stats{Starts: 2}, nil)
	})
}

// The Sync that waits to be received is not handed out after the end of the
// subscription, or of the resource.
func TestPoolNoEventAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(r *poolRig, cancel, release func()){
		"cancel": func(_ *poolRig, cancel, _ func()) { cancel() },
		"stop":   func(r *poolRig, _, _ func()) { r.stop() },
		"linger": func(_ *poolRig, _, release func()) {
			release()
			time.Sleep(2 * time.Second)
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newPoolRig(t, time.Second, nil)
				defer r.stop()
				r.make["a"] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
					return resource.NewFromSource[*corev1.Pod](lc, servertest.OneList[*corev1.Pod]{}, resource.WithLogger(quiet()))
				}
				pods, release := r.get("a")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var subscriptions []<-chan podEvent
				for range 20 {
					subscriptions = append(subscriptions, pods.Events(ctx))
				}
				synctest.Wait() // each is offered its Sync
				end(r, cancel, release)
				for _, events := range subscriptions {
					if e, ok := <-events; ok {
						t.Fatalf("got %q after the end", e.Kind)
					}
				}
			})
		})
	}
}
