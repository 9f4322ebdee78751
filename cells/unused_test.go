// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
)

// Health, page, JSON, shell, log and metrics of a resource that was not used, is in use,
// has stopped, and is in use again.
func TestStopUnused(t *testing.T) {
	noCluster(t)
	synctest.Test(t, func(t *testing.T) {
		api, health := fakeapi.New(), newHealthLog()
		if err := api.Add(pod("shop", "web"), pod("shop", "cart")); err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		stopped := regexp.MustCompile(`level=INFO msg="Not in use, stopped until the next use" .*resource=Pod.v1 since=`)
		started := regexp.MustCompile(`level=INFO msg="In use again, starting" .*resource=Pod.v1`)
		log := slog.New(slog.NewTextHandler(&text, nil))
		err := run(t, log, nil, withFake(api), Metrics, cell.Provide(func() cell.Health { return health }),
			Resource[*corev1.Pod](StopUnused(time.Minute), With(resource.WithSettings(steady()))),
			atStart(t, func(_ context.Context, r struct {
				cell.In
				Pods    resource.Resource[*corev1.Pod]
				All     *Resources
				Metrics *ResourceMetrics
			}) error {
				u := &unusedCell{t: t, all: r.All, metrics: r.Metrics, health: health}
				u.shows(LevelUnused, "nobody has asked for it", 0, 0, "no: it is not in use", "")
				recording := filepath.Join(t.TempDir(), "pods")
				for round := range 2 {
					if round > 0 {
						f, _ := r.All.find("Pod.v1")
						if err := f.startRecording(recording); err != nil {
							t.Error(err)
						}
					}
					ctx, cancel := context.WithCancel(t.Context())
					for e := range r.Pods.Events(ctx) {
						if e.Done(nil); e.Kind == resource.Sync {
							break
						}
					}
					healthy := "Pod.v1 OK: synced, 2 objects at the last list"
					if round > 0 {
						healthy = "Pod.v1 OK: in use again, the first list is not complete yet|" + healthy
					}
					u.shows(LevelOK, "synced, 2 objects at the last list", 2, round+1, "yes", healthy)
					cancel()
					synctest.Wait()
					since := time.Now().UTC().Format("2006-01-02 15:04:05 UTC")
					time.Sleep(time.Minute)
					status := "not in use since " + since + ", the next use starts it"
					u.shows(LevelUnused, status, 0, round+1, "no: it is not in use", "Pod.v1 OK: "+status)
					if n := len(stopped.FindAllString(text.String(), -1)); n != round+1 {
						t.Errorf("%d lines of a stop, want %d: %s", n, round+1, text.String())
					}
				}
				if data, err := os.ReadFile(recording); err != nil || !strings.Contains(string(data), "cart") {
					t.Errorf("the second run was not recorded: %s, %v", data, err)
				}
				if n := len(started.FindAllString(text.String(), -1)); n != 1 {
					t.Errorf("%d lines of a start, want 1: %s", n, text.String())
				}
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
	})
}

// unusedCell compares what is shown of the resource Pod.v1.
type unusedCell struct {
	t       *testing.T
	all     *Resources
	metrics *ResourceMetrics
	health  *healthLog
}

func (u *unusedCell) shows(level Level, status string, objects, lists int, synced, health string) {
	u.t.Helper()
	synctest.Wait()
	f, err := u.all.Get("Pod.v1")
	if err != nil {
		u.t.Fatal(err)
	}
	if f.Level != level || f.Status != status || f.Objects != objects || f.Synced != (objects > 0) || f.Err != nil {
		u.t.Errorf("got %+v", f)
	}
	var said []string
	for len(u.health.lines) > 0 {
		said = append(said, <-u.health.lines)
	}
	if got := strings.Join(said, "|"); got != health {
		u.t.Errorf("health said %q, want %q", got, health)
	}
	page := StatusPage(u.all)
	for _, format := range []string{"html", "text", "json"} {
		for _, name := range []string{"", "&name=Pod.v1"} {
			if got := load(u.t, page, "/?format="+format+name); !strings.Contains(got, status) || strings.Contains(got, "NOT IN SYNC") {
				u.t.Errorf("%s%s lacks %q: %s", format, name, status, got)
			}
		}
	}
	if got := load(u.t, page, "/?name=Pod.v1&format=text"); !regexp.MustCompile(`Synced +` + synced + `\n`).MatchString(got) {
		u.t.Errorf("not synced %s: %s", synced, got)
	}
	var shell bytes.Buffer
	if err := writeOne(&shell, f, time.Now()); err != nil || !strings.Contains(shell.String(), status) {
		u.t.Errorf("the shell lacks %q: %s", status, shell.String())
	}
	if data, err := json.Marshal(f); err != nil || !strings.Contains(string(data), `"level":"`+string(level)+`"`) {
		u.t.Errorf("JSON: %s, %v", data, err)
	}
	want := "# HELP apiary_resource_events_emitted_total Events that subscribers received.\n# TYPE apiary_resource_events_emitted_total counter\n" +
		"apiary_resource_events_emitted_total{resource=\"Pod.v1\"} " + map[int]string{0: "0", 1: "3", 2: "6"}[lists] + "\n"
	if err := testutil.CollectAndCompare(u.metrics, strings.NewReader(want), "apiary_resource_events_emitted_total"); err != nil {
		u.t.Error(err)
	}
}

// The option is for resources only.
func TestStopUnusedIsForResources(t *testing.T) {
	noCluster(t)
	for name, c := range map[string]struct {
		cell cell.Cell
		want string
	}{
		"mirror": {cell.Invoke(func(p Params) error {
			_, err := NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{}, StopUnused(time.Hour))
			return err
		}), "mirror pods: cells.With, cells.StopUnused and cells.Private are for resources, not for mirrors"},
		"push": {cell.Invoke(func(p Params) error {
			_, err := NewPush("pods", p, push.BatcherConfig[*corev1.Pod]{}, StopUnused(time.Hour))
			return err
		}), "push pods: cells.With, cells.StopUnused and cells.Private are for resources, not for a push"},
		"a time": {cell.Group(Resource[*corev1.Pod](StopUnused(time.Millisecond)), cell.Invoke(func(resource.Resource[*corev1.Pod]) {})),
			"resource Pod.v1: WithStopUnused(1ms): the time must be from 1s to 24h0m0s"},
	} {
		if err := run(t, quiet(), nil, withFake(fakeapi.New()), c.cell); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
