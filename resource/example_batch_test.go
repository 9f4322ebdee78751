// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// database has a call that takes many pods at once.
type database struct{}

func (database) Write(upserts, deletes iter.Seq2[store.Key, *corev1.Pod]) error {
	for key, pod := range upserts {
		fmt.Println("write", key, "on", pod.Spec.NodeName)
	}
	for key := range deletes {
		fmt.Println("remove", key)
	}
	return nil
}

// A consumer that writes what there is to write by one call.
func ExampleBatches() {
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1"), newPod("b", "n2")), pagedOnly)
	defer start(lc)()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// What failed together is retried together.
	together := resource.WithRateLimiter(
		workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](10*time.Millisecond, time.Minute))
	var db database
	for batch := range resource.Batches(pods.Events(ctx, together), resource.BatchConfig{}) {
		err := db.Write(batch.Upserts(), batch.Deletes())
		if err == nil && batch.Synced() {
			fmt.Println("everything that there is was written")
			cancel() // for the sake of the example
		}
		batch.Done(err) // an error that comes here is retried
	}
	// Output:
	// write default/a on n1
	// write default/b on n2
	// everything that there is was written
}

// An API that takes many at once, and says of each what became of it.
func ExampleEventBatch_Done() {
	push := func(batch resource.EventBatch[*corev1.Pod]) (map[store.Key]error, error) {
		failed := map[store.Key]error{}
		for key := range batch.Upserts() {
			if key.Name == "b" {
				failed[key] = errors.New("it does not work")
			}
		}
		return failed, nil
	}
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1"), newPod("b", "n2")), pagedOnly)
	defer start(lc)()

	events := pods.Events(context.Background(), resource.WithErrorHandler(
		func(key store.Key, _ int, err error) resource.ErrorAction {
			fmt.Printf("%v: %v\n", key, err)
			return resource.ErrorActionStop // for the sake of the example
		}))
	for batch := range resource.Batches(events, resource.BatchConfig{}) {
		failed, err := push(batch)
		for _, event := range batch.Events {
			if err := failed[event.Key]; err != nil {
				event.Done(err)
			}
		}
		batch.Done(err) // the others
	}
	// Output: default/b: it does not work
}
