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
		resource.WithLogger(slog.New(slog.DiscardHandler)),
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
		wantTexts(t, r.observed, "stopped after 1m0s", "used again", "stopped after 1m0s", "used again")
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
