// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/resource"
)

// recordPods runs a program that records to pods.jsonl.gz in the working directory.
func recordPods(t *testing.T) {
	api := fakeapi.New()
	web := shopPod("web")
	web.Status.PodIP = "10.0.0.1"
	web.Spec.Containers = []corev1.Container{{Name: "web", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}}}
	if err := api.Add(web, shopPod("db")); err != nil {
		t.Fatal(err)
	}
	app := hive.New(
		cells.FakeClientWith(func() *fakeapi.Server { return api }),
		cells.Resource[*corev1.Pod](cells.Record("pods.jsonl.gz", record.WithoutFields("spec.containers.env"))),
		cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod]) {
			lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
				go addresses{}.run(t.Context(), pods)
				return nil
			}})
		}),
	)
	log := slog.New(slog.DiscardHandler)
	if err := app.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	if err := api.Remove(shopPod("db")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	if err := app.Stop(log, context.Background()); err != nil {
		t.Fatal(err)
	}
}

// The file of docs/testing.md was made like this.
func TestRecordReport(t *testing.T) {
	t.Chdir(t.TempDir())
	synctest.Test(t, recordPods)
	file, err := os.Open("pods.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := record.NewReplay[*corev1.Pod](file, 1); err != nil {
		t.Error(err)
	}
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, err := os.Open("testdata/report.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		replay, err := record.NewReplay[*corev1.Pod](file, 1)
		if err != nil {
			t.Fatal(err)
		}
		lc, got := &cell.DefaultLifecycle{}, addresses{}
		pods := resource.NewFromSource(lc, replay)
		go got.run(t.Context(), pods)
		if err := lc.Start(slog.Default(), t.Context()); err != nil {
			t.Fatal(err)
		}
		<-replay.Done() // everything is handled that was recorded
		synctest.Wait()
		if err := lc.Stop(slog.Default(), context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := replay.Err(); err != nil { // a request was not the recorded one
			t.Error(err)
		}
		if len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}
