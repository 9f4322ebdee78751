// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"fmt"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource"
)

// The pods of those namespaces that somebody asks for, each listed and watched for
// as long as it is of interest.
func ExamplePool() {
	pool, err := resource.NewPool(resource.PoolConfig[string, *corev1.Pod]{
		New: func(lc cell.Lifecycle, namespace string) resource.Resource[*corev1.Pod] {
			// In an application: what lists and watches the pods of that namespace.
			return resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1")), pagedOnly,
				resource.WithName("pods of "+namespace))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lc := &cell.DefaultLifecycle{} // in a cell's constructor: its cell.Lifecycle parameter
	lc.Append(cell.Hook{OnStop: pool.Stop})
	defer start(lc)()

	pods, release, err := pool.Get("default")
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := pods.Store(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for key, pod := range store.All() {
		fmt.Println(key, "on", pod.Spec.NodeName)
	}
	fmt.Println(pool.Users())
	release() // stopped half a minute from now, unless somebody gets it before
	fmt.Println(pool.Users())
	// Output:
	// default/a on n1
	// map[default:1]
	// map[default:0]
}
