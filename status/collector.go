// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Aggregate is the status of a set of objects that are all to have the desired one:
// that, if they have (see [All]), or if there are none; else Failed if one is Failed
// that is to be something else; else Unknown if one is, or is stale, also if others are
// on their way; else InProgress.
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

// Collector keeps the latest status of each of a set of objects, as told by events. Its
// methods may be called from any goroutine.
type Collector struct {
	mu       sync.Mutex
	statuses map[ID]ObjectStatus
	synced   bool
}

// NewCollector returns a Collector in which the objects are Unknown with the reason
// NotObserved.
func NewCollector(ids ...ID) *Collector {
	c := &Collector{statuses: map[ID]ObjectStatus{}}
	for _, id := range ids {
		c.statuses[id] = ObjectStatus{ID: id, Status: Unknown, Reason: NotObserved}
	}
	return c
}

// Listen takes events until the channel is closed, an Error is told, or ctx ends, of
// which the latter two are returned. It takes no event after the end of ctx. After each
// but an Error it calls observe, unless that is nil, which may call the Collector; an
// error of it ends Listen, and is returned.
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

// Synced reports whether all objects have been told.
func (c *Collector) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}

// Statuses returns the latest statuses, in the order of the IDs. The slice is the
// caller's.
func (c *Collector) Statuses() []ObjectStatus {
	c.mu.Lock()
	all := slices.AppendSeq(make([]ObjectStatus, 0, len(c.statuses)), maps.Values(c.statuses))
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b ObjectStatus) int { return a.ID.Compare(b.ID) })
	return all
}
