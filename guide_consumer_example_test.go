// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// routes stands for something that has an entry for each pod.
type routes interface {
	Set(ctx context.Context, key store.Key, ip string) error
	Remove(ctx context.Context, key store.Key, ip string) error
	RemoveUnknown(ctx context.Context, known map[store.Key]bool) error
	Write(upserts, deletes iter.Seq2[store.Key, *corev1.Pod]) error
}

var errInvalid = errors.New("the address is not valid")

func syncRoutes(ctx context.Context, pods resource.Resource[*corev1.Pod], table routes) {
	known := map[store.Key]bool{}
	for ev := range pods.Events(ctx, resource.WithErrorHandler(retryIfUseful), resource.WithRateLimiter(slowly())) {
		var err error
		switch ev.Kind {
		case resource.Upsert:
			known[ev.Key] = true
			err = table.Set(ctx, ev.Key, ev.Object.Status.PodIP)
		case resource.Delete: // ev.Object is what the last Upsert showed
			delete(known, ev.Key)
			err = table.Remove(ctx, ev.Key, ev.Object.Status.PodIP)
		case resource.Sync: // of an earlier run there may be entries of pods that are gone
			err = table.RemoveUnknown(ctx, known)
		}
		ev.Done(err)
	}
}

func retryIfUseful(key store.Key, retries int, err error) resource.ErrorAction {
	switch {
	case errors.Is(err, errInvalid):
		return resource.ErrorActionIgnore // until the object changes
	case retries == 100:
		return resource.ErrorActionStop
	}
	return resource.ErrorActionRetry
}

// waiting returns how many keys of each subscriber wait for their event, their Done or their retry.
func waiting(pods resource.Resource[*corev1.Pod]) map[string]int {
	keys := map[string]int{}
	for _, sub := range pods.(resource.Inspector).Stats().Subscribers {
		keys[sub.Site] += sub.Depth + sub.Outstanding + sub.Retrying
	}
	return keys
}

func slowly() workqueue.TypedRateLimiter[store.Key] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](100*time.Millisecond, time.Minute)
}

func syncRoutesByMany(ctx context.Context, pods resource.Resource[*corev1.Pod], handle func(resource.Event[*corev1.Pod]) error) {
	events := pods.Events(ctx)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for ev := range events {
				ev.Done(handle(ev))
			}
		})
	}
	workers.Wait()
}

func runningPods(pods resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
	return resource.Filter(pods, func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
}

func podsOfNode(pods resource.Resource[*corev1.Pod], node string) resource.Resource[*corev1.Pod] {
	return resource.ByIndex(pods, "node", node)
}

func withoutStatus(pods resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
	return resource.Distinct(pods, resource.SameBy(func(pod *corev1.Pod) any {
		return []any{pod.Labels, pod.Spec.NodeName}
	}))
}

func syncRoutesInBatches(ctx context.Context, pods resource.Resource[*corev1.Pod], table routes) {
	for batch := range resource.Batches(pods.Events(ctx, resource.WithRateLimiter(slowly())), resource.BatchConfig{}) {
		batch.Done(table.Write(batch.Upserts(), batch.Deletes()))
	}
}

func label(ctx context.Context, client kubernetes.Interface, podStore resource.Store[*corev1.Pod], key store.Key) error {
	pod, exists, err := podStore.GetByKey(key)
	if err != nil || !exists {
		return err
	}
	changed := pod.DeepCopy() // pod is shared with all readers
	metav1.SetMetaDataLabel(&changed.ObjectMeta, "greeted", "true")
	changed, err = client.CoreV1().Pods(key.Namespace).Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	return podStore.WaitFor(ctx, changed.ResourceVersion) // from here on the store has the label
}
