// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource"
)

// gotten is what a Get returned.
type gotten struct {
	resource resource.Resource[*corev1.Pod]
	release  func()
	err      error
}

// getMany has n goroutines get "a", and New wait meanwhile.
func getMany(r *poolRig, n int, then func(cell.Lifecycle) resource.Resource[*corev1.Pod]) (results <-chan gotten, release func()) {
	gate, all := make(chan struct{}), make(chan gotten, n)
	r.make["a"] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
		<-gate
		return then(lc)
	}
	for range n {
		go func() {
			ended := gotten{err: errors.New("Get did not return")}
			defer func() { all <- ended }()
			ended.resource, ended.release, ended.err = r.pool.Get("a")
		}()
	}
	synctest.Wait()
	return all, func() { close(gate) }
}

// A Get during New waits for it. No lock is held: Get of another key, Stats and Users
// return.
func TestPoolConcurrentGets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, -1, nil)
		results, finish := getMany(r, 10, r.plain)
		r.get("b")
		r.expect(Stats{Used: 2, Starts: 2}, map[string]int{"a": 10, "b": 1})
		if len(results) != 0 {
			t.Error("Get did not wait for New")
		}
		finish()
		first := <-results
		for range 9 {
			if g := <-results; g.err != nil || !same(g.resource, first.resource) {
				t.Errorf("got %v, %v", g.resource, g.err)
			} else {
				g.release()
			}
		}
		r.expect(Stats{Used: 2, Starts: 2}, map[string]int{"a": 1, "b": 1})
		first.release()
		r.expect(Stats{Used: 1, Starts: 2}, map[string]int{"b": 1})
		r.stop()
	})
}

func TestPoolNewCallsPool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, -1, nil)
		r.make["a"] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			inner, release := r.get("b")
			lc.Append(cell.Hook{OnStop: func(cell.HookContext) error {
				release()
				r.pool.Stats()
				return nil
			}})
			return resource.Filter(inner, func(*corev1.Pod) bool { return true })
		}
		_, release := r.get("a")
		r.expect(Stats{Used: 2, Starts: 2}, map[string]int{"a": 1, "b": 1})
		release()
		r.expect(Stats{Starts: 2}, nil)
		r.stop()
	})
}

// A failed start is an error of all waiting Gets. Hooks that have started are stopped,
// and the next Get tries again.
func TestPoolFailedStart(t *testing.T) {
	hookStopped := 0
	precede := func(lc cell.Lifecycle) {
		lc.Append(cell.Hook{OnStop: func(cell.HookContext) error { hookStopped++; return nil }})
	}
	for name, test := range map[string]struct {
		make  func(*poolRig, cell.Lifecycle) resource.Resource[*corev1.Pod]
		is    error
		says  string
		stops int
		exits bool // the goroutine that called New
	}{
		"New panics": {make: func(*poolRig, cell.Lifecycle) resource.Resource[*corev1.Pod] {
			panic("no way")
		}, says: "no way"},
		"New panics with an error": {make: func(*poolRig, cell.Lifecycle) resource.Resource[*corev1.Pod] {
			panic(errTest)
		}, is: errTest},
		"New exits": {make: func(*poolRig, cell.Lifecycle) resource.Resource[*corev1.Pod] {
			runtime.Goexit()
			return nil
		}, says: "ended its goroutine", exits: true},
		"New returns nil": {make: func(_ *poolRig, lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			precede(lc)
			return nil
		}, says: "nil"},
		"New makes no sense": {make: func(_ *poolRig, lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			precede(lc)
			return resource.New[*corev1.Pod](lc, nil)
		}, says: "no ListerWatcher", stops: 1},
		"a hook fails": {make: func(r *poolRig, lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			precede(lc)
			lc.Append(cell.Hook{OnStart: func(cell.HookContext) error { return errTest }})
			return r.plain(lc)
		}, is: errTest, stops: 1},
		"a hook panics": {make: func(r *poolRig, lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			precede(lc)
			lc.Append(cell.Hook{OnStart: func(cell.HookContext) error { panic(errTest) }})
			return r.plain(lc)
		}, is: errTest, stops: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				hookStopped = 0
				r := newPoolRig(t, 0, nil)
				results, finish := getMany(r, 3, func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] { return test.make(r, lc) })
				finish()
				exited := 0
				for range 3 {
					g := <-results
					if g.release == nil {
						exited++
						continue
					}
					g.release()
					if g.err == nil || g.resource != nil || !strings.Contains(g.err.Error(), test.says) ||
						!strings.Contains(g.err.Error(), "of a:") || test.is != nil && !errors.Is(g.err, test.is) {
						t.Errorf("got %v, %v", g.resource, g.err)
					}
				}
				if want := map[bool]int{true: 1}[test.exits]; exited != want {
					t.Errorf("%d Gets did not return, want %d", exited, want)
				}
				r.expect(Stats{Starts: 1, Failures: 1}, nil)
				if hookStopped != test.stops {
					t.Errorf("%d hooks stopped, want %d", hookStopped, test.stops)
				}
				r.make["a"] = nil
				r.get("a")
				r.expect(Stats{Used: 1, Starts: 2, Failures: 1}, map[string]int{"a": 1})
				r.stop()
			})
		})
	}
}

// Stop waits for a resource that is starting. Get returns an error, and the resource is
// stopped.
func TestPoolStopWhileStarting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, 0, nil)
		var made resource.Resource[*corev1.Pod]
		results, finish := getMany(r, 3, func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			made = r.plain(lc)
			return made
		})
		var wg sync.WaitGroup
		wg.Go(r.stop)
		synctest.Wait()
		if n := len(r.pool.held); n != 1 {
			t.Errorf("%d are held", n)
		}
		finish()
		for range 3 {
			if g := <-results; !errors.Is(g.err, resource.ErrStopped) || g.resource != nil {
				t.Errorf("got %v, %v", g.resource, g.err)
			}
		}
		wg.Wait()
		if open(made.Events(t.Context())) {
			t.Error("the resource was not stopped")
		}
		r.expect(Stats{Starts: 1, Failures: 1}, nil)
	})
}
