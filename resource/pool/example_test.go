// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/pool"
)

// The pods of the namespaces that are in use. Each namespace is listed and watched while
// it is used.
func ExamplePool() {
	pool, err := pool.New(pool.Config[string, *corev1.Pod]{
		New: func(lc cell.Lifecycle, namespace string) resource.Resource[*corev1.Pod] {
			return resource.New[*corev1.Pod](lc, podsIn(namespace), resource.WithName("pods of "+namespace),
				resource.WithSettings(informer.Settings{Lists: informer.ListPaged}))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lc := &cell.DefaultLifecycle{} // in a cell's constructor: its cell.Lifecycle parameter
	lc.Append(cell.Hook{OnStop: pool.Stop})
	log := slog.New(slog.DiscardHandler)
	if err := lc.Start(log, context.Background()); err != nil { // the hive does both
		fmt.Println(err)
	}
	defer func() { _ = lc.Stop(log, context.Background()) }()

	pods, release, err := pool.Get("default")
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := pods.Store(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for key, pod := range read.All() {
		fmt.Println(key, "on", pod.Spec.NodeName)
	}
	fmt.Println(pool.Users())
	release() // stopped in 30 seconds, unless it is used again
	fmt.Println(pool.Users())
	// Output:
	// default/a on n1
	// map[default:1]
	// map[default:0]
}

// podsIn lists and watches the pods of a namespace. In an application it is
// source.NewListWatchFromClient.
func podsIn(namespace string) cache.ListerWatcher {
	return &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "9"}, Items: []corev1.Pod{{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "a", ResourceVersion: "9"},
				Spec:       corev1.PodSpec{NodeName: "n1"},
			}}}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
	}
}
