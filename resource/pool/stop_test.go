// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource"
)

func TestPoolAfterStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newPoolRig(t, 0, nil)
		a, release := r.get("a")
		_, releaseB := r.get("b")
		releaseB()
		r.stop()
		r.stop()
		if open(a.Events(t.Context())) {
			t.Error("a goes on")
		}
		release()
		releaseB()
		if time.Sleep(time.Hour); len(r.pool.Users()) != 0 {
			t.Error("a release after Stop had something linger")
		}
		res, release, err := r.pool.Get("c")
		if !errors.Is(err, resource.ErrStopped) || res != nil || !strings.Contains(err.Error(), "of c:") {
			t.Errorf("got %v, %v", res, err)
		}
		release()
		r.expect(Stats{Starts: 2}, nil)
	})
}

func TestPoolStopOfEmpty(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := newPoolRig(t, 0, nil).pool.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// A context that ends, or has ended, ends the wait of Stop and nothing else: all
// hooks of all resources run.
func TestPoolStopEnds(t *testing.T) {
	for _, allowed := range []time.Duration{0, time.Minute} {
		bubble(t, func(t *testing.T) {
			r := newPoolRig(t, 0, nil)
			finish, ran := make(chan struct{}), 0
			r.make["a"] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
				lc.Append(cell.Hook{OnStop: func(cell.HookContext) error { ran++; return nil }})
				lc.Append(cell.Hook{OnStop: func(ctx cell.HookContext) error {
					<-finish
					return ctx.Err()
				}})
				return r.plain(lc)
			}
			a, _ := r.get("a")
			events := a.Events(t.Context())
			ctx, cancel := context.WithTimeoutCause(t.Context(), allowed, errTest)
			defer cancel()
			begin := time.Now()
			err := r.pool.Stop(ctx)
			if !errors.Is(err, errTest) || !strings.Contains(err.Error(), "of a:") || time.Since(begin) != allowed {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
			if open(events) {
				t.Error("the channel is open")
			}
			close(finish)
			r.stop()
			if ran != 1 {
				t.Errorf("the other hook ran %d times", ran)
			}
		})
	}
}

// The error of a stop hook is logged with the key. After Stop was called, Stop returns it
// as well.
func TestPoolStopErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newPoolRig(t, -1, slog.New(slog.NewTextHandler(&log, nil)))
		for _, key := range []string{"a", "b"} {
			r.make[key] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
				lc.Append(cell.Hook{OnStop: func(cell.HookContext) error { return fmt.Errorf("it sticks: %w", errTest) }})
				return r.plain(lc)
			}
		}
		_, release := r.get("a")
		r.get("b")
		release()
		synctest.Wait()
		if strings.Count(log.String(), "it sticks") != 1 || !strings.Contains(log.String(), "key=a") {
			t.Errorf("the log is %q", log.String())
		}
		for range 2 {
			err := r.pool.Stop(t.Context())
			if !errors.Is(err, errTest) || !strings.Contains(err.Error(), "of b:") || strings.Contains(err.Error(), "of a:") {
				t.Errorf("Stop returned %v", err)
			}
		}
		if strings.Count(log.String(), "it sticks") != 2 || !strings.Contains(log.String(), "key=b") {
			t.Errorf("the log is %q", log.String())
		}
	})
}

func TestPoolLogsPanics(t *testing.T) {
	var log bytes.Buffer
	r := newPoolRig(t, 0, slog.New(slog.NewTextHandler(&log, nil)))
	r.make["a"] = func(cell.Lifecycle) resource.Resource[*corev1.Pod] { panic("no way") }
	_, _, _ = r.pool.Get("a")
	for _, want := range []string{"key=a", "no way", "stop_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log: %q", want, log.String())
		}
	}
	r.stop()
}

// Many goroutines get, use and release resources, while Stop is called.
func TestPoolStress(t *testing.T) {
	const workers, rounds = 8, 300
	for _, linger := range []time.Duration{-1, time.Nanosecond, 100 * time.Microsecond} {
		for _, early := range []bool{false, true} {
			r := newPoolRig(t, linger, nil)
			var wg sync.WaitGroup
			half := make(chan struct{})
			for w := range workers {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(7, uint64(w)))
					for i := range rounds {
						if w == 0 && i == rounds/2 {
							close(half)
						}
						res, release, err := r.pool.Get(string(rune('a' + rng.IntN(3))))
						if err != nil {
							if !early || !errors.Is(err, resource.ErrStopped) {
								t.Error(err)
							}
							continue
						}
						if e := res.Events(t.Context()); !early {
							select {
							case <-e:
								t.Error("a resource that is in use was stopped")
							default:
							}
						}
						wg.Go(release)
						release()
					}
				})
			}
			if early {
				<-half
				r.stop()
			}
			wg.Wait()
			r.stop()
			if s := r.pool.Stats(); s.Used+s.Lingering+s.Stopping != 0 || s.Starts == 0 {
				t.Errorf("in the end %+v", s)
			}
		}
	}
}

// A stop hook that panics has failed: the resource, whose hook is called after it,
// stops, and the panic is reported with the key and the stack.
func TestStopHookThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newPoolRig(t, -1, slog.New(slog.NewTextHandler(&log, nil)))
		r.make["a"] = func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
			res := r.plain(lc)
			lc.Append(cell.Hook{OnStop: func(cell.HookContext) error { panic(errTest) }})
			lc.Append(earlyHook{})
			return res
		}
		a, release := r.get("a")
		events := a.Events(t.Context())
		release()
		synctest.Wait()
		if open(events) {
			t.Error("the resource goes on")
		}
		r.stop()
		for _, want := range []string{"stop hook panicked", "early hook", "key=a", "stop_test.go:", "stack="} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is missing in %s", want, log.String())
			}
		}
	})
}

// earlyHook stops before all others.
type earlyHook struct{ cell.Hook }

func (earlyHook) Stop(cell.HookContext) error { return errors.New("early hook") }
func (earlyHook) PreStopHookMarker()          {}
