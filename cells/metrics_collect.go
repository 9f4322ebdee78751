// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// metric describes a metric, without and with the label of clusters.
type metric struct{ plain, ofCluster *prometheus.Desc }

func describe(name, help string, labels ...string) metric {
	return describeOf("resource", name, help, labels...)
}

// describeOf describes a metric of resources, mirrors or pushes.
func describeOf(what, name, help string, labels ...string) metric {
	desc := func(first ...string) *prometheus.Desc {
		return prometheus.NewDesc("apiary_"+what+"_"+name, help, append(first, labels...), nil)
	}
	return metric{desc("resource"), desc("resource", "cluster")}
}

var (
	descSynced      = describe("synced", "1 if there is a complete state of the collection.")
	descSyncSeconds = describe("sync_seconds", "Time from the first use of the resource to its first complete state.")
	descObjects     = describe("objects", "Objects in the store, recorded by the mirror, or accepted by the consumer.")
	descBytes       = describe("bytes", "Estimated memory of the objects in the store; what they have in common counts once.")
	descLeftOut     = describe("left_out", "Objects whose newest state is left out because it cannot be decoded; 101 means more than 100.")
	descState       = describe("state", "1 for the current state of the informer.", "state")
	descPolling     = describe("polling", "1 while the informer polls, because it is not allowed to watch or watches bring nothing.")
	descContact     = describe("last_contact_timestamp_seconds", "Time of the last response of the API server, in seconds since the epoch; 0 if there was none.")
	descLists       = describe("lists_total", "Lists that ended, by reason; all but reason \"first\" are relists.", "reason", "mode", "result")
	descListTook    = describe("list_duration_seconds", "Duration of complete lists.", "mode")
	descWatches     = describe("watches_total", "Watches that the API server accepted.")
	descWatchEvents = describe("watch_events_total", "Events of watches, without bookmarks.")
	descFailures    = describe("failures_total", "Failed lists and watches, by cause.", "operation", "cause")
	descBackwards   = describe("backwards_total", "Number of times that the API server went back to an older version.")
	descMissed      = describe("missed_total", "Changes that a list found and the watch had missed.")
	descStale       = describe("stale_total", "Changes that were dropped because they were not newer.")
	descIndexErrors = describe("index_errors_total", "Failures of index functions.")
	descPanics      = describe("panics_total", "Panics of user code.")
	descSubscribers = describe("subscribers", "Current subscribers.")
	descDepth       = describe("subscriber_depth", "Keys queued for all subscribers, including replays.")
	descDepthMax    = describe("subscriber_depth_max", "Keys queued for the subscriber with the most.")
	descOutstanding = describe("subscriber_outstanding", "Events without Done, of all subscribers.")
	descRetrying    = describe("subscriber_retrying", "Keys that wait for a retry, of all subscribers.")
	descOldest      = describe("subscriber_oldest_seconds", "Age of the oldest queued key, event without Done, or key that fails.")
	descErrors      = describe("subscriber_errors_total", "Changes that a subscriber, the handler of a mirror or the consumer of a push did not accept.")
	descRetryOldest = describe("retrying_oldest_seconds", "Time since the first failure of the change that fails for the longest time and is retried.")
	descEmitted     = describe("events_emitted_total", "Events that subscribers received.")
	descEvents      = describe("events_total", "Events by their result.", "result")
)

var states = []informer.State{
	informer.StateIdle, informer.StateListing, informer.StateWatching, informer.StateBackingOff, informer.StateDraining,
	informer.StatePolling,
}

// Describe implements prometheus.Collector.
func (m *ResourceMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []metric{
		descSynced, descSyncSeconds, descObjects, descBytes, descLeftOut, descState, descPolling, descContact, descLists, descListTook, descWatches,
		descWatchEvents, descFailures, descBackwards, descMissed, descStale, descIndexErrors, descPanics, descSubscribers, descDepth,
		descDepthMax, descOutstanding, descRetrying, descOldest, descErrors, descRetryOldest, descEmitted, descEvents,
		descPending, descPendingBytes, descFailing, descHeldBack, descCalls, descUnchanged,
		descPushPending, descPushBytes, descPushFailing, descPushDead, descPushSnapshots, descPushBatches, descPushChanges,
	} {
		if m.clusters {
			ch <- desc.ofCluster
		} else {
			ch <- desc.plain
		}
	}
}

// Collect implements prometheus.Collector. It makes no request.
func (m *ResourceMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, o := range m.resources.running() {
		emit := emitter{ch: ch, labels: []string{o.name}}
		if m.clusters {
			emit.labels = append(emit.labels, o.cluster)
		}
		switch {
		case o.mirror != nil:
			emit.mirror(o.mirror())
		case o.push != nil:
			emit.push(o.push())
		default:
			stats := o.resource()
			emit.stats(stats)
			emit.subscribers(stats)
		}
		emit.counters(o.counters)
	}
}

// emitter writes the metrics of one resource.
type emitter struct {
	ch     chan<- prometheus.Metric
	labels []string // the name, and the cluster if metrics have it
}

// desc returns the description with the labels of e.
func (e emitter) desc(m metric) *prometheus.Desc {
	if len(e.labels) > 1 {
		return m.ofCluster
	}
	return m.plain
}

func (e emitter) gauge(m metric, value float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.desc(m), prometheus.GaugeValue, value, slices.Concat(e.labels, labels)...)
}

// flag writes a gauge that is 1 or 0.
func (e emitter) flag(m metric, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	e.gauge(m, value, labels...)
}

func (e emitter) counter(m metric, value uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.desc(m), prometheus.CounterValue, float64(value), slices.Concat(e.labels, labels)...)
}

func (e emitter) stats(s resource.Stats) {
	if s.Synced {
		e.gauge(descSyncSeconds, s.SyncTook.Seconds())
	}
	e.informer(s.Synced, s.Store.Objects, s.Reflector)
	e.gauge(descBytes, float64(s.Bytes))
	e.counter(descStale, s.Store.Stale)
	e.counter(descIndexErrors, s.Store.IndexErrors)
	e.counter(descPanics, s.Panics)
}

// informer writes the metrics that resources, mirrors and pushes have.
func (e emitter) informer(isSynced bool, objects int, info informer.ReflectorInfo) {
	e.flag(descSynced, isSynced)
	e.flag(descPolling, info.Polling != nil)
	e.gauge(descObjects, float64(objects))
	left := len(info.LeftOut)
	if info.MoreLeftOut {
		left++
	}
	e.gauge(descLeftOut, float64(left))
	current := info.State
	if current == "" {
		current = informer.StateIdle
	}
	for _, state := range states {
		e.flag(descState, state == current, label(state))
	}
	contact := 0.0
	if !info.Contact.IsZero() {
		contact = float64(info.Contact.UnixMilli()) / 1000
	}
	e.gauge(descContact, contact)
	e.counter(descWatchEvents, info.WatchEvents)
}

func (e emitter) subscribers(s resource.Stats) {
	var depth, deepest, outstanding, retrying int
	var oldest time.Duration
	for _, sub := range s.Subscribers {
		waiting := sub.Depth + sub.Replaying
		depth += waiting
		deepest = max(deepest, waiting)
		outstanding += sub.Outstanding
		retrying += sub.Retrying
		oldest = max(oldest, sub.Oldest)
	}
	e.gauge(descSubscribers, float64(len(s.Subscribers)))
	e.gauge(descDepth, float64(depth))
	e.gauge(descDepthMax, float64(deepest))
	e.gauge(descOutstanding, float64(outstanding))
	e.gauge(descRetrying, float64(retrying))
	e.gauge(descOldest, oldest.Seconds())
	e.counter(descEmitted, s.Events.Emitted)
	e.counter(descEvents, s.Events.OK, "ok")
	e.counter(descEvents, s.Events.Retried, "retried")
	e.counter(descEvents, s.Events.Ignored, "ignored")
	e.counter(descEvents, s.Events.Stopped, "stopped")
	e.counter(descEvents, s.Events.Forgotten, "forgotten")
}

func (e emitter) counters(c *counters) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l, n := range c.lists {
		e.counter(descLists, n, label(l.reason), modeLabel(l.streamed), l.result)
	}
	for mode, d := range c.took {
		e.ch <- prometheus.MustNewConstSummary(e.desc(descListTook), d.count, d.seconds, nil, append(slices.Clip(e.labels), mode)...)
	}
	for l, n := range c.failures {
		e.counter(descFailures, n, l.operation, l.cause)
	}
	e.counter(descWatches, c.watches)
	e.counter(descBackwards, c.backwards)
	e.counter(descMissed, c.missed)
	e.counter(descErrors, c.errors)
	oldest := time.Duration(0)
	for _, o := range c.failing {
		oldest = max(oldest, time.Since(o.Since))
	}
	e.gauge(descRetryOldest, oldest.Seconds())
}
