// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// Updates, and objects that come and go, behind a subscriber that has stopped
// reading: what it costs is bounded by the keys that exist and those that it has
// seen, and the others get everything. Of what is kept for each change half a byte
// would be seen.
func TestStuckSubscriberIsBounded(t *testing.T) {
	const live, changes = 100, 24_000
	r := startRig(t)
	stuck, brisk := r.view.Events(t.Context()), r.view.Events(t.Context())
	names := make([]string, live)
	for i := range names {
		names[i] = fmt.Sprintf("live-%d", i)
	}
	r.sync(names...)
	last := map[store.Key]string{}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for e := range brisk {
			switch e.Kind {
			case Upsert:
				last[e.Key] = e.Object.ResourceVersion
			case Delete:
				delete(last, e.Key)
			}
			e.Done(nil)
			if e.Key.Name == "end" {
				return
			}
		}
	}()
	take(t, stuck).Done(nil)
	held := take(t, stuck)
	defer held.Done(nil)
	settle := func() {
		for brisk := &r.view.Stats().Subscribers[1]; brisk.Depth+brisk.Outstanding > 1; brisk = &r.view.Stats().Subscribers[1] {
			runtime.Gosched() // one event is offered
		}
	}
	settle()
	update := func(changes int) int64 {
		for i := range changes {
			r.upsert(names[i%live])
		}
		settle()
		return heapInUse()
	}
	pass := func(changes int) int64 {
		for i := range changes {
			name := fmt.Sprintf("passing-%d", i)
			r.upsert(name)
			r.delete(name)
		}
		settle()
		return heapInUse()
	}
	update(live)
	before := pass(live) // after all subscribers have allocated
	afterUpdates := update(changes)
	afterNames := pass(changes)
	r.upsert("end")
	<-finished
	hub := r.view.hub
	hub.mu.Lock()
	ids, tombstones := len(hub.nodes), len(hub.tombstones)
	slots := 0
	for _, s := range hub.subs {
		slots = max(slots, s.slots.byID.len)
	}
	hub.mu.Unlock()
	t.Logf("heap: %d KiB before, %+d KiB after %d updates, %+d KiB after %d objects came and went; %d ids, %d tombstones, %d slots",
		before>>10, (afterUpdates-before)>>10, changes, (afterNames-before)>>10, changes, ids, tombstones, slots)
	// Keys that a fast subscriber has seen, and whose Delete it has not, can be among them.
	if bound := 20 * live; ids > bound || tombstones > bound {
		t.Errorf("%d ids and %d tombstones for %d live keys", ids, tombstones, live+1)
	}
	for _, grown := range []int64{afterUpdates - before, afterNames - afterUpdates} {
		if grown > changes/2 {
			t.Errorf("the heap grew by %d bytes in %d changes", grown, changes)
		}
	}
	s, err := r.view.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key, obj := range s.All() {
		if last[key] != obj.ResourceVersion {
			t.Errorf("%s: the brisk subscriber last saw %q, the store has %q", key, last[key], obj.ResourceVersion)
		}
	}
	stats := r.view.Stats()
	for _, sub := range stats.Subscribers {
		if sub.Depth > live+1 {
			t.Errorf("a depth of %d for %d live keys", sub.Depth, live+1)
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
