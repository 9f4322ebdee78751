// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// refusing refuses requests of these verbs for pods.
func refusing(api *fakeapi.Server, refuse func(fakeapi.Request) error, verbs ...string) {
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		for _, verb := range verbs {
			if r.Resource.Resource == "pods" && r.Verb == verb {
				return refuse(r)
			}
		}
		return nil
	})
}

// checkPolling checks what the metrics say of polling.
func checkPolling(t *testing.T, m *ResourceMetrics, want string) {
	t.Helper()
	want = "# HELP apiary_resource_polling 1 while the informer polls, because it is not allowed to watch or watches bring nothing.\n" +
		"# TYPE apiary_resource_polling gauge\n" + `apiary_resource_polling{resource="Pod.v1"} ` + want + "\n"
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "apiary_resource_polling"); err != nil {
		t.Error(err)
	}
}

// A resource that may list and not watch is in order, and says how it is kept up
// to date; what to alert on is a metric.
func TestPollingIsShown(t *testing.T) {
	api, health := fakeapi.New(), newHealthLog()
	refusing(api, forbidden, "watch")
	polls := With(resource.WithSettings(informer.Settings{
		PollInterval: 20 * time.Millisecond,
		Backoff:      informer.Backoff{Initial: time.Millisecond, Max: 5 * time.Millisecond, Denied: time.Millisecond, Jitter: -1},
	}))
	err := run(t, quiet(), nil, withFake(api), Metrics, cell.Provide(func() cell.Health { return health }),
		Resource[*corev1.Pod](polls),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Pods    resource.Resource[*corev1.Pod]
			Metrics *ResourceMetrics
		}) error {
			checkPolling(t, in.Metrics, "0")
			pods := storeOf(t, ctx, in.Pods)
			health.await(t, "Pod.v1 OK: synced by polling every 20ms (watch is forbidden)")
			checkPolling(t, in.Metrics, "1")

			if err := api.Add(pod("a", "one")); err != nil {
				return err
			}
			health.await(t, "Pod.v1 OK: synced by polling every 20ms (watch is forbidden), 1 object at the last list")
			expect(t, keys(pods), "a/one")

			refusing(api, forbidden, "watch", "list")
			health.await(t, "Pod.v1 Degraded: cannot list: forbidden")
			checkPolling(t, in.Metrics, "1")
			refusing(api, func(r fakeapi.Request) error {
				return apierrors.NewMethodNotSupported(r.Resource.GroupResource(), r.Verb)
			}, "watch")
			health.await(t, "Pod.v1 OK: synced by polling every 20ms (watch is not supported)")

			api.Intercept(nil)
			health.await(t, "Pod.v1 OK: synced")
			if err := api.Add(pod("a", "two")); err != nil {
				return err
			}
			for e := range in.Pods.Events(ctx) {
				e.Done(nil)
				if e.Key.Name == "two" { // by the watch
					break
				}
			}
			checkPolling(t, in.Metrics, "0")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// That it polls is told when it begins, not with the first poll.
func TestHealthWhenPollingBegins(t *testing.T) {
	health := newHealthLog()
	r := &reporter{health: health}
	r.Observe(informer.ReflectorInfo{}, informer.BackingOff{Cause: informer.CauseForbidden})
	health.await(t, "Degraded: cannot list or watch: forbidden")
	r.Observe(informer.ReflectorInfo{}, informer.Polling{Every: time.Hour, Cause: informer.CauseForbidden})
	health.await(t, "OK: synced by polling every 1h0m0s (watch is forbidden)")
}

// A watch that is open ends no polling that began because watches bring nothing; one that
// brings something does.
func TestHealthWhileWatchesAreSilent(t *testing.T) {
	health := newHealthLog()
	r := &reporter{health: health}
	polling := informer.Polling{Every: time.Minute, Cause: informer.CauseSilent}
	info := informer.ReflectorInfo{Polling: &polling}
	r.Observe(info, polling)
	r.Observe(info, informer.WatchOpened{})
	r.Observe(info, informer.ListDone{Objects: 3})
	r.Observe(info, informer.BackingOff{Cause: informer.CauseServer})
	r.Observe(info, informer.WatchOpened{})
	r.Observe(info, informer.Recovered{})
	r.Observe(informer.ReflectorInfo{}, informer.WatchProved{})
	for _, want := range []string{
		"OK: synced by polling every 1m0s (watch is silent)", "OK: synced by polling every 1m0s (watch is silent), 3 objects at the last list",
		"Degraded: ", "OK: synced by polling every 1m0s (watch is silent)", "OK: synced",
	} {
		select {
		case got := <-health.lines:
			if !strings.Contains(got, want) {
				t.Errorf("health is %q, want %q", got, want)
			}
		default:
			t.Fatalf("health says nothing, want %q", want)
		}
	}
}

// Whatever the state is, it is one of the metric's.
func TestStateMetrics(t *testing.T) {
	for _, state := range []informer.State{
		"", informer.StateIdle, informer.StateListing, informer.StateWatching, informer.StateBackingOff, informer.StateDraining,
		informer.StatePolling,
	} {
		m := &ResourceMetrics{resources: &Resources{}}
		m.resources.add(&followed{name: "pods", counters: &counters{}, resource: func() resource.Stats {
			return resource.Stats{Reflector: informer.ReflectorInfo{State: state}}
		}})
		registry := prometheus.NewRegistry()
		registry.MustRegister(m)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		is := 0.0
		for _, f := range families {
			for _, metric := range f.Metric {
				if f.GetName() == "apiary_resource_state" {
					is += metric.GetGauge().GetValue()
				}
			}
		}
		if is != 1 {
			t.Errorf("%q: %v states are the present one", state, is)
		}
	}
}
