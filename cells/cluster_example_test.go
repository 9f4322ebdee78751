// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

type (
	WestPods resource.Resource[*corev1.Pod]
	EastPods resource.Resource[*corev1.Pod]
)

var podsOfBoth = cell.Group(
	cells.NamedClients("west", "east"), // flags --west-k8s-kubeconfig, --east-k8s-kubeconfig, …
	cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) WestPods { return r }, cells.OfCluster("west")),
	cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) EastPods { return r }, cells.OfCluster("east")),
)

// Resources of one type from two clusters have types of their own.
func ExampleOfCluster() {
	_ = hive.New(podsOfBoth, cell.Invoke(func(west WestPods, east EastPods) {
		for _, pods := range []resource.Resource[*corev1.Pod]{west, east} {
			pods.Observe(context.Background(), func(event resource.Event[*corev1.Pod]) {
				fmt.Println(event.Kind, event.Key)
				event.Done(nil)
			}, nil)
		}
	}))
}

// podsOf prints the pods of one cluster. Its resource and its status engine are private, so
// a hive can have this module for each cluster.
func podsOf(cluster string) cell.Cell {
	return cell.Module("pods-"+cluster, "Pods of a cluster",
		cells.Resource[*corev1.Pod](cells.OfCluster(cluster), cells.Private()),
		cells.StatusWith(status.Config{}, cells.OfCluster(cluster), cells.Private()),
		cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod]) {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				store, err := pods.Store(ctx)
				if err != nil {
					return err
				}
				for key := range store.IterKeys() {
					fmt.Println(cluster, key)
				}
				return nil
			}})
		}),
	)
}

// writer writes to the cluster west.
type writer struct{ west kubernetes.Interface }

func newWriter(clusters cells.Clusters) (*writer, error) {
	west, err := clusters.Get("west")
	if err != nil {
		return nil, err
	}
	return &writer{west: west.Kubernetes}, nil
}

func pods(names ...string) *fakeapi.Server {
	api := fakeapi.New()
	for _, name := range names {
		if err := api.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}); err != nil {
			log.Fatal(err)
		}
	}
	return api
}

// Two clusters in one hive, in a test without servers. A program has cells.NamedClients in
// place of cells.NamedFakeClient.
func ExampleNamedClients() {
	h := hive.New(
		cells.NamedFakeClient("west", pods("web-0")),
		cells.NamedFakeClient("east", pods("db-0")),
		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) WestPods { return r }, cells.OfCluster("west")),
		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) EastPods { return r }, cells.OfCluster("east")),
		cell.Provide(newWriter),
		cell.Invoke(func(lc cell.Lifecycle, west WestPods, east EastPods, _ *writer) {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				for name, pods := range map[string]resource.Resource[*corev1.Pod]{"web-0": west, "db-0": east} {
					store, err := pods.Store(ctx)
					if err != nil {
						return err
					}
					fmt.Println(store.List()[0].Name == name)
				}
				return nil
			}})
		}),
		podsOf("west"), podsOf("east"),
	)
	if err := h.Start(slog.New(slog.DiscardHandler), context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := h.Stop(slog.New(slog.DiscardHandler), context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// true
	// true
	// west shop/web-0
	// east shop/db-0
}
