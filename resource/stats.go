// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/store"
)

// Inspector is implemented by every [Resource] that this package makes, also for package
// cells: pods.(resource.Inspector).Stats().
type Inspector interface {
	// Stats can be called at any time, from any goroutine.
	Stats() Stats
}

// Stats describes the current state of a resource, for metrics and for people.
type Stats struct {
	Name string

	// Wanted is true after the first call of Events, Observe or Store. It is false again
	// after a stop by [WithStopUnused].
	Wanted bool

	// Synced is true after the first complete list. SyncTook is the time from the start
	// of the informer to that.
	Synced   bool
	SyncTook time.Duration

	// Reflector is the state of the informer. Its Polling is set while the resource
	// polls because the server refuses to watch. Events are then late by up to
	// PollInterval of [informer.Settings].
	Reflector informer.ReflectorInfo

	// Namespaces has the informers of [NewInNamespaces], sorted by namespace. Those with
	// Passes > 0 are synced. It is nil for other resources. Reflector then combines them, see
	// [namespaces.Combine].
	Namespaces []informer.ReflectorInfo

	Store store.Stats

	// Bytes is the estimated memory of the objects in the store, and of what is kept beside
	// them for each object, without indexes and subscribers. What objects have in common
	// counts once.
	Bytes int64

	Subscribers []SubscriberStats

	// Events counts the events of all subscribers, past ones included.
	Events EventCounts

	// Panics counts the panics of user code, including those of Reflector. See
	// "Functions of the user" in the package documentation.
	Panics uint64
}

// SubscriberStats describes a subscriber.
type SubscriberStats struct {
	// Site is the file and line of the call of Events or Observe. Name is the name of
	// [WithSubscriberName].
	Site, Name string

	// Depth is the number of keys that wait to be emitted. A filter may reject some of
	// them. Outstanding is the number of events that were emitted and have no Done yet.
	// Retrying is the number of keys that are held back after an error.
	Depth, Outstanding, Retrying int

	// Replaying is the number of keys that the replay has not emitted. Depth does not
	// include them.
	Replaying int

	// Oldest is the age of the oldest change that waits to be emitted or for Done. With
	// a metrics provider, the wait for Done counts from when the event was emitted. A key
	// that is retried counts from its first failure. Oldest leaves out the keys of
	// Replaying.
	Oldest time.Duration

	// Errors counts the calls of Done with an error, and LastError is the last one.
	Errors    uint64
	LastError error

	// RetryingOldest is the time since the first failure of the key that fails for the
	// longest time.
	RetryingOldest time.Duration

	// Worst is the key with the most retries, and of several the one that fails for the
	// longest time. It is nil if no key is to be retried.
	Worst *FailingKey
}

// FailingKey is a key whose last event failed, and is retried.
type FailingKey struct {
	Key     store.Key // the zero Key for a Sync
	Retries int       // since it last succeeded, the next one included
	Since   time.Time // the first failure
	Next    time.Time // when it is emitted again, at the latest
	Err     error     // of the last Done
}

// EventCounts counts events by their outcome.
type EventCounts struct {
	Emitted uint64

	// OK counts those with Done without error. Retried, Ignored and Stopped count those
	// with an error, by the action of the [ErrorHandler]. Forgotten counts those that
	// were dropped without Done.
	OK, Retried, Ignored, Stopped, Forgotten uint64
}

// recordBytes is about what the store and the hub keep for an object.
const recordBytes = 200

// Stats implements [Inspector].
func (r *resource[T]) Stats() Stats {
	stats := Stats{Name: r.name}
	r.mu.Lock()
	stats.Wanted, stats.SyncTook = r.wanted, r.syncTook
	r.mu.Unlock()
	if r.err != nil {
		return stats
	}
	stats.Reflector = r.reflector.Info()
	if group, ok := r.reflector.(*namespaces.Reflector[T]); ok {
		stats.Namespaces = group.Members()
	}
	stats.Store = r.store.Stats()
	stats.Bytes = int64(stats.Store.Objects) * (stats.Reflector.ObjectBytes + recordBytes)
	stats.Panics = r.hub.panics.Count() + stats.Reflector.Panics
	select {
	case <-r.synced:
		stats.Synced = true
	default:
	}
	r.hub.describe(&stats)
	return stats
}

func (h *hub[T]) describe(stats *Stats) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	stats.Events = h.past
	for _, s := range h.subs {
		sub, counts := s.describe(now)
		stats.Subscribers = append(stats.Subscribers, sub)
		stats.Events.add(counts)
	}
}

func (s *subscriber[T]) describe(now uint32) (SubscriberStats, EventCounts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := SubscriberStats{
		Site:        s.site.String(),
		Name:        s.name,
		Depth:       s.depth(),
		Outstanding: s.issued.len,
		Retrying:    len(s.delayed.byTime),
		Replaying:   s.replay.left() + s.replay.queued,
	}
	for _, l := range append(s.lanes[:], s.issued) {
		if sl := s.first(&l); sl != nil && sl.flags&isReplayed == 0 {
			stats.Oldest = max(stats.Oldest, time.Duration(now-sl.since)*time.Millisecond)
		}
	}
	s.failures.describe(&stats)
	return stats, s.counts
}

func (c *EventCounts) add(more EventCounts) {
	c.Emitted += more.Emitted
	c.OK += more.OK
	c.Retried += more.Retried
	c.Ignored += more.Ignored
	c.Stopped += more.Stopped
	c.Forgotten += more.Forgotten
}
