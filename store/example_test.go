// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

func pod(name, node, version string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "u", ResourceVersion: version},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}

func byNode(values []string, p *corev1.Pod) ([]string, error) {
	if p.Spec.NodeName == "" {
		return nil, nil // not scheduled yet
	}
	return append(values, p.Spec.NodeName), nil
}

// A store is filled by a source, here by hand: first a pass, then changes.
func Example() {
	ctx := context.Background()
	pods, err := store.New(store.Config[*corev1.Pod]{
		Name:     "pods",
		Indexers: map[string]store.IndexFunc[*corev1.Pod]{"node": byNode},
		OnChange: func(c store.Change[*corev1.Pod]) { fmt.Println(c.Kind, c.Meta) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	var sink store.Sink[*corev1.Pod] = pods
	err = errors.Join(
		sink.Begin(ctx, store.Pass{Epoch: 1, Reason: store.ReasonFirst}),
		apply(sink, pod("web-1", "node-a", "11")),
		apply(sink, pod("web-2", "node-b", "12")),
		sink.Commit(ctx, "20"),
		apply(sink, pod("web-2", "node-a", "21")),
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	onA, err := pods.ByIndex("node", "node-a")
	fmt.Println(len(onA), "pods on node-a,", err)
	// Output:
	// added default/web-1@11
	// added default/web-2@12
	// updated default/web-2@21
	// 2 pods on node-a, <nil>
}

func apply(sink store.Sink[*corev1.Pod], p *corev1.Pod) error {
	return sink.Apply(context.Background(), store.MetaOf(p), p)
}

// What a complete pass lacks is gone; what a broken off one lacks is not.
func ExampleStore_Commit() {
	ctx := context.Background()
	pods, err := store.New(store.Config[*corev1.Pod]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	pass := func(epoch uint64) store.Pass { return store.Pass{Epoch: epoch, Reason: store.ReasonAsked} }
	_ = pods.Begin(ctx, pass(1))
	_ = apply(pods, pod("web-1", "node-a", "11"))
	_ = apply(pods, pod("web-2", "node-b", "12"))
	_ = pods.Commit(ctx, "20")

	_ = pods.Begin(ctx, pass(2))
	pods.Abort(pass(2), errors.New("connection reset"))
	fmt.Println("after a broken off pass:", pods.Len())

	_ = pods.Begin(ctx, pass(3))
	fmt.Println("held:", pods.Holds(store.MetaOf(pod("web-1", "node-a", "11"))))
	_ = pods.Commit(ctx, "30")
	fmt.Println("after a complete pass:", pods.Len())
	// Output:
	// after a broken off pass: 2
	// held: true
	// after a complete pass: 1
}

// A loop may change the store that it iterates over: what it sees is the
// content as it was when the loop began.
func ExampleStore_All() {
	ctx := context.Background()
	pods, err := store.New(store.Config[*corev1.Pod]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = apply(pods, pod("web-1", "node-a", "11"))
	_ = apply(pods, pod("web-2", "node-b", "12"))
	n := 0
	for _, p := range pods.All() {
		_ = pods.Delete(ctx, store.MetaOf(p), p, true)
		n++
	}
	fmt.Println(n, "seen,", pods.Len(), "left")
	// Output: 2 seen, 0 left
}

// An index that fails for an object does not have it; the store does.
func ExampleIndexError() {
	pods, err := store.New(store.Config[*corev1.Pod]{
		Name: "pods",
		Indexers: map[string]store.IndexFunc[*corev1.Pod]{"owner": func(values []string, p *corev1.Pod) ([]string, error) {
			return append(values, string(p.OwnerReferences[0].UID)), nil // has it one?
		}},
		OnIndexError: func(err error) { fmt.Println(err) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = apply(pods, pod("web-1", "node-a", "11"))
	fmt.Println(pods.Len(), "stored")
	// Output:
	// store pods: index "owner": default/web-1@11 is missing from the index: index function "owner" panicked on key "default/web-1": runtime error: index out of range [0] with length 0
	// 1 stored
}

func ExampleParseKey() {
	key, err := store.ParseKey("kube-system/coredns")
	fmt.Println(key.Namespace, key.Name, err)
	_, err = store.ParseKey("a/b/c")
	fmt.Println(err)
	// Output:
	// kube-system coredns <nil>
	// key "a/b/c": want "namespace/name" or "name"
}
