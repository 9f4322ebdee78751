// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"fmt"
	"log"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// twoPods stands for a client, such as
// cache.NewListWatchFromClient(clientset.CoreV1().RESTClient(), "pods", "", fields.Everything()).
var twoPods = &cache.ListWatch{
	ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
		return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "100"}, Items: []corev1.Pod{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", ResourceVersion: "90"}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "u2", ResourceVersion: "70"}},
		}}, nil
	},
	WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
		return watch.NewFake(), nil
	},
}

// A mirror of pods to a database, which the program left with two rows when it ran
// last. One of them has not changed and costs nothing.
func ExampleNewResourceVersionInformer() {
	type row struct{ key, uid, version string }
	rows := []row{{"shop/db", "u2", "70"}, {"shop/old", "u3", "50"}}

	versions := mirror.NewResourceVersionStorage()
	err := versions.Replace(func(yield func(store.Meta) bool) {
		for _, r := range rows {
			key, err := store.ParseKey(r.key)
			if err != nil {
				log.Fatal(err)
			}
			if !yield(store.Meta{Key: key, UID: types.UID(r.uid), Version: r.version}) {
				return
			}
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	mirror, err := mirror.NewResourceVersionInformer("cluster-1/pods", mirror.InformerConfig[*corev1.Pod]{
		ListerWatcher: twoPods,
		Storage:       versions,
		Workers:       1, // for the sake of the output
		Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
			AddFunc: func(_ context.Context, pod informer.Object[*corev1.Pod]) error {
				fmt.Println("insert", pod.Key, pod.UID, pod.Version)
				return nil // an error here has the key handed over again, after a while
			},
			UpdateFunc: func(_ context.Context, old store.Meta, pod informer.Object[*corev1.Pod]) error {
				fmt.Println("update", pod.Key, old.Version, "to", pod.Version)
				return nil
			},
			DeleteFunc: func(_ context.Context, gone mirror.Deletion[*corev1.Pod]) error {
				fmt.Println("delete", gone.Key, gone.UID)
				return nil
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = mirror.Run(ctx) // until ctx ends
	}()
	<-mirror.Synced()
	fmt.Println("resume from", mirror.ResumeVersion())
	cancel()
	<-ended
	// Output:
	// insert shop/web u1 90
	// delete shop/old u3
	// resume from 100
}
