// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/resource"
)

// A mirror in a hive: from the start to the stop, with health, metrics and errors.
func TestMirror(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(pod("a", "one"), pod("a", "two"), pod("b", "other")); err != nil {
		t.Fatal(err)
	}
	refuse := 1
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if refuse--; refuse >= 0 {
			return forbidden(r)
		}
		return nil
	})
	health, registry := newHealthLog(), prometheus.NewRegistry()
	told := make(chan error, 100)
	added := make(chan string, 100)
	failing := errors.New("no room")
	var m *mirror.ResourceVersionInformer[*corev1.Pod]
	err := run(t, quiet(), nil, withFake(api), Metrics,
		cell.Provide(
			func() cell.Health { return health },
			func() prometheus.Registerer { return registry },
		),
		cell.Invoke(func(p Params) (err error) {
			m, err = NewMirror("cluster/pods", p, mirror.InformerConfig[*corev1.Pod]{
				Settings: informer.Settings{
					Backoff: informer.Backoff{Initial: time.Millisecond, Denied: time.Millisecond},
				},
				ErrorHandler: func(_ informer.ReflectorInfo, err error) { told <- err },
				Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
					AddFunc: func(_ context.Context, obj informer.Object[*corev1.Pod]) error {
						if obj.Key.Name == "two" {
							return failing
						}
						added <- obj.Object.Name
						return nil
					},
				},
			}, InNamespace("a"))
			return err
		}),
		atStart(t, func(ctx context.Context, _ struct{ cell.In }) error {
			health.await(t, "cluster/pods Degraded: cannot list: forbidden")
			if err := <-told; informer.CauseOf(err) != informer.CauseForbidden {
				t.Errorf("told %v", err)
			}
			if name := <-added; name != "one" {
				t.Errorf("added %s", name)
			}
			for i := range 2 {
				if err := <-told; !errors.Is(err, failing) {
					t.Errorf("told %v for failure %d", err, i+1)
				}
			}
			health.await(t, "cluster/pods OK: synced, 2 objects at the last list")
			err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP apiary_resource_synced 1 if there is a complete state of the collection.
# TYPE apiary_resource_synced gauge
apiary_resource_synced{resource="cluster/pods"} 0
# HELP apiary_resource_objects Objects in the store, recorded by the mirror, or accepted by the consumer.
# TYPE apiary_resource_objects gauge
apiary_resource_objects{resource="cluster/pods"} 1
# HELP apiary_mirror_pending Changes that the handler has not acknowledged.
# TYPE apiary_mirror_pending gauge
apiary_mirror_pending{resource="cluster/pods"} 1
# HELP apiary_mirror_failing Keys whose handler call failed and will be retried.
# TYPE apiary_mirror_failing gauge
apiary_mirror_failing{resource="cluster/pods"} 1
`), "apiary_resource_synced", "apiary_resource_objects", "apiary_mirror_pending", "apiary_mirror_failing")
			if err != nil {
				t.Error(err)
			}
			if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	health.await(t, "cluster/pods Stopped")
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Error("the metrics outlive the hive", families, err)
	}
	if err := m.Run(t.Context()); err == nil {
		t.Error("the mirror had not run")
	}
}

// A handler that ignores its context delays Stop until its context ends. The stop hook then
// fails, and the log of the hive names the mirror.
func TestMirrorStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, release := fakeapi.New(), make(chan struct{})
		defer close(release)
		if err := api.Add(pod("a", "one")); err != nil {
			t.Fatal(err)
		}
		app := hive.New(withFake(api), cell.Invoke(func(p Params) error {
			_, err := NewMirror("cluster/pods", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
				AddFunc: func(context.Context, informer.Object[*corev1.Pod]) error { <-release; return nil },
			}})
			return err
		}))
		if err := app.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		var out strings.Builder
		err := app.Stop(slog.New(slog.NewTextHandler(&out, nil)), ctx)
		if err == nil || !strings.Contains(out.String(), "mirror cluster/pods: a call") || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v, log %s", err, time.Since(start), out.String())
		}
	})
}

// Metadata only, under a client that is disabled: nothing runs.
func TestMirrorDisabled(t *testing.T) {
	noCluster(t)
	health := newHealthLog()
	err := run(t, quiet(), nil, Client, cell.Provide(func() cell.Health { return health }),
		cell.Invoke(func(p Params) error {
			i, err := NewMirror("pods", p, mirror.InformerConfig[*metav1.PartialObjectMetadata]{
				Handler: mirror.ResourceEventHandlerFuncs[*metav1.PartialObjectMetadata]{},
			}, Metadata("pods.v1."))
			if err == nil && i.HasSynced() {
				t.Error("synced without a client")
			}
			return err
		}))
	if err != nil {
		t.Fatal(err)
	}
	health.await(t, "pods Stopped: disabled", "--k8s-kubeconfig")
}

func TestMirrorIsChecked(t *testing.T) {
	handler := mirror.ResourceEventHandlerFuncs[*corev1.Pod]{}
	err := run(t, quiet(), nil, FakeClient, cell.Invoke(func(p Params) {
		for want, try := range map[string]func() error{
			"Handler is nil": func() error {
				_, err := NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{})
				return err
			},
			"leave out both": func() error {
				_, err := NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{Handler: handler, ListerWatcher: &listWatch{}})
				return err
			},
			"for resources": func() error {
				_, err := NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{Handler: handler}, With(resource.WithName("x")))
				return err
			},
			"cells.InNamespace": func() error {
				_, err := NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{Handler: handler}, InNamespace("A!"))
				return err
			},
			"name is empty": func() error {
				_, err := NewMirror("", p, mirror.InformerConfig[*corev1.Pod]{Handler: handler})
				return err
			},
		} {
			if err := try(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}
