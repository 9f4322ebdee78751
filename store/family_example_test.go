// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// Who has objects, but no source, writes them to an Indexer.
func ExampleIndexer() {
	pods, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	onNode, err := pods.AddIndex("node", byNode)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = pods.Add(pod("web-1", "node-a", "11"))
	_ = pods.Add(pod("web-2", "node-b", "12"))
	_ = pods.Update(pod("web-1", "node-b", "10")) // which is older: dropped
	fmt.Println(onNode.Count("node-a"), onNode.Count("node-b"))

	changed, err := pods.Replace([]*corev1.Pod{
		pod("web-1", "node-b", "21"), pod("web-2", "node-b", "12"), pod("web-3", "node-b", "22"),
	}, "30")
	fmt.Println(changed.Added, "added,", changed.Updated, "updated,", changed.Deleted, "deleted,", err)
	fmt.Println(onNode.Count("node-a"), onNode.Count("node-b"))
	// Output:
	// 1 1
	// 1 added, 1 updated, 0 deleted, <nil>
	// 0 3
}

// A snapshot is of one point in time, indexes included.
func ExampleStore_Snapshot() {
	pods, _ := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{"node": byNode})
	_ = pods.Add(pod("web-1", "node-a", "11"))
	snapshot := pods.Snapshot()
	_ = pods.Update(pod("web-1", "node-b", "12"))

	then, _ := snapshot.Index("node")
	now, _ := pods.Store.Index("node")
	fmt.Println(then.Count("node-a"), "then,", now.Count("node-a"), "now")
	// Output: 1 then, 0 now
}

// A write to the server returns a version; from then on the store is asked.
func ExampleStore_WaitFor() {
	pods, _ := store.New(store.Config[*corev1.Pod]{Name: "pods"})
	go func() { // the source
		web := pod("web-1", "node-a", "12")
		_ = pods.Apply(context.Background(), store.MetaOf(web), web)
	}()
	written := "12" // of what Create or Update returned

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := pods.WaitFor(ctx, written)
	fmt.Println(pods.Len(), err)
	// Output: 1 <nil>
}

// Every state, each once.
func ExampleUndeltaStore() {
	pods, err := store.NewUndeltaStore(func(all store.Snapshot[*corev1.Pod]) {
		var names []string
		for key := range all.All() {
			names = append(names, key.Name)
		}
		slices.Sort(names)
		fmt.Println(names)
	}, store.MetaNamespaceKeyFunc[*corev1.Pod])
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = pods.Add(pod("web-1", "node-a", "11"))
	_ = pods.Add(pod("web-2", "node-a", "12"))
	_ = pods.Delete(pod("web-1", "", ""))
	// Output:
	// [web-1]
	// [web-1 web-2]
	// [web-2]
}

// The newest state, as fast as the loop takes it.
func ExampleStore_Snapshots() {
	pods, _ := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], nil)
	_ = pods.Add(pod("web-1", "node-a", "11"))
	_ = pods.Add(pod("web-2", "node-a", "12"))
	for all := range pods.Snapshots(context.Background()) {
		fmt.Println(all.Len(), "pods at version", all.Version())
		break
	}
	// Output: 2 pods at version 12
}
