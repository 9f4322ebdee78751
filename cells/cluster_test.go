// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

type (
	westPods resource.Resource[*corev1.Pod]
	eastPods resource.Resource[*corev1.Pod]
)

func asWest(r resource.Resource[*corev1.Pod]) westPods { return r }
func asEast(r resource.Resource[*corev1.Pod]) eastPods { return r }

// apiWith is a server with one pod, one widget and one ConfigMap of this name.
func apiWith(t *testing.T, name string) *fakeapi.Server {
	t.Helper()
	api := fakeapi.New(widgets)
	if err := api.Add(pod("a", name), custom(widgets, "a", name), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}); err != nil {
		t.Fatal(err)
	}
	return api
}

// follows are resources, a mirror, a push and a status engine of one cluster, in a module
// that has them for itself.
func follows(t *testing.T, cluster, name string) cell.Cell {
	consumer := &inventory{calls: make(chan string, 100)}
	added := make(chan string, 100)
	of := OfCluster(cluster)
	return cell.Module("follows-"+cluster, "Follows a cluster",
		Resource[*corev1.Pod](of, Private()),
		Resource[*unstructured.Unstructured](of, Private(), Unstructured("widgets.v1.example.com")),
		Resource[*metav1.PartialObjectMetadata](of, Private(), Metadata("pods.v1.")),
		StatusWith(status.Config{}, of, Private()),
		StatusHealth("settings", idOf("ConfigMap", "a", name)),
		cell.Invoke(func(p Params) error {
			_, err1 := NewMirror("mirror", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
				AddFunc: func(_ context.Context, obj informer.Object[*corev1.Pod]) error { added <- obj.Key.String(); return nil },
			}}, of)
			_, err2 := NewPush("push", p, push.BatcherConfig[*corev1.Pod]{Consumer: consumer}, of)
			return errors.Join(err1, err2)
		}),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Pods     resource.Resource[*corev1.Pod]
			Widgets  resource.Resource[*unstructured.Unstructured]
			Metadata resource.Resource[*metav1.PartialObjectMetadata]
			Engine   *status.Engine
			Clusters Clusters
		}) error {
			expect(t, keys(storeOf(t, ctx, in.Pods)), "a/"+name)
			expect(t, keys(storeOf(t, ctx, in.Widgets)), "a/"+name)
			expect(t, keys(storeOf(t, ctx, in.Metadata)), "a/"+name)
			expect(t, []string{<-added}, "a/"+name)
			expect(t, []string{<-consumer.calls, <-consumer.calls, <-consumer.calls}, "begin, first", "has a/"+name, "end")
			for _, other := range []string{"west", "east", "here"} {
				want := status.NotFound
				if other == name {
					want = status.Current
				}
				if _, err := in.Engine.Wait(ctx, []status.ID{idOf("ConfigMap", "a", other)}, status.All(want)); err != nil {
					t.Errorf("cluster %q: ConfigMap %s: %v", cluster, other, err)
				}
			}
			if cluster == "" {
				return nil
			}
			c, err := in.Clusters.Get(cluster)
			if err != nil {
				return err
			}
			mapping, err := c.Mapper.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Widget"})
			if err != nil || mapping.Resource != widgets.GVR() || c.Config == nil || !c.State.IsEnabled() {
				t.Error(mapping, err)
			}
			_, err1 := c.Kubernetes.CoreV1().Pods("a").Get(ctx, name, metav1.GetOptions{})
			_, err2 := c.Dynamic.Resource(widgets.GVR()).Namespace("a").Get(ctx, name, metav1.GetOptions{})
			_, err3 := c.Metadata.Resource(widgets.GVR()).Namespace("a").Get(ctx, name, metav1.GetOptions{})
			_, err4 := c.Discovery.ServerVersion()
			return errors.Join(err1, err2, err3, err4)
		}))
}

// Each sees its own cluster only: resources, mirrors, pushes, status engines, clients. Names,
// health and logs have the cluster.
func TestClusters(t *testing.T) {
	health := newHealthLog()
	var log lockedBuffer
	var all []Followed
	err := run(t, slog.New(slog.NewTextHandler(&log, nil)), nil,
		withFake(apiWith(t, "here")), NamedFakeClient("west", apiWith(t, "west")), NamedFakeClient("east", apiWith(t, "east")),
		cell.Provide(func() cell.Health { return health }),
		follows(t, "", "here"), follows(t, "west", "west"), follows(t, "east", "east"),
		atStart(t, func(_ context.Context, in struct {
			cell.In
			Clusters  Clusters
			Resources *Resources
		}) error {
			expect(t, in.Clusters.Names(), "east", "west")
			if in.Clusters.Resources() != in.Resources {
				t.Error("the hive has two Resources")
			}
			health.await(t, "west/push OK: synced")
			all = in.Resources.All()
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, f := range all {
		if f.Cluster != "" && !strings.HasPrefix(f.Name, f.Cluster+"/") || f.Cluster == "" && strings.Contains(f.Name, "/") && f.Kind != FollowedStatus {
			t.Errorf("cluster %q has %s", f.Cluster, f.Name)
		}
		names[f.Cluster+" "+string(f.Kind)]++
	}
	for _, cluster := range []string{"", "west", "east"} {
		if names[cluster+" resource"] != 3 || names[cluster+" mirror"] != 1 || names[cluster+" push"] != 1 || names[cluster+" status"] == 0 {
			t.Errorf("cluster %q: %v", cluster, names)
		}
	}
	health.await(t, "west/Pod.v1 Stopped")
	for _, want := range []string{
		"cluster=west resource=west/Pod.v1 ", "cluster=east selects=Pod.v1 resource=east/mirror ", "cluster=east selects=Pod.v1 resource=east/push ",
		"module=follows- resource=Pod.v1 ",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

// lockedBuffer is a buffer that goroutines write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A cluster that forbids is shown by health, metrics and Resources. The other one works. The
// hive has no cluster without a name.
func TestClusterFails(t *testing.T) {
	west, east := apiWith(t, "west"), apiWith(t, "east")
	east.Intercept(func(_ context.Context, r fakeapi.Request) error { return forbidden(r) })
	health, registry := newHealthLog(), prometheus.NewRegistry()
	err := run(t, quiet(), nil, Metrics, NamedFakeClient("east", east), NamedFakeClient("west", west),
		cell.Provide(func() cell.Health { return health }, func() prometheus.Registerer { return registry }),
		ResourceAs(asWest, OfCluster("west"), impatient()),
		ResourceAs(asEast, OfCluster("east"), impatient(), With(resource.WithName("pods"))),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			West     westPods
			East     eastPods
			Clusters Clusters
		}) error {
			in.East.Events(ctx)
			health.await(t, "east/pods Degraded", "forbidden")
			expect(t, keys(storeOf[*corev1.Pod](t, ctx, in.West)), "a/west")
			f, err := in.Clusters.Resources().Get("east/pods")
			if err != nil || f.Level != LevelDegraded || f.Cluster != "east" {
				t.Error(f, err)
			}
			err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP apiary_resource_synced 1 if there is a complete state of the collection.
# TYPE apiary_resource_synced gauge
apiary_resource_synced{cluster="east",resource="east/pods"} 0
apiary_resource_synced{cluster="west",resource="west/cells.westPods"} 1
`), "apiary_resource_synced")
			if problems, lint := testutil.GatherAndLint(registry); lint != nil || len(problems) > 0 {
				t.Error(problems, lint)
			}
			east.Intercept(nil)
			expect(t, keys(storeOf[*corev1.Pod](t, ctx, in.East)), "a/east")
			return err
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// Beside named clusters, the metrics of the one without a name have an empty label.
func TestClusterMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	err := run(t, quiet(), nil, Metrics, FakeClient, NamedFakeClient("west", fakeapi.New()),
		cell.Provide(func() prometheus.Registerer { return registry }),
		Resource[*corev1.Pod](), ResourceAs(asWest, OfCluster("west")),
		atStart(t, func(_ context.Context, _ struct {
			cell.In
			Pods resource.Resource[*corev1.Pod]
			West westPods
		}) error {
			return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP apiary_resource_state 1 for the current state of the informer.
# TYPE apiary_resource_state gauge
`+stateOf("", "Pod.v1")+stateOf("west", "west/cells.westPods")), "apiary_resource_state")
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// stateOf is the metric state of an unused resource.
func stateOf(cluster, name string) (text string) {
	for _, state := range states {
		value := 0
		if state == informer.StateIdle {
			value = 1
		}
		text += fmt.Sprintf("apiary_resource_state{cluster=%q,resource=%q,state=%q} %d\n", cluster, name, label(state), value)
	}
	return text
}

// Commands say which cluster they are for.
func TestClusterScripts(t *testing.T) {
	app := func(client ...cell.Cell) *hive.Hive {
		return hive.New(append(client, ScriptCommands, ScriptClientCommands, NamedFakeClient("west", apiWith(t, "west")),
			ResourceAs(asWest, OfCluster("west"), With(resource.WithName("pods"))), cell.Invoke(func(westPods) {}),
			StatusWith(status.Config{}, OfCluster("west")))...)
	}
	east := NamedFakeClient("east", apiWith(t, "east"))
	url, _ := serveAPI(t, apiWith(t, "real"))
	realEast := NamedClientFrom("east", &rest.Config{Host: url})
	for _, tt := range []struct {
		hive        *hive.Hive
		lines, want string
	}{
		{app(east), "k8s/get --cluster=west pods a/west; k8s/get --cluster=east pods a/east; ! k8s/get --cluster=west pods a/east", ""},
		{app(east), "k8s/get pods a/west", `want --cluster, one of ["east" "west"]`},
		{app(east), "k8s/get --cluster=north pods a/west", `--cluster: there is no cluster "north": want one of ["east" "west"]`},
		{app(), "k8s/get pods a/west", ""},
		{app(FakeClient), "! k8s/get pods a/west; k8s/get --cluster=west pods a/west", ""},
		{app(realEast), "k8s/forbid --cluster=west list pods; k8s/get --cluster=east pods a/real", ""},
		{app(realEast), "k8s/forbid --cluster=east list pods", `k8s/forbid: cluster "east" is not an API server in memory`},
		{app(east), "resources; resource/list --start west/pods; resource/show west/pods", ""},
		{app(east), "status/wait configmaps/a/west", ""},
	} {
		lines := append([]string{"hive/start"}, strings.Split(tt.lines, "; ")...)
		log, err := runScript(t, tt.hive, lines...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want an error with %q\n%s", tt.lines, err, tt.want, log)
		}
	}
}

// idleCounter counts how often its idle connections are closed.
type idleCounter struct {
	http.RoundTripper
	closed atomic.Int64
}

func (c *idleCounter) CloseIdleConnections() { c.closed.Add(1) }

// Each cluster closes its idle connections at Stop.
func TestClusterIdleConnections(t *testing.T) {
	var west, east idleCounter
	err := run(t, quiet(), nil, NamedClientFrom("west", &rest.Config{Transport: &west}), NamedClientFrom("east", &rest.Config{Transport: &east}),
		atStart(t, func(_ context.Context, _ Clusters) error {
			if west.closed.Load()+east.closed.Load() > 0 {
				t.Error("closed before Stop")
			}
			return nil
		}))
	if err != nil || west.closed.Load() == 0 || east.closed.Load() == 0 {
		t.Error(err, west.closed.Load(), east.closed.Load())
	}
}

// The other cluster works, and everything stops at once, while a cluster does not answer.
func TestClusterDown(t *testing.T) {
	noCluster(t)
	var log lockedBuffer
	err := run(t, slog.New(slog.NewTextHandler(&log, nil)), []string{"--east-k8s-api-server=http://127.0.0.1:1"},
		NamedClients("east"), NamedFakeClient("west", apiWith(t, "west")),
		ResourceAs(asWest, OfCluster("west"), InNamespaces("a", "b")), ResourceAs(asEast, OfCluster("east"), impatient()),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			West     westPods
			East     eastPods
			Clusters Clusters
		}) error {
			in.East.Events(ctx)
			expect(t, keys(storeOf[*corev1.Pod](t, ctx, in.West)), "a/west")
			for f, err := in.Clusters.Resources().Get("east/cells.eastPods"); err == nil && f.Level != LevelDegraded; f, err = in.Clusters.Resources().Get(f.Name) {
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "cluster=east selects=Pod.v1 resource=east/cells.eastPods ") || strings.Contains(log.String(), `level=WARN msg="Cannot list, will try again" module=k8s-west-pods`) {
		t.Error(log.String())
	}
}
