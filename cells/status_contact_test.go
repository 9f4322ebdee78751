// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// fail has every request fail, as err says.
func (r *statusRig) fail(err func() error) {
	r.api.Intercept(func(context.Context, fakeapi.Request) error { return err() })
}

// Who is not known to the server any more is not told what was known before as if it
// still were so.
func TestStatusUnauthorized(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watchFor(time.Hour, idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		begun := time.Now()
		r.fail(func() error { return apierrors.NewUnauthorized("expired") })
		r.api.Disconnect()
		r.events(w, "one Current/Transient")
		if took := time.Since(begun); took > time.Minute {
			r.Errorf("it took %v", took)
		}
		if s := w.Statuses()[0]; s.Stale.IsZero() || !apierrors.IsUnauthorized(errors.Unwrap(s.Err)) {
			r.Errorf("not stale, or not for that: %+v", s)
		}
		other := r.watchFor(time.Hour, idOf("Pod", "a", "other"))
		r.events(other, "other Unknown/Transient", "synced")
		r.api.Intercept(nil)
		r.events(w, "one Current")
		time.Sleep(time.Minute) // it can be stale for a moment
		r.is(other, "other NotFound")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// A status is stale since the first failure, whatever others follow.
func TestStatusStaleSince(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		times := 0
		r.fail(func() error {
			if times++; times%2 == 0 {
				return apierrors.NewServiceUnavailable("later")
			}
			return errors.New("no route")
		})
		r.api.Disconnect()
		time.Sleep(time.Minute)
		synctest.Wait()
		first := w.Statuses()[0]
		if first.Stale.IsZero() {
			r.Fatalf("not stale: %+v", first)
		}
		for range 20 {
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if later := w.Statuses()[0]; !later.Stale.Equal(first.Stale) {
				r.Fatalf("stale since %v, and later since %v", first.Stale, later.Stale)
			}
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// When a watch is open again, what was missed comes before the old status is told as
// up to date.
func TestStatusReconnect(t *testing.T) {
	for _, compact := range []bool{false, true} {
		playStatus(t, status.Config{}, func(r *statusRig) {
			w := r.watch(idOf("Pod", "a", "one"))
			var seen []string
			go func() {
				for ev := range w.Events() {
					if ev.Type == status.ResourceUpdate {
						seen = append(seen, short(ev.Resource))
					}
				}
			}()
			synctest.Wait()
			r.fail(func() error { return errors.New("no route") })
			r.api.Disconnect()
			time.Sleep(time.Minute)
			r.update(podIn(corev1.PodPending, "a", "one", 0))
			if compact {
				r.api.Compact()
			}
			r.api.Intercept(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			for i, text := range seen {
				if i > 0 && text == "one Current" || seen[len(seen)-1] != "one InProgress" {
					r.Errorf("compacted %v: told %q", compact, seen)
				}
			}
		}, podIn(corev1.PodRunning, "a", "one", 0))
	}
}

// A watch that opens and breaks at once does not end the trouble, and one that goes on
// does.
func TestStatusReconnectInVain(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		r.fail(func() error { return errors.New("no route") })
		r.api.Disconnect()
		r.events(w, "one Current/Transient")
		since := w.Statuses()[0].Stale
		for range 3 { // for less than a minute: a list follows then
			opened := len(r.api.Requests())
			r.api.Intercept(nil)
			for len(r.api.Requests()) == opened {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			r.fail(func() error { return errors.New("no route") })
			r.api.Disconnect()
			r.is(w, "one Current/Transient")
			time.Sleep(10 * time.Second)
			r.is(w, "one Current/Transient")
		}
		if again := w.Statuses()[0].Stale; !again.Equal(since) {
			r.Errorf("stale since %v, and later since %v", since, again)
		}
		r.api.Intercept(nil)
		r.events(w, "one Current")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// The error is the newest one. One that differs from it by numbers is no news.
func TestStatusNewestError(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watchFor(time.Hour, idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		begun := time.Now()
		var port atomic.Int64
		port.Store(40000)
		r.fail(func() error { return fmt.Errorf("etcd is down: read from port %d", port.Add(1)) })
		r.api.Disconnect()
		r.events(w, "one Current/Transient")
		time.Sleep(5 * time.Minute)
		if s := w.Statuses()[0]; !strings.Contains(s.Err.Error(), "port 40001") || port.Load() < 40005 {
			r.Errorf("got %v after port %d", s.Err, port.Load())
		}
		r.fail(func() error { return errors.New("webhook is broken") })
		r.events(w, "one Current/Transient")
		if s := w.Statuses()[0]; !strings.Contains(s.Err.Error(), "webhook is broken") || s.Stale.Sub(begun) > time.Minute {
			r.Errorf("got %+v", s)
		}
		r.api.Intercept(nil)
		r.events(w, "one Current")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// A streamed list that is ignored is no trouble while the list in pages is awaited.
func TestStatusWithoutStreamedLists(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		r.api.Intercept(func(ctx context.Context, req fakeapi.Request) error {
			if req.Resource.Resource == "pods" && (req.Verb == "list" || req.Options.SendInitialEvents != nil) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		w := r.watch(idOf("Pod", "a", "one"))
		time.Sleep(20 * time.Second)
		r.is(w, "one Unknown/NotObserved")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// An ID that cannot name an object is said to be that, and not to be awaited.
func TestStatusHealthOfAnInvalidID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := newHealthLog()
		h := hive.New(withFake(fakeapi.New()), Status, StatusHealth("shop", idOf("Pod", "", "one")), cell.Provide(func() cell.Health { return health }))
		if err := h.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		health.await(t, "shop Degraded: 1 of 1 objects are not Current: Pod one: Unknown (InvalidID)", "give one")
		if err := h.Stop(quiet(), context.Background()); err != nil {
			t.Error(err)
		}
	})
}
