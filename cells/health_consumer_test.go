// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// Health names a consumer that fails over the limits, one failure at a time, and is OK when
// the last of them has recovered. A failure of the informer comes first.
func TestHealthOfConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := newHealthLog()
		r := &reporter{health: health}
		failed := func(key string, retries int, since time.Duration, err string) informer.ConsumerFailed {
			return informer.ConsumerFailed{Consumer: informer.Consumer{Subscriber: "programmer", ID: 1, Key: store.Key{Namespace: "ns", Name: key}},
				Action: informer.ActionRetry, Retries: retries, Since: time.Now().Add(-since), Err: errors.New(err)}
		}
		recovered := func(key string) informer.ConsumerRecovered {
			return informer.ConsumerRecovered{Consumer: failed(key, 0, 0, "").Consumer}
		}
		ended := informer.ConsumerEnded{Consumer: informer.Consumer{Subscriber: "programmer", ID: 1}}
		dead := failed("a", 2, time.Second, "too large")
		dead.Action, dead.Subscriber = informer.ActionDeadLetter, ""
		for i, step := range []struct {
			o    informer.ReflectorEvent
			says string
		}{
			{informer.ListDone{Objects: 1}, " OK: synced, 1 object at the last list"},
			{failed("a", 9, time.Second, "map full"), ""},
			{failed("a", 10, time.Second, "map full"), " Degraded: synced, 1 object at the last list, subscriber programmer fails on ns/a since 23:59:59 UTC: map full"},
			{failed("a", 11, time.Second, "map full"), ""},
			{failed("a", 12, time.Second, "no such device"), " Degraded: synced, 1 object at the last list, subscriber programmer fails on ns/a since 23:59:59 UTC: no such device"},
			{failed("b", 1, time.Minute, "map full"), " Degraded: synced, 1 object at the last list, subscriber programmer fails on ns/a since 23:59:59 UTC and another: no such device"},
			{recovered("a"), " Degraded: synced, 1 object at the last list, subscriber programmer fails on ns/b since 23:59:00 UTC: map full"},
			{informer.BackingOff{Cause: informer.CauseServer, Err: errors.New("etcd is down")}, " Degraded: cannot list or watch: server: etcd is down"},
			{failed("b", 2, time.Minute, "map full"), ""},
			{informer.Recovered{}, " Degraded: synced, subscriber programmer fails on ns/b since 23:59:00 UTC: map full"},
			{recovered("b"), " OK: synced"},
			{failed("a", 10, time.Second, "map full"), " Degraded: synced, subscriber programmer fails on ns/a since 23:59:59 UTC: map full"},
			{ended, " OK: synced"},
			{dead, " Degraded: synced, the consumer fails on ns/a since 23:59:59 UTC, a dead letter: too large"},
			{informer.ConsumerRecovered{Consumer: dead.Consumer}, " OK: synced"},
		} {
			r.Observe(informer.ReflectorInfo{}, step.o)
			got := ""
			if len(health.lines) > 0 {
				got = <-health.lines
			}
			if got != step.says || len(health.lines) > 0 {
				t.Errorf("step %d: got %q, want %q", i, got, step.says)
			}
		}
	})
}

// The limits are options, the default of each is its own, and less than 0 is no limit.
func TestDegradedAfter(t *testing.T) {
	failed := func(retries int, age time.Duration) informer.ConsumerFailed {
		return informer.ConsumerFailed{Action: informer.ActionRetry, Retries: retries, Since: time.Now().Add(-age)}
	}
	for _, tt := range []struct {
		retries int
		age     time.Duration
		o       informer.ConsumerFailed
		over    bool
	}{
		{0, 0, failed(9, 59*time.Second), false},
		{0, 0, failed(10, 0), true},
		{0, 0, failed(0, time.Minute), true},
		{3, -1, failed(3, 0), true},
		{3, -1, failed(2, time.Hour), false},
		{-1, time.Second, failed(1000, 0), false},
		{-1, time.Second, failed(0, time.Second), true},
		{-1, -1, failed(1000, time.Hour), false},
	} {
		if got := gather([]Option{DegradedAfter(tt.retries, tt.age)}).limits.isOver(tt.o); got != tt.over {
			t.Errorf("DegradedAfter(%d, %v) of %d retries in %v: %v", tt.retries, tt.age, tt.o.Retries, time.Since(tt.o.Since), got)
		}
	}
}

// A subscriber and the handler of a mirror that fail are in the metrics and in health, and
// are gone from both when they recover.
func TestFailingConsumersAreSeen(t *testing.T) {
	health := newHealthLog()
	registry := prometheus.NewPedanticRegistry()
	api := fakeapi.New(fakeapi.Kind{})
	_ = api
	_ = http.NoBody
	handler := &failingHandler{fails: make(chan bool, 1)}
	handler.fails <- true
	err := run(t, quiet(), nil, FakeClient, Metrics, Resource[*corev1.Pod](DegradedAfter(3, -1)),
		cell.Provide(func() cell.Health { return health }, func() prometheus.Registerer { return registry }),
		cell.Invoke(func(p Params) error {
			_, err := NewMirror("mirror", p, mirror.InformerConfig[*corev1.Pod]{Handler: handler,
				RateLimiter: workqueue.NewTypedItemFastSlowRateLimiter[store.Key](time.Millisecond, time.Millisecond, 1)}, DegradedAfter(3, -1))
			return err
		}),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Pods resource.Resource[*corev1.Pod]
			Fake *fakeapi.Server
		}) error {
			if err := in.Fake.Add(pod("a", "one")); err != nil {
				return err
			}
			health.await(t, "mirror Degraded: ", "the consumer fails on a/one", "map full")
			events := in.Pods.Events(ctx, resource.WithSubscriberName("programmer"),
				resource.WithRateLimiter(workqueue.NewTypedItemFastSlowRateLimiter[store.Key](time.Millisecond, time.Millisecond, 1)))
			fail := func(times int) {
				for times > 0 {
					if e := <-events; e.Kind == resource.Upsert {
						e.Done(errors.New("map full"))
						times--
					} else {
						e.Done(nil)
					}
				}
			}
			fail(4)
			health.await(t, "Pod.v1 Degraded: ", "subscriber programmer fails on a/one", "map full")
			for _, name := range []string{"Pod.v1", "mirror"} {
				if n := gathered(t, registry, "apiary_resource_subscriber_errors_total", name); n < 4 {
					t.Errorf("%s: %v errors", name, n)
				}
				if age := gathered(t, registry, "apiary_resource_retrying_oldest_seconds", name); age <= 0 {
					t.Errorf("%s: the oldest failure is %v old", name, age)
				}
			}
			(<-events).Done(nil)
			<-handler.fails
			handler.fails <- false
			health.await(t, "Pod.v1 OK: synced")
			health.await(t, "mirror OK: synced")
			for _, name := range []string{"Pod.v1", "mirror"} {
				if age := gathered(t, registry, "apiary_resource_retrying_oldest_seconds", name); age != 0 {
					t.Errorf("%s: after the recovery the oldest failure is %v old", name, age)
				}
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// gathered returns the value of a metric of one resource.
func gathered(t *testing.T, registry prometheus.Gatherer, metric, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == metric && m.Label[0].GetValue() == name {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %s", metric, name)
	return 0
}

// failingHandler fails while its channel holds true.
type failingHandler struct {
	mirror.ResourceEventHandlerFuncs[*corev1.Pod]
	fails chan bool
}

func (h *failingHandler) OnAdd(context.Context, informer.Object[*corev1.Pod]) error {
	fails := <-h.fails
	h.fails <- fails
	if fails {
		return errors.New("map full")
	}
	return nil
}
