// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// The server is killed and restarted under a running application, while others
// create, change, delete and create again. No event is lost and none invented.
func TestServerKilledAndRestarted(t *testing.T) {
	cluster := ownCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	var pods resource.Resource[*corev1.Pod]
	var maps resource.Resource[*corev1.ConfigMap]
	var seen occurrences
	impatient := informer.Backoff{Initial: 100 * time.Millisecond, Max: time.Second}
	startApp(t, cluster.Kubeconfig(), get(&pods), get(&maps),
		cells.Resource[*corev1.Pod](cells.InNamespace(ns), cells.With(resource.WithObserver(&seen),
			resource.WithSettings(informer.Settings{Backoff: impatient}))),
		cells.Resource[*corev1.ConfigMap](cells.InNamespace(ns), cells.With(resource.WithSettings(
			informer.Settings{Lists: informer.ListPaged, PageSize: 4, Backoff: impatient}))),
	)
	podRecord, mapRecord := record(t, pods), record(t, maps)
	podRecord.waitSynced(t)
	mapRecord.waitSynced(t)

	ctx, cancel := context.WithCancel(t.Context())
	var writes atomic.Int64
	churned := make(chan struct{})
	go func() {
		defer close(churned)
		churn(ctx, server, ns, &writes)
	}()
	for range 3 {
		waitForWrites(t, &writes, 50)
		must(t, cluster.Kill())
		must(t, cluster.Restart(t.Context()))
	}
	waitForWrites(t, &writes, 50)
	cancel()
	<-churned

	podTruth, mapTruth := truth(t, server, ns)
	podRecord.waitState(t, podTruth)
	mapRecord.waitState(t, mapTruth)
	podRecord.check(t, podTruth)
	mapRecord.check(t, mapTruth)
	s, err := pods.Store(t.Context())
	must(t, err)
	if n := len(s.List()); n != len(podTruth) {
		t.Errorf("the store has %d pods, the server %d", n, len(podTruth))
	}
	passes := each[informer.ListDone](&seen)
	t.Logf("%d writes, %d and %d events, %d passes over pods for 3 restarts",
		writes.Load(), len(podRecord.events), len(mapRecord.events), len(passes))
	if len(passes) > 1+2*3 {
		t.Errorf("%d passes over pods for 3 restarts: %+v", len(passes), passes)
	}
}

func waitForWrites(t *testing.T, writes *atomic.Int64, more int64) {
	t.Helper()
	until, deadline := writes.Load()+more, time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for writes.Load() < until {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the server takes no more writes")
		}
	}
}

// churn writes at random until ctx ends. Errors are those of a server that is not
// there.
func churn(ctx context.Context, server clients, ns string, writes *atomic.Int64) {
	pods, maps := server.kube.CoreV1().Pods(ns), server.kube.CoreV1().ConfigMaps(ns)
	rng := rand.New(rand.NewPCG(1, 2))
	for ctx.Err() == nil {
		name := fmt.Sprintf("o%d", rng.IntN(12))
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, rng.Int())
		var err error
		switch rng.IntN(8) {
		case 0:
			_, err = pods.Create(ctx, newPod(name), metav1.CreateOptions{})
		case 1:
			err = pods.Delete(ctx, name, now())
		case 2, 3:
			_, err = pods.Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{})
		case 4:
			_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		case 5:
			err = maps.Delete(ctx, name, metav1.DeleteOptions{})
		default:
			_, err = maps.Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{})
		}
		if err == nil {
			writes.Add(1)
		}
	}
}

// truth is what the server has.
func truth(t *testing.T, server clients, ns string) (pods, maps map[store.Key]store.Meta) {
	t.Helper()
	podList, err := server.kube.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	mapList, err := server.kube.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	pods, maps = map[store.Key]store.Meta{}, map[store.Key]store.Meta{}
	for pod := range slices.Values(podList.Items) {
		pods[store.KeyOf(&pod)] = store.MetaOf(&pod)
	}
	for cm := range slices.Values(mapList.Items) {
		maps[store.KeyOf(&cm)] = store.MetaOf(&cm)
	}
	return pods, maps
}

// With nobody there to answer, Store says so.
func TestServerThatIsNotThere(t *testing.T) {
	cluster := ownCluster(t)
	must(t, cluster.Kill())
	var pods resource.Resource[*corev1.Pod]
	startApp(t, cluster.Kubeconfig(), get(&pods), cells.Resource[*corev1.Pod]())
	notSynced(t, pods, informer.CauseRefused, "connection refused")
	must(t, cluster.Restart(t.Context()))
	record(t, pods).waitSynced(t)
}
