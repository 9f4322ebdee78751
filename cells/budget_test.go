// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// listing counts the lists of an API server that are under way, streamed ones
// included. Each takes a second of virtual time.
type listing struct {
	mu        sync.Mutex
	now, most int
	begun     []time.Time
	expired   map[string]bool // namespaces whose next watch is told that its version is gone
}

func (l *listing) intercept(ctx context.Context, r fakeapi.Request) error {
	isList := r.Verb == "list" || r.Options.SendInitialEvents != nil
	if r.Verb == "" || !isList {
		l.mu.Lock()
		defer l.mu.Unlock()
		if r.Verb == "watch" && l.expired[r.Namespace] {
			delete(l.expired, r.Namespace)
			return apierrors.NewResourceExpired("the version is gone")
		}
		return nil
	}
	l.mu.Lock()
	l.now++
	l.most = max(l.most, l.now)
	l.begun = append(l.begun, time.Now())
	l.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now--
	return nil
}

// take returns what was counted, and begins anew.
func (l *listing) take() (most int, begun []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, begun = l.most, l.begun
	l.most, l.begun = 0, nil
	return most, begun
}

// Twenty resources of a hive share the list budget of the process, or the one that
// they are given. First lists begin at once, and the lists after a disconnect are
// spread.
func TestResourcesShareTheListBudget(t *testing.T) {
	const resources = 20
	namespace := func(i int) string { return fmt.Sprint("ns-", i) }
	own, err := informer.NewListBudget(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings informer.Settings
		most     int
		spread   bool
	}{
		"of the process, streamed": {informer.Settings{}, 16, true},
		"of the process, paged":    {informer.Settings{Lists: informer.ListPaged}, 16, true},
		"of their own":             {informer.Settings{ListBudget: own}, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, lists := fakeapi.New(), &listing{expired: map[string]bool{}}
				api.Intercept(lists.intercept)
				var all []resource.Resource[*corev1.Pod]
				h := hive.New(withFake(api), cell.Invoke(func(p Params) error {
					for i := range resources {
						r, err := NewResource[*corev1.Pod](p, InNamespace(namespace(i)), With(resource.WithSettings(test.settings)))
						if err != nil {
							return err
						}
						all = append(all, r)
					}
					return nil
				}))
				if err := h.Start(quiet(), t.Context()); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := h.Stop(quiet(), context.Background()); err != nil {
						t.Error(err)
					}
				}()
				start := time.Now()
				for _, r := range all {
					r.Events(t.Context())
				}
				time.Sleep(resources * time.Second)
				for _, r := range all {
					storeOf(t, t.Context(), r)
				}
				most, begun := lists.take()
				if most != test.most || len(begun) != resources || !begun[test.most-1].Equal(start) {
					t.Errorf("%d lists, %d at a time, the first %d within %v; want %d at a time, at once",
						len(begun), most, test.most, begun[test.most-1].Sub(start), test.most)
				}

				for i := range resources {
					lists.expired[namespace(i)] = true
				}
				start = time.Now()
				api.Disconnect()
				time.Sleep(resources * time.Second)
				most, begun = lists.take()
				if most > test.most || len(begun) != resources {
					t.Fatalf("%d lists, %d at a time, after a disconnect", len(begun), most)
				}
				distinct := map[time.Time]bool{}
				for _, at := range begun[:test.most] {
					distinct[at] = true
					if after := at.Sub(start); after >= time.Second {
						t.Errorf("a list began after %v", after)
					}
				}
				if spread := len(distinct) > test.most/2; spread != test.spread {
					t.Errorf("lists began at %d moments after a disconnect", len(distinct))
				}
			})
		})
	}
}

// The informers of an engine share the list budget that it is given.
func TestStatusListBudget(t *testing.T) {
	budget, err := informer.NewListBudget(2, 0)
	if err != nil {
		t.Fatal(err)
	}
	playStatus(t, status.Config{ListBudget: budget}, func(r *statusRig) {
		lists := &listing{}
		r.api.Intercept(lists.intercept)
		var ids []status.ID
		for _, namespace := range []string{"a", "b", "c", "d", "e"} {
			ids = append(ids, idOf("Pod", namespace, "web"))
		}
		w := r.watch(ids...)
		time.Sleep(10 * time.Second)
		r.is(w, "web NotFound", "web NotFound", "web NotFound", "web NotFound", "web NotFound")
		if most, begun := lists.take(); most != 2 || len(begun) != len(ids) {
			r.Errorf("%d lists, %d at a time", len(begun), most)
		}
	})
}
