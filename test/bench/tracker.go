// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
)

// tracker is an observer that counts the expected events.
type tracker struct {
	crew  *crew
	ready atomic.Bool

	seen  []uint32 // by pod: the round of its last event
	round uint32   // the expected round
	left  int      // pods without an event of this round

	events    int // all events
	repeated  int // events of a round that had been seen
	backwards int // events of an earlier round
	gone      int // deletions
}

// crew has all trackers of a measurement. done receives a token when the last one has seen
// everything.
type crew struct {
	trackers []*tracker
	pending  atomic.Int32
	unsynced atomic.Int32
	done     chan struct{}
	synced   chan struct{} // closed when all have received Sync
}

func newCrew(size, pods int) *crew {
	c := &crew{done: make(chan struct{}, 1), synced: make(chan struct{})}
	c.unsynced.Store(int32(size))
	for range size {
		c.trackers = append(c.trackers, &tracker{crew: c, seen: make([]uint32, pods)})
	}
	return c
}

func (c *crew) observers() []observer {
	observers := make([]observer, len(c.trackers))
	for i, t := range c.trackers {
		observers[i] = t
	}
	return observers
}

// expect makes all trackers wait for this number of different pods of a round. It must be
// called before the first one is written, and after wait has returned.
func (c *crew) expect(round uint32, pods int) {
	c.pending.Store(int32(len(c.trackers)))
	for _, t := range c.trackers {
		t.round, t.left = round, pods
	}
}

// wait returns when all trackers have seen the expected events.
func (c *crew) wait() { <-c.done }

func (t *tracker) upserted(pod *corev1.Pod) {
	round, i := parseGeneration(pod.Generation)
	t.events++
	switch before := t.seen[i]; {
	case round < before:
		t.backwards++
		return
	case round == before:
		t.repeated++
		return
	}
	t.seen[i] = round
	if round == t.round {
		t.came()
	}
}

func (t *tracker) deleted(pod *corev1.Pod) {
	_, i := parseGeneration(pod.Generation)
	t.events++
	t.gone++
	t.seen[i] = 0
	if t.round == 0 {
		t.came()
	}
}

func (t *tracker) came() {
	t.left--
	if t.left == 0 && t.crew.pending.Add(-1) == 0 {
		t.crew.done <- struct{}{}
	}
}

func (t *tracker) synced() {
	if t.ready.CompareAndSwap(false, true) && t.crew.unsynced.Add(-1) == 0 {
		close(t.crew.synced)
	}
}
