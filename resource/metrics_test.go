// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// gauges is a metrics provider that keeps what it is told by the name of the
// metric.
type gauges struct {
	mu     sync.Mutex
	queue  string
	values map[string]float64
}

type gauge struct {
	of   *gauges
	name string
}

func (g gauge) add(v float64) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.of.values[g.name] += v
}

func (g gauge) Inc()              { g.add(1) }
func (g gauge) Dec()              { g.add(-1) }
func (g gauge) Observe(v float64) { g.add(v) }

func (g gauge) Set(v float64) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.of.values[g.name] = v
}

func (g *gauges) metric(queue, name string) gauge {
	g.queue = queue
	return gauge{of: g, name: name}
}

func (g *gauges) NewDepthMetric(q string) workqueue.GaugeMetric     { return g.metric(q, "depth") }
func (g *gauges) NewAddsMetric(q string) workqueue.CounterMetric    { return g.metric(q, "adds") }
func (g *gauges) NewRetriesMetric(q string) workqueue.CounterMetric { return g.metric(q, "retries") }

func (g *gauges) NewLatencyMetric(q string) workqueue.HistogramMetric {
	return g.metric(q, "latency")
}

func (g *gauges) NewWorkDurationMetric(q string) workqueue.HistogramMetric {
	return g.metric(q, "work")
}

func (g *gauges) NewUnfinishedWorkSecondsMetric(q string) workqueue.SettableGaugeMetric {
	return g.metric(q, "unfinished")
}

func (g *gauges) NewLongestRunningProcessorSecondsMetric(q string) workqueue.SettableGaugeMetric {
	return g.metric(q, "longest")
}

func (g *gauges) check(t *testing.T, want map[string]float64) {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, v := range want {
		if g.values[name] != v {
			t.Errorf("%s is %v, want %v", name, g.values[name], v)
		}
	}
}

func TestQueueMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := &gauges{values: map[string]float64{}}
		r := startRig(t, WithName("pods"), WithMetricsProvider(g))
		events := r.view.Events(t.Context(), after(time.Second))
		r.begin()
		r.upsert("a")
		r.upsert("b")
		time.Sleep(measureEvery)                              // metrics can be late by this
		g.check(t, map[string]float64{"adds": 2, "depth": 1}) // a is being offered
		time.Sleep(2*time.Second - measureEvery)
		a := take(t, events)
		g.check(t, map[string]float64{"depth": 0, "latency": 2, "longest": 2, "unfinished": 2})
		b := take(t, events)
		time.Sleep(3 * time.Second)
		g.check(t, map[string]float64{"longest": 5, "unfinished": 8})
		b.Done(nil)
		a.Done(errTest)
		g.check(t, map[string]float64{"retries": 1, "work": 8, "adds": 2})
		time.Sleep(time.Second)
		expect(t, events, "upsert a@1")
		g.check(t, map[string]float64{"adds": 3, "depth": 0})
		if g.queue != "pods" {
			t.Errorf("the queue is called %q", g.queue)
		}
	})
}

func TestStats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t, WithName("pods"))
		if stats := r.view.Stats(); stats.Name != "pods" || stats.Wanted || stats.Synced {
			t.Errorf("at first: %+v", stats)
		}
		events := r.view.Events(t.Context(), after(time.Hour))
		time.Sleep(time.Second)
		r.sync("a", "b", "c")
		held, failed := take(t, events), take(t, events)
		failed.Done(errTest)
		synctest.Wait() // c is being offered
		time.Sleep(3 * time.Second)
		stats := r.view.Stats()
		if !stats.Wanted || !stats.Synced || stats.SyncTook != time.Second || stats.Store.Objects != 3 {
			t.Errorf("synced: %+v", stats)
		}
		if sub := stats.Subscribers[0]; sub.Depth != 1 || sub.Outstanding != 2 || sub.Retrying != 1 || sub.Oldest != 3*time.Second {
			t.Errorf("the subscriber: %+v", sub)
		}
		if want := (EventCounts{Emitted: 3, Retried: 1}); stats.Events != want {
			t.Errorf("counted %+v, want %+v", stats.Events, want)
		}
		held.Done(nil)
		if late := r.view.Events(t.Context()); late != nil {
			synctest.Wait()
			if sub := r.view.Stats().Subscribers[1]; sub.Replaying != 2 || sub.Outstanding != 1 {
				t.Errorf("a late subscriber: %+v", sub)
			}
		}
	})
}

// An event of the replay has been worked on since it was emitted, not since the
// subscription.
func TestQueueMetricsOfReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := &gauges{values: map[string]float64{}}
		r := startRig(t, WithMetricsProvider(g))
		r.view.want()
		r.sync("a", "b")
		events := r.view.Events(t.Context())
		synctest.Wait()
		time.Sleep(5 * time.Second)
		expect(t, events, "upsert a@1") // which was offered all the while
		expect(t, events, "upsert b@2")
		g.check(t, map[string]float64{"work": 5})
	})
}

// The time that many events have been outstanding in sum is more than what one
// may have been.
func TestUnfinishedWorkOfMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := &gauges{values: map[string]float64{}}
		r := startRig(t, WithMetricsProvider(g))
		ctx, cancel := context.WithCancel(t.Context())
		events := r.view.Events(ctx)
		r.sync("a", "b", "c")
		for range 4 {
			take(t, events)
		}
		synctest.Wait()
		const day = 24 * time.Hour
		r.view.hub.epoch = r.view.hub.epoch.Add(-20 * day)
		r.view.hub.subs[0].measure()
		g.check(t, map[string]float64{"longest": (20 * day).Seconds(), "unfinished": (80 * day).Seconds()})
		cancel()
		g.check(t, map[string]float64{"longest": 0, "unfinished": 0})
	})
}
