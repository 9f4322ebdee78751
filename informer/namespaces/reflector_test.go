// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/store"
)

// What is added is listed and watched, what is removed is deleted, what stays is not touched.
func TestSetChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, "a", "b")
		r.put("a/x", "b/x", "c/x")
		stop := r.start()
		r.wantChanges("added a/x", "added b/x")
		r.wantSynced(1)
		r.must(r.set.Set("b", "c", "c"))
		r.wantChanges("added c/x", "deleted a/x")
		r.put("a/y", "b/y", "c/y")
		r.wantChanges("added b/y", "added c/y")
		if n := r.lists("b"); n != 1 {
			t.Errorf("%d lists of the namespace that stays", n)
		}
		r.must(r.set.Add("a"))
		r.set.Remove("c", "none")
		r.wantChanges("added a/x", "added a/y", "deleted c/x", "deleted c/y")
		r.set.Remove("a")
		r.must(r.set.Add("a")) // before it is seen, or after
		synctest.Wait()
		r.mu.Lock()
		r.changes = nil
		r.mu.Unlock()
		r.put("a/z")
		r.wantChanges("added a/z")
		r.must(r.set.Set())
		r.wantChanges("deleted a/x", "deleted a/y", "deleted a/z", "deleted b/x", "deleted b/y")
		if info := r.Info(); info.State != informer.StateIdle || info.WatchEvents == 0 || info.Panics != 0 {
			t.Errorf("%+v", info)
		}
		r.must(r.set.Set("b"))
		r.wantChanges("added b/x", "added b/y")
		stop()
		r.wantChanges() // the objects stay
		r.wantSynced(1)
		if err := r.Run(t.Context()); err == nil {
			t.Error("it runs again")
		}
		if got := r.events[0]; got != "2: +[a b] -[]" {
			t.Errorf("the first event is %q", got)
		}
		if !slices.Contains(r.events, "2: +[c] -[a]") {
			t.Errorf("events %q", r.events)
		}
	})
}

// An empty set is synced, and has no objects.
func TestEmptySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.put("a/x")
		r.start()
		r.wantSynced(1)
		r.wantChanges()
		r.must(r.set.Add("a"))
		r.wantChanges("added a/x")
	})
}

// Synced waits for the namespaces that are in the set at that moment. The others work.
func TestForbiddenNamespace(t *testing.T) {
	for _, removed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil, "a", "b", "c")
			r.put("a/x", "b/x", "c/x")
			var allowed atomic.Bool
			r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
				if req.Namespace == "b" && !allowed.Load() {
					return forbidden(req)
				}
				return nil
			})
			r.start()
			r.wantChanges("added a/x", "added c/x")
			r.wantSynced(0)
			info := r.Info()
			if info.Namespace != "b" || info.Cause != informer.CauseForbidden || info.Passes != 0 || info.Version != "" ||
				!strings.Contains(info.Err.Error(), "configmaps in namespace b: ") {
				t.Errorf("%+v", info)
			}
			members := r.Members()
			if len(members) != 3 || members[0].Passes != 1 || members[0].Err != nil || members[1].Namespace != "b" || members[1].Err == nil {
				t.Errorf("members %+v", members)
			}
			if removed {
				r.set.Remove("b")
				r.wantChanges()
			} else {
				allowed.Store(true)
				time.Sleep(time.Minute)
				r.wantChanges("added b/x")
			}
			r.wantSynced(1)
			if info := r.Info(); info.Err != nil || info.Namespace != "" || info.Passes < 2 || info.State != informer.StateWatching {
				t.Errorf("%+v", info)
			}
		})
	}
}

// A namespace is removed while its list is under way. The list of the same namespace begins
// when the request of the old one has ended.
func TestRemoveWithinList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *namespaces.Config[*corev1.ConfigMap]) { cfg.Lists, cfg.PageSize = informer.ListPaged, 1 }, "a", "b")
		r.put("a/x", "b/x", "b/y")
		hold := make(chan struct{})
		var held atomic.Int32
		r.api.Intercept(func(ctx context.Context, req fakeapi.Request) error {
			if req.Namespace == "b" && req.Options.Continue != "" {
				held.Add(1)
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			return nil
		})
		r.start()
		r.wantChanges("added a/x", "added b/x")
		r.wantSynced(0)
		r.set.Remove("b")
		r.wantChanges("deleted b/x")
		r.wantSynced(1)
		r.must(r.set.Add("b"))
		r.wantChanges("added b/x")
		close(hold)
		r.wantChanges("added b/y")
		if held.Load() != 2 {
			t.Errorf("%d second pages were requested", held.Load())
		}
	})
}

// stuck is a source whose List ignores its context.
type stuck struct {
	informer.Source[*corev1.ConfigMap]
	end <-chan struct{}
}

func (s stuck) WatchList() bool { return false }

func (s stuck) List(context.Context, metav1.ListOptions, func(informer.Item[*corev1.ConfigMap]) error) (informer.Page, error) {
	<-s.end
	return informer.Page{}, errors.New("too late")
}

// A request that ignores its context delays only its own namespace.
func TestStuckNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		calls := 0
		r := newRig(t, func(cfg *namespaces.Config[*corev1.ConfigMap]) {
			of := cfg.Source
			cfg.Source = func(namespace string) informer.Source[*corev1.ConfigMap] {
				if calls++; namespace == "b" && calls < 4 { // of default, a and b
					return stuck{of(namespace), end}
				}
				return of(namespace)
			}
		}, "a", "b")
		r.put("a/x", "b/x", "c/x")
		r.start()
		r.wantChanges("added a/x")
		r.must(r.set.Set("a", "c"))
		r.wantChanges("added c/x")
		r.must(r.set.Add("b"))
		r.wantChanges()
		close(end)
		r.wantChanges("added b/x")
	})
}

// The lists of all namespaces share one budget, and Resync lists each.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		budget, err := informer.NewListBudget(3, 0)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, func(cfg *namespaces.Config[*corev1.ConfigMap]) {
			cfg.ListBudget, cfg.Lists = budget, informer.ListPaged
		})
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("n", i))
			r.put(names[i] + "/x")
		}
		r.must(r.set.Set(names...))
		var mu sync.Mutex
		now, most := 0, 0
		r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
			if req.Verb != "list" {
				return nil
			}
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			now--
			return nil
		})
		r.start()
		time.Sleep(time.Second)
		r.wantSynced(1)
		if r.store.Len() != n || most != 3 {
			t.Errorf("%d objects, %d lists at a time", r.store.Len(), most)
		}
		r.Resync(errors.New("asked"))
		time.Sleep(10 * time.Second)
		if info := r.Info(); info.Passes != 2*n || r.lists("n7") != 2 {
			t.Errorf("%d passes, %d lists of one namespace", info.Passes, r.lists("n7"))
		}
	})
}

// A source that cannot be made fails as one that cannot be read.
func TestNoSource(t *testing.T) {
	for text, bad := range map[string]func() informer.Source[*corev1.ConfigMap]{
		"there is no source for namespace b: Config.Source returned nil": func() informer.Source[*corev1.ConfigMap] { return nil },
		"source of a namespace panicked: no":                             func() informer.Source[*corev1.ConfigMap] { panic("no") },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(cfg *namespaces.Config[*corev1.ConfigMap]) {
				of := cfg.Source
				cfg.Source = func(namespace string) informer.Source[*corev1.ConfigMap] {
					if namespace == "b" {
						return bad()
					}
					return of(namespace)
				}
			}, "a", "b")
			r.put("a/x", "b/x")
			r.start()
			r.wantChanges("added a/x")
			if info := r.Info(); info.Namespace != "b" || !strings.Contains(info.Err.Error(), text) {
				t.Errorf("%+v", info)
			}
			r.set.Remove("b")
			r.wantSynced(1)
		})
	}
}

// Reports of consumers have no namespace, also while one fails.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported []informer.ReflectorInfo
		r := newRig(t, func(cfg *namespaces.Config[*corev1.ConfigMap]) {
			cfg.Observer = informer.Observers(
				informer.ObserverFunc(func(informer.ReflectorInfo, informer.ReflectorEvent) { panic("the others get it") }),
				informer.ObserverFunc(func(info informer.ReflectorInfo, o informer.ReflectorEvent) {
					if _, ok := o.(informer.ConsumerFailed); ok {
						reported = append(reported, info)
					}
				}))
		}, "a")
		r.api.Intercept(func(_ context.Context, req fakeapi.Request) error { return forbidden(req) })
		r.start()
		r.Report(informer.ConsumerFailed{})
		if len(reported) != 1 || reported[0].Namespace != "" || reported[0].Name != "configmaps" || r.Info().Panics == 0 {
			t.Errorf("%+v, %d panics", reported, r.Info().Panics)
		}
	})
}

func TestNewReflectorErrors(t *testing.T) {
	set, err := namespaces.NewSet("a")
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(store.Config[*corev1.ConfigMap]{})
	if err != nil {
		t.Fatal(err)
	}
	src := func(string) informer.Source[*corev1.ConfigMap] { return stuck{} }
	for want, cfg := range map[string]namespaces.Config[*corev1.ConfigMap]{
		"Config.Set is nil":              {Store: s, Source: src},
		"Config.Source is nil":           {Set: set, Store: s},
		"Config.Store is nil":            {Set: set, Source: src},
		"Settings.PageSize is -1":        {Set: set, Store: s, Source: src, Settings: informer.Settings{PageSize: -1}},
		"Settings.CheckMetadata is set":  {Set: set, Store: s, Source: src, Settings: informer.Settings{CheckMetadata: true}},
		"source of a namespace panicked": {Set: set, Store: s, Source: func(string) informer.Source[*corev1.ConfigMap] { panic("no") }, Log: slog.New(slog.DiscardHandler)},
	} {
		if _, err := namespaces.NewReflector(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
