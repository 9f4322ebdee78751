// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"fmt"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// Functions of the user that panic for fifty objects make one line each in the log of
// the hive, and are counted exactly. The hive goes on.
func TestPanicsOfUsers(t *testing.T) {
	const objects = 50
	synctest.Test(t, func(t *testing.T) {
		api, registry := fakeapi.New(), prometheus.NewRegistry()
		for i := range objects {
			if err := api.Add(pod("a", fmt.Sprint("pod-", i))); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		var pods resource.Resource[*corev1.Pod]
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		h := hive.New(withFake(api), Metrics, cell.Provide(func() prometheus.Registerer { return registry }),
			Resource[*corev1.Pod](With(resource.WithName("pods"), resource.WithIndexers(cache.Indexers{
				"bad": func(any) ([]string, error) { panic("fault") },
			}))),
			cell.Invoke(func(p Params, r resource.Resource[*corev1.Pod]) error {
				pods = r
				_, err := NewMirror("mirror", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
					AddFunc: func(context.Context, informer.Object[*corev1.Pod]) error { panic("fault") },
				}})
				return err
			}),
			cell.Invoke(func(p Params) error {
				_, err := NewPush("push", p, push.BatcherConfig[*corev1.Pod]{Consumer: faultyConsumer{}})
				return err
			}))
		if err := h.Start(logger, t.Context()); err != nil {
			t.Fatal(err)
		}
		for e := range pods.Events(t.Context()) {
			e.Done(nil)
			if e.Kind == resource.Sync {
				break
			}
		}
		time.Sleep(50 * time.Millisecond) // before anything is tried again
		err := testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`
# HELP apiary_resource_panics_total Panics of user code.
# TYPE apiary_resource_panics_total counter
apiary_resource_panics_total{resource="mirror"} %d
apiary_resource_panics_total{resource="pods"} %d
apiary_resource_panics_total{resource="push"} 1
`, objects, objects)), "apiary_resource_panics_total")
		if err != nil {
			t.Error(err)
		}
		if err := h.Stop(logger, context.Background()); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"pods", "mirror", "push"} {
			n := 0
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "user panicked") && strings.Contains(line, "resource="+name+" ") {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d lines of %s:\n%s", n, name, log.String())
			}
		}
		if n := strings.Count(log.String(), "panic_test.go:"); n < 3 || strings.Count(log.String(), "level=WARN") > 1 {
			t.Error(log.String())
		}
	})
}

// faultyConsumer panics in BeginSnapshot.
type faultyConsumer struct {
	push.BatchConsumer[*corev1.Pod]
}

func (faultyConsumer) BeginSnapshot(context.Context, push.SnapshotInfo) error { panic("fault") }
func (faultyConsumer) AbortSnapshot(push.SnapshotInfo, error)                 {}

// A rule that panics makes its objects Unknown, and no others. It is reported once a
// minute, with how often that was.
func TestStatusRuleThatPanics(t *testing.T) {
	var log bytes.Buffer
	calls := 0
	bad := map[schema.GroupKind]status.Rule{
		{Kind: "ConfigMap"}: func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
			calls++
			panic("fault")
		},
	}
	cfg := status.Config{Rules: &status.Rules{ByKind: bad}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	playStatus(t, cfg, func(r *statusRig) {
		log.Reset()
		calls = 0
		conf := &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)}
		w := r.watch(idOf("ConfigMap", "a", "conf"), idOf("Pod", "a", "one"))
		for i := range 100 {
			conf.Labels = map[string]string{"n": fmt.Sprint(i)}
			r.update(conf)
			r.is(w, "conf Unknown/RuleError", "one Current")
		}
		if n := strings.Count(log.String(), "function=\"rule for ConfigMap\""); n != 1 || !strings.Contains(log.String(), "key=a/conf") {
			r.Errorf("%d lines are logged", n)
		}
		time.Sleep(time.Minute)
		conf.Labels = nil
		r.update(conf)
		r.is(w, "conf Unknown/RuleError", "one Current")
		if want := fmt.Sprintf("panics=%d ", calls); calls < 100 || !strings.Contains(log.String(), want) {
			r.Errorf("%s is missing in the log", want)
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}
