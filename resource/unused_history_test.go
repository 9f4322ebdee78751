// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// unusedHistory is a random play of uses that begin and end.
type unusedHistory struct {
	*unusedRig
	rng     *rand.Rand
	views   map[string]resource.Resource[*corev1.Pod] // by namespace; "": all
	server  versions
	readers []*unusedReader
	stores  []heldStore
	lastUse time.Time
}

// versions are the versions of objects.
type versions map[store.Key]string

type heldStore struct {
	namespace string
	store     resource.Store[*corev1.Pod]
}

// unusedReader is a subscriber with what its events have shown.
type unusedReader struct {
	namespace string
	cancel    context.CancelFunc
	closed    chan struct{}

	mu     sync.Mutex
	shown  versions
	synced bool
}

func (r *unusedReader) read(events <-chan resource.Event[*corev1.Pod]) {
	defer close(r.closed)
	for e := range events {
		r.mu.Lock()
		switch e.Kind {
		case resource.Sync:
			r.synced = true
		case resource.Upsert:
			r.shown[e.Key] = e.Object.ResourceVersion
		case resource.Delete:
			delete(r.shown, e.Key)
		}
		r.mu.Unlock()
		e.Done(nil)
	}
}

// of returns the versions that a view of the namespace shows.
func (v versions) of(namespace string) versions {
	shown := maps.Clone(v)
	maps.DeleteFunc(shown, func(k store.Key, _ string) bool { return namespace != "" && k.Namespace != namespace })
	return shown
}

func (h *unusedHistory) step() {
	namespace := []string{"", "a", "b"}[h.rng.IntN(3)]
	view := h.views[namespace]
	switch h.rng.IntN(10) {
	case 0, 1:
		ctx, cancel := context.WithCancel(h.t.Context())
		r := &unusedReader{namespace: namespace, cancel: cancel, closed: make(chan struct{}), shown: versions{}}
		go r.read(view.Events(ctx))
		h.readers = append(h.readers, r)
	case 2, 3:
		if n := len(h.readers); n > 0 {
			i := h.rng.IntN(n)
			h.readers[i].cancel()
			<-h.readers[i].closed
			h.readers = append(h.readers[:i], h.readers[i+1:]...)
			h.lastUse = time.Now()
		}
	case 4:
		s, err := view.Store(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		h.stores = append(h.stores, heldStore{namespace, s})
	case 5:
		if len(h.stores) > 0 {
			clear(h.stores)
			h.stores = h.stores[:0]
			collect()
			h.lastUse = time.Now()
		}
	case 6:
		view.Resync(nil)
	case 7:
		time.Sleep([]time.Duration{time.Second, unusedTime - 1, unusedTime, unusedTime + 1, 3 * unusedTime}[h.rng.IntN(5)])
	case 8:
		for key := range h.server {
			h.Delete(key)
			delete(h.server, key)
			break
		}
	case 9:
		pod := h.Upsert(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: []string{"a", "b"}[h.rng.IntN(2)], Name: fmt.Sprint(h.rng.IntN(5))}})
		h.server[store.KeyOf(pod)] = pod.ResourceVersion
	}
}

// check compares all that is held with the server.
func (h *unusedHistory) check() {
	h.t.Helper()
	used := len(h.readers)+len(h.stores) > 0
	if used {
		synctest.Wait()
		if err := h.Flush(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
	s := h.stats()
	switch since := time.Since(h.lastUse); {
	case used && !s.Synced, !used && since < unusedTime && !h.lastUse.IsZero() && !s.Wanted, !used && since > 2*unusedTime && s.Wanted:
		h.t.Fatalf("used %v, last %v ago: %+v", used, since, s)
	}
	for _, r := range h.readers {
		r.mu.Lock()
		if !r.synced || !maps.Equal(r.shown, h.server.of(r.namespace)) {
			h.t.Errorf("a subscriber of namespace %q saw %v (synced: %v), the server has %v", r.namespace, r.shown, r.synced, h.server)
		}
		r.mu.Unlock()
	}
	for _, held := range h.stores {
		has := versions{}
		for key, pod := range held.store.All() {
			has[key] = pod.ResourceVersion
		}
		if !maps.Equal(has, h.server.of(held.namespace)) {
			h.t.Errorf("a store of namespace %q has %v, the server %v", held.namespace, has, h.server)
		}
	}
}

// With any order of uses, no event is lost, no store that is held is stale, and a resource
// that is not in use stops.
func TestUnusedHistory(t *testing.T) {
	seed := firstSeed()
	for round := range uint64(max(1, *historyRounds/10)) {
		synctest.Test(t, func(t *testing.T) {
			defer sayFailed(t, seed+round)
			r := newUnusedRig(t)
			h := &unusedHistory{
				unusedRig: r, rng: rand.New(rand.NewPCG(seed+round, 0)), server: versions{},
				views: map[string]resource.Resource[*corev1.Pod]{
					"":  r.pods,
					"a": resource.ByIndex(r.pods, cache.NamespaceIndex, "a"),
					"b": resource.Filter(r.pods, func(p *corev1.Pod) bool { return p.Namespace == "b" }),
				},
			}
			for range 100 {
				h.step()
				h.check()
			}
		})
		if t.Failed() {
			return
		}
	}
}

// Uses begin and end on many goroutines, at the moments when the resource stops.
func TestUnusedConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t)
		r.add("a", "0")
		var users sync.WaitGroup
		for user := range uint64(8) {
			rng := rand.New(rand.NewPCG(firstSeed(), user))
			users.Go(func() {
				view := resource.InNamespace(r.pods, "a")
				for range 20 {
					switch rng.IntN(4) {
					case 0:
						if n := len(listOf(t, view)); n != 1 {
							t.Errorf("the store has %d objects", n)
						}
					case 1:
						_ = r.pods.(resource.Inspector).Stats()
						r.pods.Resync(nil)
					default:
						ctx, cancel := context.WithCancel(t.Context())
						got := 0
						for e := range view.Events(ctx) {
							e.Done(nil)
							if got++; e.Kind == resource.Sync {
								cancel()
							}
						}
						if got != 2 {
							t.Errorf("%d events, want 2", got)
						}
						cancel()
					}
					time.Sleep(time.Duration(rng.IntN(3)) * unusedTime)
				}
			})
		}
		users.Wait()
		collect()
		time.Sleep(2 * unusedTime)
		r.running(false)
	})
}

// The memory of a stopped resource returns, also with views and with a subscriber that ended.
func TestUnusedFreesMemory(t *testing.T) {
	const pods, each = 2000, 4 << 10
	synctest.Test(t, func(t *testing.T) {
		r := newUnusedRig(t)
		view := resource.InNamespace(r.pods, "a")
		for i := range pods {
			r.Upsert(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprint(i)}})
		}
		unused := heap()
		events := func() <-chan resource.Event[*corev1.Pod] {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events := view.Events(ctx)
			_ = texts(events)
			listOf(t, view)
			return events
		}()
		used := heap()
		time.Sleep(3 * unusedTime)
		r.running(false)
		stopped := heap()
		goruntime.KeepAlive(events)
		t.Logf("%d KB unused, %d KB in use, %d KB stopped", unused>>10, used>>10, stopped>>10)
		if used < unused+pods*100 || stopped > unused+(used-unused)/10 {
			t.Errorf("the heap had %d bytes before the use, %d in use, and has %d after the stop", unused, used, stopped)
		}
	})
}

func heap() int64 {
	collect()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
