// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// follower checks that the events of each key are legal, and keeps what they make up.
type follower struct {
	t      *testing.T
	synced bool

	mu    sync.Mutex
	state map[store.Key]string // UID and version
}

// follow reads events until ctx ends. Some of them fail at first.
func (f *follower) follow(ctx context.Context, r resource.Resource[*corev1.Pod], failing float64, slow time.Duration) {
	retry := resource.WithErrorHandler(resource.AlwaysRetry)
	for ev := range r.Events(ctx, retry) {
		if ev.Kind == resource.Sync {
			if f.synced {
				f.t.Error("a second Sync")
			}
			f.synced = true
			ev.Done(nil)
			continue
		}
		f.mu.Lock()
		was, known := f.state[ev.Key]
		switch is := string(ev.Object.UID) + "@" + ev.Object.ResourceVersion; {
		case ev.Kind == resource.Upsert:
			f.state[ev.Key] = is
		case !known:
			f.t.Errorf("Delete of %s, which was not shown", ev.Key)
		case was != is:
			f.t.Errorf("Delete of %s shows %s, the last Upsert %s", ev.Key, is, was)
		}
		var err error
		if rand.Float64() < failing {
			err = errors.New("not yet")
		} else if ev.Kind == resource.Delete {
			delete(f.state, ev.Key)
		}
		f.mu.Unlock()
		time.Sleep(slow)
		ev.Done(err)
	}
}

// TestNamespacesHistory plays random writes, changes of the set, expired versions, cut watches
// and namespaces without permission. In the end the store, and what the events make up, are what
// the server has in the namespaces of the set.
func TestNamespacesHistory(t *testing.T) {
	for seed := range uint64(15) {
		synctest.Test(t, func(t *testing.T) { playNamespaces(t, seed) })
	}
}

func playNamespaces(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 18))
	all := []string{"a", "b", "c", "d", "e"}
	some := func() (names []string) {
		for _, name := range all {
			if rng.IntN(2) == 0 {
				names = append(names, name)
			}
		}
		return names
	}
	api := fakeapi.New()
	set, err := namespaces.NewSet(some()...)
	if err != nil {
		t.Fatal(err)
	}
	denied := ""
	var mu sync.Mutex
	deny := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		denied = name
	}
	outside(api, func(namespace string) bool {
		mu.Lock()
		defer mu.Unlock()
		return namespace != "" && namespace != denied
	})
	exists := map[string]bool{}
	step := func() error {
		ns, name := all[rng.IntN(len(all))], fmt.Sprint("p", rng.IntN(4))
		p := pod(ns, name, "step", fmt.Sprint(rng.Int()))
		switch key := ns + "/" + name; rng.IntN(12) {
		case 0:
			return set.Set(some()...)
		case 1:
			set.Remove(ns)
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
			}
			return set.Add(ns)
		case 2:
			api.Compact()
			api.Disconnect()
		case 3:
			deny(ns)
			api.Disconnect()
		case 4:
			deny("")
		case 5:
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		case 6, 7:
			if exists[key] {
				exists[key] = false
				return api.Remove(p)
			}
		default:
			if exists[key] {
				return api.Update(p)
			}
			exists[key] = true
			return api.Add(p)
		}
		return nil
	}
	settings := informer.Settings{PageSize: 1 + rng.Int64N(4), Backoff: informer.Backoff{Initial: time.Millisecond, Max: 10 * time.Millisecond, Denied: time.Millisecond}}
	err = run(t, quiet(), nil, withFake(api),
		Resource[*corev1.Pod](InNamespaceSet(set), With(resource.WithSettings(settings))),
		atStart(t, func(_ context.Context, r resource.Resource[*corev1.Pod]) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			followers := []*follower{}
			var following sync.WaitGroup
			add := func(failing float64, slow time.Duration) {
				f := &follower{t: t, state: map[store.Key]string{}}
				followers = append(followers, f)
				following.Go(func() { f.follow(ctx, r, failing, slow) })
			}
			add(0, 0)
			add(0.2, time.Millisecond)
			for i := range 150 {
				if err := step(); err != nil {
					t.Errorf("step %d: %v", i, err)
				}
				if rng.IntN(3) == 0 {
					time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
				}
				if i == 75 {
					add(0.1, 0)
				}
			}
			deny("")
			time.Sleep(10 * time.Minute)
			synctest.Wait()

			want := map[store.Key]string{}
			objects, err := api.List("pods", "")
			if err != nil {
				t.Error(err)
			}
			for _, obj := range objects {
				if p := obj.(*corev1.Pod); slices.Contains(set.Names(), p.Namespace) {
					want[store.KeyOf(p)] = string(p.UID) + "@" + p.ResourceVersion
				}
			}
			got := map[store.Key]string{}
			for key, p := range storeOf(t, ctx, r).All() {
				got[key] = string(p.UID) + "@" + p.ResourceVersion
			}
			if !maps.Equal(got, want) {
				t.Errorf("seed %d: the store has\n%v\nthe server has, in %v,\n%v", seed, got, set.Names(), want)
			}
			for i, f := range followers {
				f.mu.Lock()
				if !f.synced || !maps.Equal(f.state, want) {
					t.Errorf("seed %d: the events of subscriber %d make up\n%v\nsynced %t, want\n%v", seed, i, f.state, f.synced, want)
				}
				f.mu.Unlock()
			}
			cancel()
			following.Wait()
			return nil
		}))
	if err != nil {
		t.Error(err)
	}
}
