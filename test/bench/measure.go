// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// measureStore returns the milliseconds from the start to a complete store, without
// subscribers.
func measureStore(c contestant, pods []*corev1.Pod) float64 {
	src := newSource(pods)
	runtime.GC()
	start := time.Now()
	f := c.start(src, nil)
	f.waitSynced()
	took := time.Since(start)
	f.stop()
	return millis(took)
}

// measureSync returns the milliseconds from the start until a subscriber has acknowledged
// every pod and received its Sync.
func measureSync(c contestant, pods []*corev1.Pod) float64 {
	src := newSource(pods)
	crew := newCrew(1, len(pods))
	crew.expect(1, len(pods))
	runtime.GC()
	start := time.Now()
	f := c.start(src, crew.observers())
	crew.wait()
	<-crew.synced
	took := time.Since(start)
	f.stop()
	return millis(took)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// load describes the changes that are written to a source of pods.
type load struct {
	pods   []*corev1.Pod
	keys   int // number of pods that change, in turn
	rounds int // number of changes of each
	subs   int

	// barrier delays each round until all subscribers have acknowledged the previous one,
	// so that nothing can be merged.
	barrier bool
}

// eventsResult is the result of a load.
type eventsResult struct {
	took      time.Duration
	changes   int
	delivered int    // to all subscribers together
	allocated uint64 // bytes
	crew      *crew
	stored    map[string]string
}

func (r eventsResult) changesPerSecond() float64 { return float64(r.changes) / r.took.Seconds() }
func (r eventsResult) eventsPerSecond() float64  { return float64(r.delivered) / r.took.Seconds() }
func (r eventsResult) bytesPerEvent() float64    { return float64(r.allocated) / float64(r.delivered) }

// measureEvents writes a load to a synced contestant, and waits until all subscribers have
// acknowledged the last version of every pod. The changed pods are made in advance.
func measureEvents(c contestant, l load) eventsResult {
	src := newSource(l.pods)
	crew := newCrew(l.subs, len(l.pods))
	crew.expect(1, len(l.pods))
	f := c.start(src, crew.observers())
	crew.wait()
	<-crew.synced
	f.waitSynced()

	changes := make([][]*corev1.Pod, l.rounds)
	for i := range changes {
		changes[i] = make([]*corev1.Pod, l.keys)
		for key := range changes[i] {
			changes[i][key] = src.prepare(uint32(i+2), key)
		}
	}
	result := eventsResult{changes: l.rounds * l.keys, crew: crew}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	if l.barrier {
		for i, round := range changes {
			crew.expect(uint32(i+2), l.keys)
			for _, pod := range round {
				src.write(watch.Modified, pod)
			}
			crew.wait()
		}
	} else {
		crew.expect(uint32(l.rounds+1), l.keys)
		for _, round := range changes {
			for _, pod := range round {
				src.write(watch.Modified, pod)
			}
		}
		crew.wait()
	}
	result.took = time.Since(start)
	runtime.ReadMemStats(&after)
	result.allocated = after.TotalAlloc - before.TotalAlloc
	result.stored = f.stored()
	f.stop()
	for _, t := range crew.trackers {
		result.delivered += t.events - t.repeated - len(l.pods)
	}
	return result
}
