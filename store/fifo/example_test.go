// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/fifo"
)

// Two consumers share the queued pods. Each pod goes to one of them, in its latest state.
func ExampleFIFO() {
	ctx := context.Background()
	queue, err := fifo.New(store.MetaNamespaceKeyFunc[*corev1.Pod])
	if err != nil {
		fmt.Println(err)
		return
	}
	err = errors.Join(
		queue.Add(newPod("web-1", "node-a", "11")),
		queue.Add(newPod("web-2", "node-b", "12")),
		queue.Update(newPod("web-2", "node-a", "13")),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	queue.Close() // no more pods will be added

	var consumers sync.WaitGroup
	for range 2 {
		consumers.Go(func() {
			for {
				lease, err := queue.Pop(ctx)
				if err != nil {
					return // the queue is empty, or ctx has ended
				}
				p := lease.Object()
				fmt.Println(lease.Key(), "is on", p.Spec.NodeName)
				lease.Done()
			}
		})
	}
	consumers.Wait()
	// Unordered output:
	// default/web-1 is on node-a
	// default/web-2 is on node-a
}

// A failed object is queued again. If a newer state was added meanwhile, that is tried
// instead.
func ExampleLease_Retry() {
	ctx := context.Background()
	queue, err := fifo.New(store.MetaNamespaceKeyFunc[*corev1.Pod])
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = queue.Add(newPod("web-1", "", "11"))
	for {
		lease, err := queue.Pop(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		if node := lease.Object().Spec.NodeName; node != "" {
			fmt.Println(lease.Key(), "is on", node)
			lease.Done()
			break
		}
		fmt.Println(lease.Key(), "has no node")
		_ = queue.Add(newPod("web-1", "node-a", "12")) // by a watch, say
		lease.Retry(0)
	}
	fmt.Println(queue.Stats().Merged, "retry was not needed")
	// Output:
	// default/web-1 has no node
	// default/web-1 is on node-a
	// 1 retry was not needed
}

func newPod(name, node, version string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: version},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}
