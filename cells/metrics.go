// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
)

// Metrics counts what the resources of the hive do, for Prometheus. It provides
// [*ResourceMetrics]. If the hive has a prometheus.Registerer the metrics are
// registered there while the hive runs, otherwise in a registry of their own; see
// [ResourceMetrics.Gatherer]. A registry can have those of one hive at a time; the
// start of a second one fails.
//
// With --metrics-address they are served over HTTP as /metrics, from the start of
// the hive to its stop.
//
// All names begin with apiary_resource_, and all have the label resource, the name
// of the resource; further ones of the same name get a number: "Pod.v1#2". A
// resource is collected from its construction until its lifecycle stops. Values of
// the other labels are from small closed sets.
//
//	synced                              whether there is a complete state
//	sync_seconds                        how long it took from first use to that
//	objects                             in the store
//	left_out                            objects whose newest state is left out because it cannot be decoded; 101 if there are more than 100
//	state{state}                        1 for the state that the informer is in
//	polling                             whether it polls, since it may not watch or watches bring nothing; stays 1 while it does
//	last_contact_timestamp_seconds      when the server was last heard of
//	lists_total{reason,mode,result}     lists that ended; all but reason "first" are relists
//	list_duration_seconds{mode}         summary: duration of lists that were read to the end
//	watches_total                       watches that the server accepted
//	watch_events_total                  events of watches that ended
//	failures_total{operation,cause}     of lists and watches, those included that are refused while it polls
//	backwards_total                     versions that went backwards
//	missed_total                        changes that a list found and the watch should have brought
//	stale_total                         changes that were no news
//	index_errors_total                  failures of index functions
//	panics_total                        panics of user code; see package resource
//	subscribers                         that there are now
//	subscriber_depth                    keys that wait to be emitted, over all subscribers, replays included
//	subscriber_depth_max                the same, of the subscriber with the most
//	subscriber_outstanding              events without Done, over all subscribers
//	subscriber_retrying                 keys that are held back after an error
//	subscriber_oldest_seconds           how long the key that waits longest has waited
//	events_emitted_total                events that subscribers took
//	events_total{result}                what became of them
//
// Of a mirror ([NewMirror]) there are the same up to stale_total, under its name and
// with the label resource, where objects are those that are recorded, except for
// sync_seconds and index_errors_total; and panics_total. Further ones begin with apiary_mirror_:
//
//	pending                             changes that the handler has not acknowledged
//	pending_bytes                       the estimated size of their objects
//	failing                             keys whose handler failed, to be tried again
//	held_back_seconds                   how long the resume version has been held back by the oldest of them
//	calls_total{call,result}            calls of the handler
//	unchanged_total                     objects of lists that were recorded in the same version
//
// Of a push ([Push]) there are the same ones as of a mirror, where objects are those
// that the consumer has accepted. Further ones begin with apiary_push_:
//
//	pending                             changes that the consumer has not accepted
//	pending_bytes                       the estimated size of their objects
//	failing                             keys that it refused, to be tried again
//	dead_letters                        keys that it refused too often: see push.DeadLetterError
//	snapshots_total                     snapshots that it accepted
//	batches_total{result}               batches that it was given
//	changes_total{result}               changes by what became of them
var Metrics = cell.Module(
	"k8s-metrics", "Prometheus metrics of Kubernetes resources",

	cell.Config(MetricsConfig{}),
	cell.Provide(newResourceMetrics),
	// The HTTP listener is wanted also where no resource is.
	cell.Invoke(wantMetrics),
)

func wantMetrics(*ResourceMetrics) {}

// MetricsConfig is the configuration of [Metrics].
type MetricsConfig struct {
	// MetricsAddress is the host:port to serve /metrics on. Default: none. Flag
	// --metrics-address.
	MetricsAddress string
}

// Flags implements cell.Flagger.
func (c MetricsConfig) Flags(flags *pflag.FlagSet) {
	flags.String("metrics-address", c.MetricsAddress, "host:port to serve Prometheus metrics on, as /metrics; default: nowhere")
}

// ResourceMetrics is the prometheus.Collector of the resources of a hive.
type ResourceMetrics struct {
	gatherer prometheus.Gatherer

	mu        sync.Mutex
	resources []observed // replaced, not modified
	listener  net.Listener
}

// observed is a resource, a mirror or a push that is collected: the one whose
// function is not nil.
type observed struct {
	name     string
	resource func() resource.Stats
	mirror   func() mirror.InformerStats
	push     func() push.BatcherStats
	counters *counters
}

type metricsParams struct {
	cell.In

	Lifecycle  cell.Lifecycle
	Config     MetricsConfig
	Registerer prometheus.Registerer `optional:"true"`
}

func newResourceMetrics(p metricsParams) *ResourceMetrics {
	m := &ResourceMetrics{}
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
	p.Lifecycle.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			if err := p.Registerer.Register(m); err != nil {
				return fmt.Errorf("metrics of resources: %w", err)
			}
			return nil
		},
		OnStop: func(cell.HookContext) error {
			p.Registerer.Unregister(m)
			return nil
		},
	})
	if p.Config.MetricsAddress != "" {
		p.Lifecycle.Append(&metricsServer{metrics: m, address: p.Config.MetricsAddress})
	}
	return m
}

// Gatherer gathers these metrics: from the registry of the hive if it has one,
// along with whatever else is there.
func (m *ResourceMetrics) Gatherer() prometheus.Gatherer { return m.gatherer }

// Address is where /metrics is served, nil if it is not.
func (m *ResourceMetrics) Address() net.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listener == nil {
		return nil
	}
	return m.listener.Addr()
}

// add has o collected under that name. One that another has gets a number.
func (m *ResourceMetrics) add(name string, o observed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o.name = name
	for n := 2; slices.ContainsFunc(m.resources, func(other observed) bool { return other.name == o.name }); n++ {
		o.name = fmt.Sprintf("%s#%d", name, n)
	}
	m.resources = append(slices.Clip(m.resources), o)
}

// remove forgets what has these counters.
func (m *ResourceMetrics) remove(c *counters) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resources = slices.DeleteFunc(slices.Clone(m.resources), func(o observed) bool { return o.counters == c })
}

// counters counts what an informer does.
type counters struct {
	mu        sync.Mutex
	lists     map[listLabels]uint64
	took      map[string]durations
	failures  map[failureLabels]uint64
	watches   uint64
	events    uint64
	backwards uint64
	missed    uint64
}

type (
	listLabels    struct{ reason, mode, result string }
	failureLabels struct{ operation, cause string }
	durations     struct {
		count   uint64
		seconds float64
	}
)

// Observe implements informer.Observer.
func (c *counters) Observe(_ informer.ReflectorInfo, occurrence informer.Occurrence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch o := occurrence.(type) {
	case informer.ListDone:
		mode := modeLabel(o.Streamed)
		increment(&c.lists, listLabels{label(o.Pass.Reason), mode, "done"})
		if c.took == nil {
			c.took = map[string]durations{}
		}
		d := c.took[mode]
		c.took[mode] = durations{d.count + 1, d.seconds + o.Took.Seconds()}
	case informer.ListFailed:
		if o.Cause != informer.CauseCanceled {
			increment(&c.lists, listLabels{label(o.Pass.Reason), modeLabel(o.Streamed), "failed"})
			increment(&c.failures, failureLabels{"list", label(o.Cause)})
		}
	case informer.WatchOpened:
		c.watches++
	case informer.WatchEnded:
		c.events += uint64(o.Events)
		if o.Err != nil && o.Cause != informer.CauseCanceled && o.Cause != informer.CauseClosed {
			increment(&c.failures, failureLabels{"watch", label(o.Cause)})
		}
	case informer.WentBackwards:
		c.backwards++
	case informer.CheckDiffers:
		increment(&c.lists, listLabels{label(o.Pass.Reason), modeLabel(false), "differs"})
	case informer.Missed:
		c.missed += uint64(o.Count)
	}
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

// metricsServer is the hook that serves /metrics.
type metricsServer struct {
	metrics *ResourceMetrics
	address string
	server  *http.Server
	ended   chan struct{}
}

// HookInfo shows in hive's log of its hooks.
func (s *metricsServer) HookInfo() string { return "metrics on " + s.address }

// Start implements cell.HookInterface.
func (s *metricsServer) Start(ctx cell.HookContext) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("--metrics-address=%s: %w", s.address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(s.metrics.gatherer, promhttp.HandlerOpts{}))
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.ended = make(chan struct{})
	s.metrics.mu.Lock()
	s.metrics.listener = listener
	s.metrics.mu.Unlock()
	go func() { // waited for by Stop
		defer close(s.ended)
		_ = s.server.Serve(listener) // ends with ErrServerClosed
	}()
	return nil
}

// Stop implements cell.HookInterface.
func (s *metricsServer) Stop(ctx cell.HookContext) error {
	// A scrape that is under way may end, if it does so soon.
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := s.server.Shutdown(soon)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.ended
	return err
}
