// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

type (
	westPods resource.Resource[*corev1.Pod]
	eastPods resource.Resource[*corev1.Pod]
)

// One hive follows the pods of two clusters. One of them is killed: the other one goes on,
// and Resources shows which one fails. Then it comes back.
func TestTwoClusters(t *testing.T) {
	westCluster, eastCluster := sharedCluster(t), ownCluster(t)
	west, east := startApp(t, westCluster.Kubeconfig()), startApp(t, eastCluster.Kubeconfig())
	westNS, eastNS := west.namespace(t), east.namespace(t)

	var westPod westPods
	var eastPod eastPods
	var clusters cells.Clusters
	var seen occurrences
	impatient := resource.WithSettings(informer.Settings{Backoff: informer.Backoff{Initial: 100 * time.Millisecond, Max: time.Second}})
	h := hive.New(
		cells.NamedClientFrom("west", westCluster.Config()), cells.NamedClientFrom("east", eastCluster.Config()),
		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) westPods { return r },
			cells.OfCluster("west"), cells.InNamespace(westNS), cells.With(resource.WithName("pods"), impatient)),
		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) eastPods { return r },
			cells.OfCluster("east"), cells.InNamespace(eastNS), cells.With(resource.WithName("pods"), impatient, resource.WithObserver(&seen))),
		cell.Group(get(&westPod), get(&eastPod), get(&clusters)),
	)
	log := slog.New(slog.DiscardHandler)
	must(t, h.Start(log, t.Context()))
	t.Cleanup(func() {
		if err := h.Stop(log, context.Background()); err != nil {
			t.Error(err)
		}
	})
	inWest, inEast := record[*corev1.Pod](t, westPod), record[*corev1.Pod](t, eastPod)

	create := func(c clients, ns, name string) *corev1.Pod {
		pod, err := c.kube.CoreV1().Pods(ns).Create(t.Context(), newPod(name), metav1.CreateOptions{})
		must(t, err)
		return pod
	}
	webWest, webEast := create(west, westNS, "web"), create(east, eastNS, "web")
	inWest.waitFor(t, webWest)
	inEast.waitFor(t, webEast)

	must(t, eastCluster.Kill())
	await(t, &seen, func(o informer.BackingOff) bool { return o.Cause == informer.CauseRefused })
	inWest.waitFor(t, webWest, create(west, westNS, "db"))
	for name, want := range map[string]cells.Level{"west/pods": cells.LevelOK, "east/pods": cells.LevelDegraded} {
		if f, err := clusters.Resources().Get(name); err != nil || f.Level != want {
			t.Errorf("%s is %s: %s, %v, want %s", name, f.Level, f.Status, err, want)
		}
	}
	inEast.waitFor(t, webEast) // a failure does not empty the store

	must(t, eastCluster.Restart(t.Context()))
	inEast.waitFor(t, webEast, create(east, eastNS, "db"))
}
