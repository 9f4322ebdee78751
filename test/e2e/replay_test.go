// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	recording "github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/resource"
)

// What a real API server sends is recorded, and replayed without it: the store is the same.
func TestRecordAndReplay(t *testing.T) {
	cluster := sharedCluster(t)
	path := filepath.Join(t.TempDir(), "pods.jsonl.gz")
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	pods := server.kube.CoreV1().Pods(ns)
	first, err := pods.Create(t.Context(), newPod("first"), metav1.CreateOptions{})
	must(t, err)

	var second *corev1.Pod
	t.Run("record", func(t *testing.T) { // the file is closed at its end
		var all resource.Resource[*corev1.Pod]
		startApp(t, cluster.Kubeconfig(), cells.Resource[*corev1.Pod](cells.InNamespace(ns), cells.Record(path)), get(&all))
		rec := record(t, all)
		rec.waitSynced(t)
		second, err = pods.Create(t.Context(), newPod("second"), metav1.CreateOptions{})
		must(t, err)
		rec.waitFor(t, first, second)
		must(t, pods.Delete(t.Context(), "first", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
		rec.waitFor(t, second)
	})

	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	replay, err := recording.NewReplay[*corev1.Pod](file, 0)
	must(t, err)
	lc := &cell.DefaultLifecycle{}
	replayed := resource.NewFromSource(lc, replay)
	got := record(t, replayed)
	must(t, lc.Start(slog.New(slog.DiscardHandler), t.Context()))
	defer func() { must(t, lc.Stop(slog.New(slog.DiscardHandler), context.Background())) }()
	got.waitFor(t, second)
	select {
	case <-replay.Done():
	case <-time.After(time.Minute):
		t.Error("the replay does not end")
	}
	if err := replay.Err(); err != nil {
		t.Error(err)
	}
}
