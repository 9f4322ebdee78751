// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// Inspector is implemented by every [Resource] that this package makes.
type Inspector interface {
	// Stats may be called at any time, from any goroutine.
	Stats() Stats
}

// Stats describes a resource at some moment, for metrics and for people.
type Stats struct {
	Name string

	// Wanted is whether anybody asked for the resource yet.
	Wanted bool

	// Synced is whether there is a complete state; SyncTook is the time from
	// the start of the informer to that.
	Synced   bool
	SyncTook time.Duration

	// Reflector says what the informer does. Its Polling is set while the
	// resource polls because the server refuses to watch: events are then late by
	// up to PollInterval of [informer.Settings].
	Reflector informer.ReflectorInfo

	Store       store.Stats
	Subscribers []SubscriberStats

	// Events counts the events of all subscribers, past ones included.
	Events EventCounts

	// Panics counts the panics of user code, those of Reflector included: see
	// "Functions of the user" in the documentation of the package.
	Panics uint64
}

// SubscriberStats describes a subscriber.
type SubscriberStats struct {
	// Site is the file and line of the call of Events or Observe.
	Site string

	// Depth is how many keys wait to be emitted, except those of a replay that
	// are yet to be looked at. With a filter some of them may be rejected.
	// Outstanding is how many were emitted and lack their Done; Retrying how many
	// are held back after an error.
	Depth, Outstanding, Retrying int

	// Replaying is how many keys of the replay are yet to be looked at.
	Replaying int

	// Oldest is how long ago the change was that waits longest, for being
	// emitted or for Done. With a metrics provider, which counts from there, an
	// event waits for Done since it was emitted.
	Oldest time.Duration
}

// EventCounts counts events by what became of them.
type EventCounts struct {
	Emitted uint64

	// Done without error; with an error that led to a retry, was ignored, or
	// ended the subscription; dropped without Done.
	OK, Retried, Ignored, Stopped, Forgotten uint64
}

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
	stats.Store = r.store.Stats()
	stats.Panics = r.hub.panics.Count() + stats.Reflector.Panics
	r.hub.describe(&stats)
	return stats
}

func (h *hub[T]) describe(stats *Stats) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	stats.Synced = h.synced
	stats.Events = h.counts
	for _, s := range h.subs {
		sub := SubscriberStats{
			Site:        s.site,
			Depth:       s.queue.len,
			Outstanding: s.issued.len,
			Retrying:    len(s.delayed.byTime),
			Replaying:   int(s.limit - s.cursor),
		}
		var oldest uint32
		for _, l := range []list{s.queue, s.issued} {
			if l.len > 0 {
				oldest = max(oldest, now-s.moving(l.head).since)
			}
		}
		sub.Oldest = time.Duration(oldest) * time.Millisecond
		stats.Subscribers = append(stats.Subscribers, sub)
	}
}
