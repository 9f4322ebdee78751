// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
	"github.com/apiary-go/apiary/store"
)

const unusedTime = time.Minute

var silent = slog.New(slog.DiscardHandler)

// unusedRig has a resource that stops unusedTime after its last use.
type unusedRig struct {
	*resourcetest.Fake[*corev1.Pod]
	t    *testing.T
	pods resource.Resource[*corev1.Pod]

	mu       sync.Mutex
	observed []string // stops and starts
}

func newUnusedRig(t *testing.T, opts ...resource.Option) *unusedRig {
	r := &unusedRig{t: t}
	opts = append([]resource.Option{
		resource.WithStopUnused(unusedTime), resource.WithObserver(informer.ObserverFunc(r.observe)),
		resource.WithLogger(silent),
		resource.WithIndexers(cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
	}, opts...)
	r.Fake = resourcetest.New[*corev1.Pod](t, opts...)
	r.pods = r.Resource()
	r.Sync()
	return r
}

func (r *unusedRig) observe(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch o := o.(type) {
	case informer.StoppedUnused:
		r.observed = append(r.observed, fmt.Sprint("stopped after ", time.Since(o.Since)))
	case informer.UsedAgain:
		r.observed = append(r.observed, "used again")
	}
}

// seen returns what was observed so far.
func (r *unusedRig) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.observed)
}

func (r *unusedRig) stats() resource.Stats {
	synctest.Wait()
	return r.pods.(resource.Inspector).Stats()
}

// running fails the test unless the resource runs, or does not.
func (r *unusedRig) running(want bool) {
	r.t.Helper()
	s := r.stats()
	if s.Wanted != want || s.Synced != want || (s.Store.Objects > 0) != want || (s.Reflector.State == informer.StateWatching) != want {
		r.t.Fatalf("want running %v, got %+v", want, s)
	}
}

func (r *unusedRig) add(namespace, name string) *corev1.Pod {
	return r.Upsert(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}}})
}

// texts reads what there is of events.
func texts(events <-chan resource.Event[*corev1.Pod]) (got []string) {
	for {
		synctest.Wait()
		select {
		case e, ok := <-events:
			if !ok {
				return append(got, "closed")
			}
			e.Done(nil)
			if e.Kind == resource.Sync {
				got = append(got, "sync")
			} else {
				got = append(got, fmt.Sprintf("%s %s", e.Kind, e.Key))
			}
		default:
			return got
		}
	}
}

func wantTexts(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// subscribed reads the first events of a subscription, and ends it.
func (r *unusedRig) subscribed(pods resource.Resource[*corev1.Pod], want ...string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	events := pods.Events(ctx)
	wantTexts(r.t, texts(events), want...)
	cancel()
	wantTexts(r.t, texts(events), "closed")
}

func collect() {
	goruntime.GC()
	goruntime.GC()
}

// A resource stops after the time without a subscriber, and starts again with a list.
func TestUnusedTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t)
		r.add("ns", "a")
		time.Sleep(time.Hour)
		if n := r.Requests(); n != (resourcetest.Requests{}) || len(r.seen()) > 0 {
			t.Fatalf("before the first use: %+v, %v", n, r.seen())
		}
		r.subscribed(r.pods, "upsert ns/a", "sync")
		time.Sleep(unusedTime - time.Nanosecond)
		r.running(true)
		r.subscribed(r.pods, "upsert ns/a", "sync") // begins the time anew
		time.Sleep(unusedTime - time.Nanosecond)
		r.running(true)
		if n := r.Requests().Watches; n != 1 {
			t.Fatalf("%d watches, want 1", n)
		}
		time.Sleep(time.Nanosecond)
		r.running(false)
		r.add("ns", "b")
		time.Sleep(time.Hour)
		r.running(false)

		completed := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		r.pods.Observe(ctx, nil, func(err error) { completed <- err })
		time.Sleep(time.Hour)
		r.running(true)
		cancel()
		if err := <-completed; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		time.Sleep(unusedTime)
		r.running(false)
		r.subscribed(r.pods, "upsert ns/a", "upsert ns/b", "sync")
		wantTexts(t, r.seen(), "stopped after 1m0s", "used again", "stopped after 1m0s", "used again")
	})
}

// The program can hold a store by anything that reads it, and what it reads is current.
func TestUnusedNeverStopsAHeldStore(t *testing.T) {
	group := schema.GroupResource{Resource: "pods"}
	// Each takes a store and returns a function that reads the number of its objects.
	for name, hold := range map[string]func(*testing.T, resource.Store[*corev1.Pod]) func() int{
		"store": func(_ *testing.T, s resource.Store[*corev1.Pod]) func() int {
			return func() int { return len(s.List()) }
		},
		"iterator": func(_ *testing.T, s resource.Store[*corev1.Pod]) func() int { return countOf(s.All()) },
		"keys": func(_ *testing.T, s resource.Store[*corev1.Pod]) func() int {
			keys := s.IterKeys()
			return func() int { return len(slices.Collect(keys)) }
		},
		"lister": func(t *testing.T, s resource.Store[*corev1.Pod]) func() int {
			l, err := resource.NewLister(s, group)
			if err != nil {
				t.Fatal(err)
			}
			of := l.In("ns")
			return func() int { return len(of.List(labels.Everything())) }
		},
		"CacheStore": func(_ *testing.T, s resource.Store[*corev1.Pod]) func() int {
			c := s.CacheStore()
			return func() int { return len(c.ListKeys()) }
		},
		"lister of the CacheStore": func(_ *testing.T, s resource.Store[*corev1.Pod]) func() int {
			l := cache.NewGenericLister(s.CacheStore().(cache.Indexer), group).ByNamespace("ns")
			return func() int { objs, _ := l.List(labels.Everything()); return len(objs) }
		},
	} {
		for viewed, view := range map[string]func(resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod]{
			"all": func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] { return r },
			"index": func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
				return resource.InNamespace(r, "ns")
			},
			"filter": func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
				return resource.Filter(r, func(*corev1.Pod) bool { return true })
			},
		} {
			t.Run(name+" of "+viewed, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newUnusedRig(t)
					r.add("ns", "0")
					s, err := view(r.pods).Store(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					read := hold(t, s)
					s = nil
					for n := range 5 {
						collect()
						time.Sleep(2 * unusedTime)
						r.running(true)
						if got := read(); got != n+1 {
							t.Fatalf("read %d objects, want %d", got, n+1)
						}
						r.add("ns", fmt.Sprint(n+1))
						synctest.Wait()
					}
					time.Sleep(unusedTime - time.Nanosecond) // right before the next look
					goruntime.KeepAlive(read)
					read = nil
					collect()
					time.Sleep(unusedTime - time.Nanosecond)
					r.running(true)
					time.Sleep(2 * unusedTime)
					r.running(false)
				})
			})
		}
	}
}

func countOf(all iter.Seq2[store.Key, *corev1.Pod]) func() int {
	return func() int { return len(maps.Collect(all)) }
}

// A call of Store and one of WaitFor are uses while they wait.
func TestUnusedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t)
		r.add("ns", "a")
		r.Fail(errors.New("down"))
		synced := make(chan resource.Store[*corev1.Pod], 1)
		go func() {
			s, err := r.pods.Store(t.Context())
			if err != nil {
				t.Error(err)
			}
			synced <- s
		}()
		time.Sleep(3 * unusedTime)
		r.Fail(nil)
		waited := make(chan error, 1)
		go waitFor(t.Context(), <-synced, waited)
		for range 10 {
			time.Sleep(unusedTime)
			collect()
		}
		r.running(true)
		if b := r.add("ns", "b"); b.ResourceVersion != "3" {
			t.Fatalf("version %s", b.ResourceVersion)
		}
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		collect()
		time.Sleep(3 * unusedTime)
		r.running(false)

		r.Fail(errors.New("down"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*unusedTime)
		defer cancel()
		_, err := r.pods.Store(ctx)
		var notSynced *resource.NotSyncedError
		if !errors.As(err, &notSynced) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		wantTexts(t, r.seen(), "stopped after 1m0s", "used again")
		time.Sleep(unusedTime)
		if s := r.stats(); s.Wanted || len(r.seen()) != 3 {
			t.Fatalf("after a wait that ended: %+v, %v", s, r.seen())
		}
	})
}

// waitFor has the only reference to the store.
func waitFor(ctx context.Context, s resource.Store[*corev1.Pod], waited chan<- error) {
	waited <- s.WaitFor(ctx, "3")
}

// Views are uses. One that is made before the first use works in each run.
func TestUnusedViews(t *testing.T) {
	app := resource.LabelIndex("app")
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t, resource.WithIndexers(app))
		views := map[string]resource.Resource[*corev1.Pod]{
			"namespace": resource.InNamespace(r.pods, "ns"),
			"index":     resource.ByIndex(r.pods, cache.NamespaceIndex, "ns"),
			"label":     resource.WithLabel(r.pods, "app", "a"),
			"filter":    resource.Filter(r.pods, func(p *corev1.Pod) bool { return p.Name == "a" }),
			"distinct":  resource.Distinct(resource.InNamespace(r.pods, "ns"), resource.SameGeneration),
			"both":      resource.Filter(resource.InNamespace(r.pods, "ns"), func(p *corev1.Pod) bool { return p.Name == "a" }),
			"label in":  resource.WithLabel(resource.InNamespace(r.pods, "ns"), "app", "a"),
		}
		r.add("ns", "a")
		r.add("other", "b")
		for name, view := range views {
			for range 2 {
				r.running(false)
				ctx, cancel := context.WithCancel(t.Context())
				events := view.Events(ctx)
				wantTexts(t, texts(events), "upsert ns/a", "sync")
				time.Sleep(time.Hour)
				r.running(true)
				cancel()
				if n := len(listOf(t, view)); n != 1 {
					t.Fatalf("the store of %s has %d objects", name, n)
				}
				collect()
				time.Sleep(2 * unusedTime)
			}
		}
		if _, err := resource.ByIndex(r.pods, "none", "").Store(t.Context()); !errors.Is(err, store.ErrNoIndex) {
			t.Fatalf("got %v", err)
		}
		r.running(false)
	})
}

// listOf reads the store without keeping it.
func listOf(t *testing.T, r resource.Resource[*corev1.Pod]) []*corev1.Pod {
	t.Helper()
	s, err := r.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.List()
}

// Stats of a stopped resource are those of an unused one, and counts go on.
func TestUnusedStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t, resource.WithName("pods"))
		r.add("ns", "a")
		for round := uint64(1); round < 4; round++ {
			r.subscribed(r.pods, "upsert ns/a", "sync")
			var before resource.Stats
			for range 3 { // running, stopped, stopped
				s := r.stats()
				if s.Name != "pods" || s.Events != (resource.EventCounts{Emitted: 2 * round, OK: 2 * round}) || s.Reflector.Passes != round || s.Store.Commits != round {
					t.Fatalf("round %d: %+v", round, s)
				}
				before = s
				time.Sleep(unusedTime)
			}
			if before.Wanted || before.Synced || before.Bytes != 0 || before.Store.Objects != 0 || before.SyncTook != 0 || len(before.Subscribers) > 0 {
				t.Fatalf("stopped: %+v", before)
			}
			r.pods.Resync(nil)
			resource.InNamespace(r.pods, "ns").Resync(nil)
			time.Sleep(time.Hour)
			r.running(false)
		}
		if n := r.stats().Reflector.Passes; n != 3 { // no Resync is left over
			t.Fatalf("%d lists, want 3", n)
		}
		events := r.pods.Events(t.Context())
		wantTexts(t, texts(events), "upsert ns/a", "sync")
		r.pods.Resync(nil)
		time.Sleep(time.Minute)
		if n := r.stats().Reflector.Passes; n != 5 {
			t.Fatalf("%d lists, want 5", n)
		}
	})
}
