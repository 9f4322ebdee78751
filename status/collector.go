// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Aggregate returns one status for a set of objects that should all have the desired
// one. It is the first of these that applies:
//
//   - desired, if all objects have it (see [All]), or if there are none
//   - Failed, if an object is Failed and should not be
//   - Unknown, if an object without the desired status is Unknown or stale
//   - InProgress
func Aggregate(statuses []ObjectStatus, desired Status) Status {
	if met, _ := All(desired)(statuses); met {
		return desired
	}
	aggregate := InProgress
	for _, s := range statuses {
		switch {
		case s.is(Failed) && desired != Failed:
			return Failed
		case !s.is(desired) && (s.Status == Unknown || !s.Stale.IsZero()):
			aggregate = Unknown
		}
	}
	return aggregate
}

// Collector keeps the latest status of each object from events. Its methods can be
// called from any goroutine.
type Collector struct {
	mu       sync.Mutex
	statuses map[ID]ObjectStatus
	synced   bool
}

// NewCollector returns a Collector in which the given objects are Unknown with the
// reason NotObserved.
func NewCollector(ids ...ID) *Collector {
	c := &Collector{statuses: map[ID]ObjectStatus{}}
	for _, id := range ids {
		c.statuses[id] = ObjectStatus{ID: id, Status: Unknown, Reason: NotObserved}
	}
	return c
}

// Listen receives events until one of these ends it: the closed channel returns nil, an
// Error event returns its error, the end of ctx returns its cause, and an error of
// observe is returned. It receives no event after the end of ctx. After each event
// except Error it calls observe, which can be nil and can call the Collector.
func (c *Collector) Listen(ctx context.Context, events <-chan Event, observe func(Event) error) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case ev, ok := <-events:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !ok {
				return nil
			}
			c.take(ev)
			if ev.Type == Error {
				return ev.Err
			}
			if observe == nil {
				continue
			}
			if err := observe(ev); err != nil {
				return err
			}
		}
	}
}

func (c *Collector) take(ev Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ev.Type {
	case ResourceUpdate:
		c.statuses[ev.Resource.ID] = ev.Resource
	case Synced:
		c.synced = true
	}
}

// Synced reports whether the Collector has received Synced.
func (c *Collector) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}

// Statuses returns the latest statuses, ordered by ID. The caller owns the slice.
func (c *Collector) Statuses() []ObjectStatus {
	c.mu.Lock()
	all := slices.AppendSeq(make([]ObjectStatus, 0, len(c.statuses)), maps.Values(c.statuses))
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b ObjectStatus) int { return a.ID.Compare(b.ID) })
	return all
}
