// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// healthLog is a cell.Health that passes on what it is told.
type healthLog struct {
	scope string
	lines chan string
}

func newHealthLog() *healthLog { return &healthLog{lines: make(chan string, 1000)} }

func (h *healthLog) OK(status string)      { h.lines <- h.scope + " OK: " + status }
func (h *healthLog) Stopped(reason string) { h.lines <- h.scope + " Stopped: " + reason }
func (h *healthLog) Degraded(reason string, err error) {
	h.lines <- fmt.Sprintf("%s Degraded: %s: %v", h.scope, reason, err)
}
func (h *healthLog) NewScope(name string) cell.Health { return &healthLog{h.scope + name, h.lines} }
func (h *healthLog) Close()                           {}

// await waits for a line with all of these parts.
func (h *healthLog) await(t *testing.T, parts ...string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case line := <-h.lines:
			seen = append(seen, line)
			all := true
			for _, part := range parts {
				all = all && strings.Contains(line, part)
			}
			if all {
				return
			}
		case <-timeout:
			t.Fatalf("no health with %q in %q", parts, seen)
		}
	}
}

func TestHealth(t *testing.T) {
	api := fakeapi.New()
	health := newHealthLog()
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Resource.Resource == "pods" {
			return forbidden(r)
		}
		return nil
	})
	err := run(t, quiet(), nil, withFake(api), cell.Provide(func() cell.Health { return health }),
		Resource[*corev1.Pod](impatient()),
		Resource[*corev1.Node](),
		atStart(t, func(ctx context.Context, r struct {
			cell.In
			Pods  resource.Resource[*corev1.Pod]
			Nodes resource.Resource[*corev1.Node]
		}) error {
			if len(health.lines) > 0 {
				t.Error(<-health.lines)
			}
			storeOf(t, ctx, r.Nodes) // is not held up
			health.await(t, "Node.v1 OK: synced, 0 objects at the last list")
			r.Pods.Events(ctx)
			health.await(t, "Pod.v1 Degraded: cannot list: forbidden", "not for you")
			api.Intercept(nil)
			health.await(t, "Pod.v1 OK: synced")

			// A watch that cannot be resumed for lack of a server.
			api.Intercept(func(_ context.Context, r fakeapi.Request) error {
				if r.Resource.Resource == "pods" {
					return apierrors.NewUnauthorized("who are you")
				}
				return nil
			})
			api.Disconnect()
			health.await(t, "Pod.v1 Degraded", "unauthorized")
			api.Intercept(nil)
			health.await(t, "Pod.v1 OK: synced")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	health.await(t, "Pod.v1 Stopped")
}

func TestHealthDisabled(t *testing.T) {
	noCluster(t)
	health := newHealthLog()
	err := run(t, quiet(), nil, Client, cell.Provide(func() cell.Health { return health }),
		Resource[*corev1.Pod](), cell.Invoke(func(resource.Resource[*corev1.Pod]) {}))
	if err != nil {
		t.Fatal(err)
	}
	health.await(t, "Pod.v1 Stopped: disabled", "--k8s-kubeconfig")
}

func TestMetrics(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(pod("a", "one"), pod("a", "two")); err != nil {
		t.Fatal(err)
	}
	refuse := 2
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if refuse--; r.Resource.Resource == "pods" && refuse >= 0 {
			return forbidden(r)
		}
		return nil
	})
	registry := prometheus.NewRegistry()
	err := run(t, quiet(), nil, withFake(api), Metrics,
		cell.Provide(func() prometheus.Registerer { return registry }),
		Resource[*corev1.Pod](With(resource.WithSettings(informer.Settings{
			Lists: informer.ListPaged, Backoff: informer.Backoff{Initial: time.Millisecond, Denied: time.Millisecond},
		}))),
		ResourceAs(func(r resource.Resource[*corev1.Pod]) xPods { return r }, With(resource.WithName("Pod.v1"))),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Pods    resource.Resource[*corev1.Pod]
			X       xPods
			Metrics *ResourceMetrics
		}) error {
			if in.Metrics.Gatherer() != prometheus.Gatherer(registry) || in.Metrics.Address() != nil {
				t.Error("the registry of the hive is not used")
			}
			events := in.Pods.Events(ctx)
			for range 3 { // one Upsert is left without its Done
				e := <-events
				if e.Key.Name != "two" {
					e.Done(nil)
				} else {
					defer e.Done(nil)
				}
			}
			compare := func() error {
				return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP apiary_resource_synced 1 if there is a complete state of the collection.
# TYPE apiary_resource_synced gauge
apiary_resource_synced{resource="Pod.v1"} 1
apiary_resource_synced{resource="Pod.v1#2"} 0
# HELP apiary_resource_objects Objects in the store, recorded by the mirror, or accepted by the consumer.
# TYPE apiary_resource_objects gauge
apiary_resource_objects{resource="Pod.v1"} 2
apiary_resource_objects{resource="Pod.v1#2"} 0
# HELP apiary_resource_lists_total Lists that ended, by reason; all but reason "first" are relists.
# TYPE apiary_resource_lists_total counter
apiary_resource_lists_total{mode="paged",reason="first",resource="Pod.v1",result="done"} 1
apiary_resource_lists_total{mode="paged",reason="first",resource="Pod.v1",result="failed"} 1
# HELP apiary_resource_failures_total Failed lists and watches, by cause.
# TYPE apiary_resource_failures_total counter
apiary_resource_failures_total{cause="forbidden",operation="list",resource="Pod.v1"} 1
# HELP apiary_resource_subscribers Current subscribers.
# TYPE apiary_resource_subscribers gauge
apiary_resource_subscribers{resource="Pod.v1"} 1
apiary_resource_subscribers{resource="Pod.v1#2"} 0
# HELP apiary_resource_subscriber_outstanding Events without Done, of all subscribers.
# TYPE apiary_resource_subscriber_outstanding gauge
apiary_resource_subscriber_outstanding{resource="Pod.v1"} 1
apiary_resource_subscriber_outstanding{resource="Pod.v1#2"} 0
# HELP apiary_resource_events_emitted_total Events that subscribers received.
# TYPE apiary_resource_events_emitted_total counter
apiary_resource_events_emitted_total{resource="Pod.v1"} 3
apiary_resource_events_emitted_total{resource="Pod.v1#2"} 0
`), "apiary_resource_synced", "apiary_resource_objects", "apiary_resource_lists_total", "apiary_resource_failures_total",
					"apiary_resource_subscribers", "apiary_resource_subscriber_outstanding", "apiary_resource_events_emitted_total")
			}
			err := compare()
			for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); err = compare() {
				time.Sleep(time.Millisecond) // the observer gets the end of the list after the subscribers
			}
			if err != nil {
				t.Error(err)
			}
			families, err := registry.Gather()
			if err != nil {
				return err
			}
			for _, f := range families {
				for _, m := range f.Metric {
					if v := m.GetGauge().GetValue(); f.GetName() == "apiary_resource_last_contact_timestamp_seconds" &&
						m.Label[0].GetValue() == "Pod.v1" && time.Since(time.UnixMilli(int64(v*1000))) > time.Minute {
						t.Error("last contact", v)
					}
				}
			}
			if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Error("the metrics outlive the hive", families, err)
	}
}

// A resource that a lifecycle of its own ends is no longer collected, so programs
// may start as many as they like, one after the other.
func TestMetricsForgetWhatHasEnded(t *testing.T) {
	err := run(t, quiet(), nil, FakeClient, Metrics,
		atStart(t, func(ctx context.Context, p Params) error {
			names := func() (names []string) {
				for _, o := range p.Client.follows.running() {
					names = append(names, o.name)
				}
				return names
			}
			for range 3 {
				first, second := &cell.DefaultLifecycle{}, &cell.DefaultLifecycle{}
				for _, lc := range []*cell.DefaultLifecycle{first, second} {
					p.Lifecycle = lc
					if _, err := NewResource[*corev1.Pod](p); err != nil {
						return err
					}
					if err := lc.Start(p.Log, ctx); err != nil {
						return err
					}
				}
				expect(t, names(), "Pod.v1", "Pod.v1#2")
				if err := first.Stop(p.Log, ctx); err != nil {
					return err
				}
				expect(t, names(), "Pod.v1#2")
				if err := second.Stop(p.Log, ctx); err != nil {
					return err
				}
				expect(t, names())
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

func TestMetricsListener(t *testing.T) {
	var address string
	err := run(t, quiet(), []string{"--metrics-address=127.0.0.1:0"}, FakeClient, Metrics, Resource[*corev1.Pod](),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Pods    resource.Resource[*corev1.Pod]
			Metrics *ResourceMetrics
		}) error {
			storeOf(t, ctx, in.Pods)
			address = "http://" + in.Metrics.Address().String() + "/metrics"
			resp, err := http.Get(address)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if !strings.Contains(string(body), `apiary_resource_synced{resource="Pod.v1"} 1`) {
				t.Error(string(body))
			}
			http.DefaultClient.CloseIdleConnections()
			return err
		}))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get(address); err == nil {
		resp.Body.Close()
		t.Error("served after the stop")
	}
	err = run(t, quiet(), []string{"--metrics-address=nowhere"}, Metrics)
	if err == nil || !strings.Contains(err.Error(), "--metrics-address") {
		t.Error(err)
	}
}

// The inspection command shows the cells, makes no request, and leaves no
// goroutine, which TestMain finds.
func TestInspection(t *testing.T) {
	noCluster(t)
	api := fakeapi.New(widgets)
	url, connections := serveAPI(t, api)
	h := hive.New(Logger, Client, Metrics, cell.SimpleHealthCell,
		Resource[*corev1.Pod](InNamespace("shop"), WithLabelSelector("app in (a, b)"), WithFieldSelector("spec.nodeName=n.1")),
		ResourceAs(func(r resource.Resource[*corev1.Pod]) xPods { return r }),
		cell.Module("bees", "Bees", cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod], _ xPods) {
			pods.Events(context.Background())
		})))
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	h.RegisterFlags(flags)
	if err := flags.Parse([]string{"--k8s-api-server=" + url, "--metrics-address=127.0.0.1:0", "--log-output=" + t.TempDir() + "/log"}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := h.PrintObjects(&out, quiet()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"k8s-client (Kubernetes clients on one transport)",
		"kubernetes.Interface", "dynamic.Interface", "metadata.Interface", "*rest.Config",
		"K8sAPIServer:", url,
		"k8s-metrics (Prometheus metrics of Kubernetes resources)", "MetricsAddress:",
		"logger (Logging through logrus)", "LogLevel:",
		"k8s-pod-v1 (Resource Pod v1 in namespace shop with labels app in a b with fields-",
		"k8s-x-pods (Resource Pod v1)", "cells.xPods",
		"resource.Resource[*k8s.io/api/core/v1.Pod]",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the inspection lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
	if n := len(api.Requests()); n != 0 || connections.Load() != 0 {
		t.Errorf("%d requests", n)
	}
}
