// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/logtest"
)

// reports is a log of panics.
type reports struct{ bytes.Buffer }

func (r *reports) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// expect checks how many lines there are, and that each of the texts is in them.
func (r *reports) expect(t *testing.T, lines int, texts ...string) {
	t.Helper()
	if n := strings.Count(r.String(), "\n"); n != lines {
		t.Errorf("%d lines are logged, want %d", n, lines)
	}
	for _, text := range append(texts, "usercode_test.go:", "stack=", "resource=pods") {
		if !strings.Contains(r.String(), text) {
			t.Errorf("%q is missing in the log", text)
		}
	}
}

// A filter that panics for a thousand subscriptions is reported once, and counted.
func TestPanicsOfFiltersAreThrottled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log reports
		r := startRig(t, WithName("pods"), WithLogger(log.logger()))
		bad := Filter[*corev1.Pod](r.view, func(*corev1.Pod) bool { panic("fault") })
		r.view.want()
		r.sync("a")
		for range 1000 {
			expectClosed(t, bad.Events(t.Context()))
		}
		expect(t, r.view.Events(t.Context()), "upsert a@1", "sync")
		if n := r.view.Stats().Panics; n != 1000 {
			t.Errorf("%d panics are counted", n)
		}
		log.expect(t, 1, "function=filter", "key=ns/a", "fault")
	})
}

// An index function that panics for a thousand objects is reported once, and counted.
// The objects are there, and in the other index.
func TestPanicsOfIndexFunctions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log reports
		r := startRig(t, WithName("pods"), WithLogger(log.logger()), WithIndexers(cache.Indexers{
			"bad":  func(any) ([]string, error) { panic("fault") },
			"good": func(any) ([]string, error) { return []string{"all"}, nil },
		}))
		r.view.want()
		r.begin()
		for i := range 1000 {
			r.upsert(fmt.Sprint("pod-", i))
		}
		r.commit()
		keys, err := storeView[*corev1.Pod]{view: r.view}.IndexKeys("good", "all")
		if err != nil || len(keys) != 1000 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		if stats := r.view.Stats(); stats.Panics != 1000 || stats.Store.IndexErrors != 1000 {
			t.Errorf("%d panics, %d errors are counted", stats.Panics, stats.Store.IndexErrors)
		}
		log.expect(t, 1, `function="index function \"bad\""`, "key=ns/pod-0")
	})
}

// lineWriter sends what is written.
type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}

// A function of WithForgottenDone that panics does not end the process.
func TestForgottenDoneThatPanics(t *testing.T) {
	log := make(lineWriter, 10)
	called := make(chan ForgottenDone, 1)
	r := startRig(t, WithName("pods"), WithLogger(slog.New(slog.NewTextHandler(log, nil))), WithForgottenDone(func(f ForgottenDone) {
		called <- f
		panic("fault")
	}))
	forget(r, t.Context())
	collect(t, called)
	line := <-log
	for _, want := range []string{"WithForgottenDone", "key=ns/a", "usercode_test.go:"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
	if n := r.view.Stats().Panics; n != 1 {
		t.Errorf("%d panics are counted", n)
	}
}

// badGauges calls the resource for each metric, and panics if it is faulty.
type badGauges struct {
	gauges
	call func()
}

type badGauge struct {
	gauge
	call func()
}

func (g badGauge) Inc()              { g.call(); g.gauge.Inc() }
func (g badGauge) Dec()              { g.call(); g.gauge.Dec() }
func (g badGauge) Observe(v float64) { g.call(); g.gauge.Observe(v) }
func (g badGauge) Set(v float64)     { g.call(); g.gauge.Set(v) }

func (g *badGauges) metric(q, name string) badGauge {
	return badGauge{g.gauges.metric(q, name), g.call}
}

func (g *badGauges) NewDepthMetric(q string) workqueue.GaugeMetric     { return g.metric(q, "depth") }
func (g *badGauges) NewAddsMetric(q string) workqueue.CounterMetric    { return g.metric(q, "adds") }
func (g *badGauges) NewRetriesMetric(q string) workqueue.CounterMetric { return g.metric(q, "retries") }
func (g *badGauges) NewLatencyMetric(q string) workqueue.HistogramMetric {
	return g.metric(q, "latency")
}
func (g *badGauges) NewWorkDurationMetric(q string) workqueue.HistogramMetric {
	return g.metric(q, "work")
}
func (g *badGauges) NewUnfinishedWorkSecondsMetric(q string) workqueue.SettableGaugeMetric {
	return g.metric(q, "unfinished")
}
func (g *badGauges) NewLongestRunningProcessorSecondsMetric(q string) workqueue.SettableGaugeMetric {
	return g.metric(q, "longest")
}

// Metrics can use the resource: no lock is held when they are called.
func TestMetricsUseTheResource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := &badGauges{gauges: gauges{values: map[string]float64{}}}
		var r *rig
		calls := 0
		g.call = func() { calls++; r.view.Stats() }
		r = startRig(t, WithMetricsProvider(g))
		ctx, cancel := context.WithCancel(t.Context())
		events := r.view.Events(ctx, after(time.Second))
		r.sync("a", "b")
		take(t, events).Done(errTest)
		expect(t, events, "upsert b@2", "sync")
		g.check(t, map[string]float64{"adds": 3, "retries": 1, "depth": 0})
		time.Sleep(time.Second)
		expect(t, events, "upsert a@1")
		cancel()
		g.check(t, map[string]float64{"adds": 4, "longest": 0, "unfinished": 0})
		if calls == 0 {
			t.Error("no call")
		}
	})
}

// Metrics that panic lose what they are told, and nothing else.
func TestMetricsThatPanic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log reports
		g := &badGauges{gauges: gauges{values: map[string]float64{}}, call: func() { panic("fault") }}
		r := startRig(t, WithName("pods"), WithLogger(log.logger()), WithMetricsProvider(g))
		ctx, cancel := context.WithCancel(t.Context())
		events := r.view.Events(ctx)
		r.sync("a", "b")
		expect(t, events, "upsert a@1", "upsert b@2", "sync")
		r.upsert("a")
		expect(t, events, "upsert a@4")
		cancel()
		expectClosed(t, events)
		if n := r.view.Stats().Panics; n < 4 {
			t.Errorf("%d panics are counted", n)
		}
		log.expect(t, 1, "metrics provider")
	})
}

// userContext is a context of a type of the user's, which calls when it is followed,
// and when it is let go of.
type userContext struct {
	context.Context
	follow, leave func()
}

// Value hides the context within, which package context would follow in place of c.
func (c userContext) Value(any) any { return nil }

func (c userContext) AfterFunc(f func()) func() bool {
	c.follow()
	stop := context.AfterFunc(c.Context, f)
	return func() bool { c.leave(); return stop() }
}

// A context can use the resource when it is followed: no lock is held. One that
// panics when it is let go of harms nobody.
func TestContextOfTheUser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log reports
		r := startRig(t, WithName("pods"), WithLogger(log.logger()))
		use := func() { r.view.Stats() }
		events := r.view.Events(userContext{t.Context(), use, func() { use(); panic("fault") }}, WithErrorHandler(RetryUpTo(0)))
		other := r.view.Events(t.Context())
		r.sync("a")
		take(t, events).Done(errTest)
		expectClosed(t, events)
		expect(t, other, "upsert a@1", "sync")
		if stats := r.view.Stats(); stats.Panics != 1 || len(stats.Subscribers) != 1 {
			t.Errorf("%d panics, %d subscribers", stats.Panics, len(stats.Subscribers))
		}
		log.expect(t, 1, "function=context")
		ended, end := context.WithCancel(t.Context())
		end()
		expectClosed(t, r.view.Events(userContext{ended, func() { synctest.Wait() }, use}))
	})
}

// The complete function of a disabled resource may panic, too.
func TestDisabledCompleteThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var out reports
		logtest.SetDefault(t, out.logger().Handler())
		r := Disabled[*corev1.Pod](errTest)
		for range 1000 {
			r.Observe(t.Context(), nil, func(error) { panic("fault") })
		}
		synctest.Wait()
		if n := r.(Inspector).Stats().Panics; n != 1000 {
			t.Errorf("%d panics are counted", n)
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "usercode_test.go:") {
			t.Errorf("%d lines are logged", n)
		}
	})
}

// A transform, an observer, and the functions of a ListWatch that panic are reported
// with the resource. They hold up neither it nor the other observers.
func TestPanicsOfTheInformer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log reports
		left := map[string]int{"transform": 2, "list": 2, "watch": 2, "observer": 2}
		fault := func(function string) {
			if left[function]--; left[function] >= 0 {
				panic("fault in " + function)
			}
		}
		lw := &cache.ListWatch{
			ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				fault("list")
				return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "9"}, Items: []corev1.Pod{*pod("a", "u", 1)}}, nil
			},
			WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
				if opts.SendInitialEvents != nil {
					return nil, errors.New("no streams")
				}
				fault("watch")
				return watch.NewFake(), nil
			},
		}
		told := 0
		lc := &cell.DefaultLifecycle{}
		r := New[*corev1.Pod](lc, lw, WithName("pods"), WithLogger(log.logger()), WithSettings(informer.Settings{Lists: informer.ListPaged}),
			WithTransform(func(p *corev1.Pod) (*corev1.Pod, error) { fault("transform"); return p, nil }),
			WithObserver(informer.ObserverFunc(func(informer.ReflectorInfo, informer.ReflectorEvent) { fault("observer") })),
			WithObserver(informer.ObserverFunc(func(informer.ReflectorInfo, informer.ReflectorEvent) { told++ })))
		if err := lc.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		events := r.Events(t.Context())
		expect(t, events, "sync")
		time.Sleep(time.Hour) // two lists leave the object out
		expect(t, events, "upsert a@1")
		stats := r.(Inspector).Stats()
		if stats.Panics != 8 || stats.Reflector.State != informer.StateWatching || told == 0 {
			t.Errorf("%d panics are counted, %+v", stats.Panics, stats.Reflector)
		}
		for function := range left {
			if !strings.Contains(log.String(), "fault in "+function) {
				t.Errorf("a panic of the %s is not reported", function)
			}
		}
		if !strings.Contains(log.String(), "key=ns/a") || strings.Count(log.String(), "stack=") > 8 {
			t.Error("the key is missing, or there is too much")
		}
		if err := lc.Stop(quiet(), context.Background()); err != nil {
			t.Error(err)
		}
	})
}
