// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// Metrics provides Prometheus metrics of the resources, mirrors and pushes of the hive, and
// a [*ResourceMetrics]. If the hive has a prometheus.Registerer, the metrics are registered
// there between Start and Stop; otherwise in a registry of their own. A registry can have
// the metrics of one hive at a time: the start of a second one fails. With
// --metrics-address, /metrics is served over HTTP between Start and Stop.
//
// All metrics have the label resource, which is the name. If several have the same name,
// the later ones get a number: "Pod.v1#2". A resource is collected from its construction
// to Stop. Other labels have few values. Counters never decrease, also if [StopUnused] stops
// the resource.
//
// If the hive has a cluster with a name (see [NamedClients]), all metrics have the label
// cluster as well. It is empty for the cluster without a name, which Prometheus takes for a
// metric without the label.
//
// Names begin with apiary_resource_. Resources, mirrors and pushes have them as marked:
//
//	                                    R M P
//	synced                              x x x  1 if there is a complete state
//	sync_seconds                        x      time from the first use to the first complete state
//	objects                             x x x  objects in the store, recorded by the mirror, or accepted by the consumer
//	bytes                               x      estimated memory of the objects in the store
//	left_out                            x x x  objects whose newest state is left out, as it cannot be decoded; 101 means more than 100
//	state{state}                        x x x  1 for the current state of the informer
//	polling                             x x x  1 while the informer polls instead of watching
//	last_contact_timestamp_seconds      x x x  time of the last response of the server
//	lists_total{reason,mode,result}     x x x  lists that ended; all but reason "first" are relists
//	list_duration_seconds{mode}         x x x  summary of complete lists
//	watches_total                       x x x  watches that the server accepted
//	watch_events_total                  x x x  events of watches
//	failures_total{operation,cause}     x x x  failed lists and watches, including watches refused while polling
//	backwards_total                     x x x  times that the server went back to an older version
//	missed_total                        x x x  changes that a list found and the watch had missed
//	stale_total                         x x x  changes that were dropped because they were not newer
//	index_errors_total                  x      failures of index functions
//	panics_total                        x x x  panics of user code; see package resource
//	subscribers                         x      current subscribers
//	subscriber_depth                    x      keys queued for all subscribers, including replays
//	subscriber_depth_max                x      keys queued for the subscriber with the most
//	subscriber_outstanding              x      events without Done
//	subscriber_retrying                 x      keys that wait for a retry
//	subscriber_oldest_seconds           x      age of the oldest queued key, event without Done, or key that fails
//	subscriber_errors_total             x x x  changes that a subscriber, handler or consumer did not accept
//	retrying_oldest_seconds             x x x  time since the first failure of the change that fails for the longest time
//	events_emitted_total                x      events that subscribers received
//	events_total{result}                x      events by their result
//
// Those of a mirror ([NewMirror]) begin with apiary_mirror_:
//
//	pending                             changes that the handler has not acknowledged
//	pending_bytes                       estimated size of their objects
//	failing                             keys whose handler call failed and will be retried
//	held_back_seconds                   age of the oldest change that holds back the resume version
//	calls_total{call,result}            calls of the handler
//	unchanged_total                     listed objects that the mirror had in the same version
//
// Those of a push ([Push]) begin with apiary_push_:
//
//	pending                             changes that the consumer has not accepted
//	pending_bytes                       estimated size of their objects
//	failing                             keys that the consumer refused and that will be retried
//	dead_letters                        keys that the consumer refused too often: see push.DeadLetterError
//	snapshots_total                     snapshots that the consumer accepted
//	batches_total{result}               batches passed to the consumer
//	changes_total{result}               changes by their result
var Metrics = cell.Module(
	"k8s-metrics", "Prometheus metrics of Kubernetes resources",

	cell.Config(MetricsConfig{}),
	cell.Provide(newResourceMetrics),
	// /metrics is served even without resources.
	cell.Invoke(constructMetrics),
)

func constructMetrics(*ResourceMetrics) {}

// MetricsConfig is the configuration of [Metrics].
type MetricsConfig struct {
	// MetricsAddress is the host:port of the HTTP server for /metrics. Default: empty, which
	// means no server. Flag --metrics-address.
	MetricsAddress string
}

// Flags implements cell.Flagger.
func (c MetricsConfig) Flags(flags *pflag.FlagSet) {
	flags.String("metrics-address", c.MetricsAddress, "host:port of an HTTP server for Prometheus metrics at /metrics; empty means no server")
}

// ResourceMetrics is the prometheus.Collector of the resources, mirrors and pushes of a hive.
// All methods can be called from any goroutine.
type ResourceMetrics struct {
	gatherer prometheus.Gatherer

	resources *Resources
	clusters  bool // the hive has clusters with a name, and the metrics their label

	server *httpServer // nil if /metrics is not served
}

type metricsHook struct{ hook }

type metricsParams struct {
	cell.In

	Lifecycle  cell.Lifecycle
	Config     MetricsConfig
	Registerer prometheus.Registerer `optional:"true"`
	Clusters   Clusters
}

func newResourceMetrics(p metricsParams) *ResourceMetrics {
	m := &ResourceMetrics{resources: p.Clusters.Resources(), clusters: len(p.Clusters.All) > 0}
	if p.Registerer == nil {
		p.Registerer = prometheus.NewRegistry()
	}
	if gatherer, ok := p.Registerer.(prometheus.Gatherer); ok {
		m.gatherer = gatherer
	} else {
		own := prometheus.NewRegistry()
		own.MustRegister(m)
		m.gatherer = own
	}
	p.Lifecycle.Append(metricsHook{hook{
		info: "metrics of resources",
		start: func(cell.HookContext) error {
			if err := p.Registerer.Register(m); err != nil {
				return fmt.Errorf("metrics of resources: %w", err)
			}
			return nil
		},
		stop: func(cell.HookContext) error {
			p.Registerer.Unregister(m)
			return nil
		},
	}})
	if p.Config.MetricsAddress != "" {
		mux := http.NewServeMux()
		mux.Handle("/metrics", promhttp.HandlerFor(m.gatherer, promhttp.HandlerOpts{}))
		m.server = &httpServer{what: "metrics", flag: "metrics-address", network: "tcp", address: p.Config.MetricsAddress, handler: mux}
		p.Lifecycle.Append(m.server)
	}
	return m
}

// Gatherer returns a gatherer of these metrics. If the registry of the hive is a
// prometheus.Gatherer, it is that registry, with all its metrics.
func (m *ResourceMetrics) Gatherer() prometheus.Gatherer { return m.gatherer }

// Address returns the address of /metrics, or nil if it is not served.
func (m *ResourceMetrics) Address() net.Addr { return m.server.Addr() }

// counters counts what an informer does.
type counters struct {
	mu        sync.Mutex
	lists     map[listLabels]uint64
	took      map[string]durations
	failures  map[failureLabels]uint64
	watches   uint64
	backwards uint64
	missed    uint64
	errors    uint64        // of consumers
	failing   failedChanges // those that are retried
}

type (
	listLabels struct {
		reason   store.Reason
		streamed bool
		result   string
	}
	failureLabels struct{ operation, cause string }
	durations     struct {
		count   uint64
		seconds float64
	}
)

// Observe implements informer.Observer.
func (c *counters) Observe(_ informer.ReflectorInfo, occurrence informer.ReflectorEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing.observe(occurrence, isRetried)
	switch o := occurrence.(type) {
	case informer.ListDone:
		mode := modeLabel(o.Streamed)
		increment(&c.lists, listLabels{o.Pass.Reason, o.Streamed, "done"})
		if c.took == nil {
			c.took = map[string]durations{}
		}
		d := c.took[mode]
		c.took[mode] = durations{d.count + 1, d.seconds + o.Took.Seconds()}
	case informer.ListFailed:
		if o.Cause != informer.CauseCanceled {
			increment(&c.lists, listLabels{o.Pass.Reason, o.Streamed, "failed"})
			increment(&c.failures, failureLabels{"list", label(o.Cause)})
		}
	case informer.WatchOpened:
		c.watches++
	case informer.WatchEnded:
		if o.Err != nil && o.Cause != informer.CauseCanceled && o.Cause != informer.CauseClosed {
			increment(&c.failures, failureLabels{"watch", label(o.Cause)})
		}
	case informer.WentBackwards:
		c.backwards++
	case informer.CheckDiffers:
		increment(&c.lists, listLabels{o.Pass.Reason, false, "differs"})
	case informer.Missed:
		c.missed += uint64(o.Count)
	case informer.ConsumerFailed:
		c.errors++
	}
}

// listCounts returns how many lists ended, the first ones first, and then by reason.
func (c *counters) listCounts() (counts []ListCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l, n := range c.lists {
		counts = append(counts, ListCount{Reason: l.reason, Streamed: l.streamed, Result: l.result, Count: n})
	}
	slices.SortFunc(counts, func(a, b ListCount) int {
		first := func(c ListCount) int {
			if c.Reason == store.ReasonFirst {
				return 0
			}
			return 1
		}
		return cmp.Or(first(a)-first(b), cmp.Compare(a.Reason, b.Reason), cmp.Compare(modeLabel(b.Streamed), modeLabel(a.Streamed)), cmp.Compare(a.Result, b.Result))
	})
	return counts
}

func modeLabel(streamed bool) string {
	if streamed {
		return "streamed"
	}
	return "paged"
}

func increment[K comparable](m *map[K]uint64, key K) {
	if *m == nil {
		*m = map[K]uint64{}
	}
	(*m)[key]++
}
