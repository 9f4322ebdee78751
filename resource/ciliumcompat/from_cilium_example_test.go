// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package ciliumcompat_test

// The code of docs/from-cilium.md.

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer/source"
	apiary "github.com/apiary-go/apiary/resource"
	resource "github.com/apiary-go/apiary/resource/ciliumcompat"
)

// Cilium's code, with another import. The ListWatch is new: it is read as a stream.
func newPods(lc cell.Lifecycle, client kubernetes.Interface, mp workqueue.MetricsProvider) resource.Resource[*corev1.Pod] {
	listWatch := source.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "")
	return resource.New[*corev1.Pod](lc, listWatch, mp, resource.WithMetric("Pod"))
}

// A consumer of Cilium's.
func printKeys(pods resource.Store[*corev1.Pod]) {
	for it := pods.IterKeys(); it.Next(); {
		fmt.Println(it.Key())
	}
}

// The consumer after the move to package resource, imported as apiary here.
func printKeysOf(pods apiary.Store[*corev1.Pod]) {
	for key := range pods.IterKeys() {
		fmt.Println(key)
	}
}

// oldPods is for consumers that have not moved, where the resource has.
func oldPods(pods apiary.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
	return resource.From(pods)
}

func ExampleFrom() {
	lc := &cell.DefaultLifecycle{}
	pods := apiary.New[*corev1.Pod](lc, serve([]corev1.Pod{newPod("web")}))
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	if err := lc.Start(log, ctx); err != nil {
		fmt.Println(err)
		return
	}
	moved, err := pods.Store(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	printKeysOf(moved)
	old, err := oldPods(pods).Store(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	printKeys(old)
	if err := lc.Stop(log, ctx); err != nil {
		fmt.Println(err)
	}
	_ = newPods // needs a server
	// Output:
	// shop/web
	// shop/web
}
