// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"iter"
)

// update is a status that is to be reported.
type update struct {
	tracked *tracked
	status  ObjectStatus
}

// publish makes s the latest status of t, unless the server has not answered yet. queued
// is true if s is that of the oldest state of the backlog. It reports whether there are
// newer states.
func (w *Watch) publish(t *tracked, s ObjectStatus, queued bool) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if queued {
		w.pop(t.backlog)
	}
	if t.removed || s.unanswered() {
		return false // without an answer the last known status stays
	}
	w.answered(t)
	t.latest = s
	if u := t.newest; u != nil && (!queued && s.Equal(u.status) || len(w.updates) >= maxBehind) {
		u.status = s
	} else {
		t.newest = &update{t, s}
		w.updates = append(w.updates, t.newest)
	}
	signal(w.updated)
	return t.backlog != nil && len(t.backlog.next) > 0
}

// Events returns an event for each object when it has its first status, and when its
// status differs from that of its last event (see [ObjectStatus.Equal]). Synced follows
// when each object has had its event. With an empty set it comes at once.
//
// The events of an object show each state that the watch has received, in order, the
// last one before a deletion included. So Statuses can be ahead of Events. For a
// consumer that is more than 4096 statuses behind, the newest status of an object
// replaces the one before. The same holds for a rule that is as many states behind.
// Changes while the server could not be reached can be merged, as can those between two
// reads of an object that is polled.
//
// The loop blocks while there is no event, and ends with the watch: see [Watch.Err].
// There is no event after the cancel function of the context, Close or [Engine.Stop]
// has returned. After a break the watch goes on, and another call of Events continues.
func (w *Watch) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			ev, ok := w.next()
			if !ok || !yield(ev) {
				return
			}
		}
	}
}

// next blocks until there is an event. It returns false at the end of the watch.
func (w *Watch) next() (Event, bool) {
	for {
		if w.over() {
			return Event{}, false
		}
		if ev, ok := w.take(); ok {
			return ev, true
		}
		select {
		case <-w.updated:
		case <-w.ctx.Done():
		}
	}
}

// over reports whether the watch has ended. It looks at the contexts themselves, since
// w.ctx can end a moment later.
func (w *Watch) over() bool {
	for _, ctx := range []context.Context{w.parent, w.engine.ctx} {
		if ctx.Err() != nil {
			w.cancel(context.Cause(ctx))
		}
	}
	return w.ctx.Err() != nil
}

// take returns the next event, if there is one.
func (w *Watch) take() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.updates) > 0 {
		u := w.shift()
		if t := u.tracked; !u.status.Equal(t.reported) {
			t.reported = u.status
			return Event{Type: ResourceUpdate, Resource: u.status}, true
		}
	}
	if w.syncDue && w.awaited == 0 {
		w.syncDue = false
		return Event{Type: Synced}, true
	}
	return Event{}, false
}

// shift removes the oldest update and returns it. The caller holds the mutex.
func (w *Watch) shift() *update {
	u := w.updates[0]
	w.updates[0] = nil
	if w.updates = w.updates[1:]; len(w.updates) == 0 {
		w.updates = nil
	}
	if u.tracked.newest == u {
		u.tracked.newest = nil
	}
	return u
}
