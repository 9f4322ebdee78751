// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var restingSubscribers = flag.Int("resting.subscribers", 2000, "how many subscribers TestMemoryOfSubscribers has")

// A subscriber at rest costs little memory: one of a whole collection a bit for each key,
// and a view what it has seen. The goroutine of who reads Events comes on top.
func TestMemoryOfSubscribers(t *testing.T) {
	for name, test := range map[string]struct {
		keys, subscribers int
		of                func(r *rig, i int) Resource[*corev1.Pod]
		bound             int64
	}{
		"all of 1,000 keys": {1000, *restingSubscribers,
			func(r *rig, _ int) Resource[*corev1.Pod] { return r.view }, 5 << 10},
		"20 of 20,000 keys": {20_000, 1000,
			func(r *rig, i int) Resource[*corev1.Pod] {
				return ByIndex[*corev1.Pod](r.view, "node", fmt.Sprint("node-", i))
			}, 6<<10 + 20*8},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, WithIndexers(byNode))
			r.begin()
			for i := range test.keys {
				r.upsert(fmt.Sprint("pod-", i), onNode(fmt.Sprint("node-", i%1000)))
			}
			r.commit()
			views := make([]Resource[*corev1.Pod], test.subscribers)
			for i := range views {
				views[i] = test.of(r, i)
			}
			observed := memoryOfSubscribers(t, r, views, func(ctx context.Context, v Resource[*corev1.Pod], next func(podEvent)) {
				v.Observe(ctx, next, nil)
			})
			read := memoryOfSubscribers(t, r, views, func(ctx context.Context, v Resource[*corev1.Pod], next func(podEvent)) {
				events := v.Events(ctx)
				go func() {
					for e := range events {
						next(e)
					}
				}()
			})
			t.Logf("%d subscribers of %s: %d bytes each, %d with a goroutine that reads Events", len(views), name, observed, read)
			if observed > test.bound {
				t.Errorf("%d bytes for a subscriber, want at most %d", observed, test.bound)
			}
			if reader := int64(5 << 10); read > test.bound+reader {
				t.Errorf("%d bytes for a subscriber and its reader, want at most %d", read, test.bound+reader)
			}
		})
	}
}

// memoryOfSubscribers returns the bytes that each subscriber costs when all are at rest.
func memoryOfSubscribers(t *testing.T, r *rig, views []Resource[*corev1.Pod], follow func(context.Context, Resource[*corev1.Pod], func(podEvent))) int64 {
	ctx, cancel := context.WithCancel(t.Context())
	before := memoryInUse()
	var synced sync.WaitGroup
	synced.Add(len(views))
	for _, v := range views {
		follow(ctx, v, func(e podEvent) {
			if e.Done(nil); e.Kind == Sync {
				synced.Done()
			}
		})
	}
	synced.Wait()
	h := r.view.hub
	await(t, func() bool {
		h.parking.mu.Lock()
		defer h.parking.mu.Unlock()
		return len(h.parking.live) == 0
	})
	each := (memoryInUse() - before) / int64(len(views))
	cancel()
	await(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.subs) == 0
	})
	return each
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it takes too long")
		}
	}
}

// memoryInUse returns the bytes of heap and stacks, after the garbage collector has shrunk
// the stacks.
func memoryInUse() int64 {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
