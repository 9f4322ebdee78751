// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// cluster lists and watches some pods. In an application a client does that, such
// as cache.NewListWatchFromClient(clientset.CoreV1().RESTClient(), "pods", "", fields.Everything()).
func cluster(pods ...*corev1.Pod) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "10"}}
			for _, p := range pods {
				list.Items = append(list.Items, *p)
			}
			return list, nil
		},
		WatchFuncWithContext: func(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			if opts.SendInitialEvents != nil {
				return nil, errors.New("there are only lists here")
			}
			return watch.NewRaceFreeFake(), nil
		},
	}
}

func newPod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "u", ResourceVersion: "9"},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}

// start starts a lifecycle, as a hive does when it runs. The result stops it.
func start(lc *cell.DefaultLifecycle) (stop func()) {
	log := slog.New(slog.DiscardHandler)
	if err := lc.Start(log, context.Background()); err != nil {
		fmt.Println(err)
	}
	return func() {
		if err := lc.Stop(log, context.Background()); err != nil {
			fmt.Println(err)
		}
	}
}

// pagedOnly is for sources that have no initial events.
var pagedOnly = resource.WithSettings(informer.Settings{Lists: informer.ListPaged})

func ExampleNew() {
	lc := &cell.DefaultLifecycle{} // in a cell's constructor: its cell.Lifecycle parameter
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1")), pagedOnly, resource.WithName("pods"))
	defer start(lc)()

	read, err := pods.Store(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	pod, exists, _ := read.GetByKey(store.Key{Namespace: "default", Name: "a"})
	fmt.Println(exists, pod.Spec.NodeName)
	// Output: true n1
}

// The loop that a consumer runs for as long as it lives.
func ExampleResource_events() {
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1")), pagedOnly)
	defer start(lc)()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for event := range pods.Events(ctx) {
		var err error
		switch event.Kind {
		case resource.Sync:
			fmt.Println("everything that there is was seen")
			cancel() // for the sake of the example: the channel is closed then
		case resource.Upsert:
			fmt.Println("there is", event.Key, "on", event.Object.Spec.NodeName)
		case resource.Delete:
			fmt.Println("gone is", event.Key)
		}
		event.Done(err) // an error that comes here is retried
	}
	// Output:
	// there is default/a on n1
	// everything that there is was seen
}

// A consumer that ends when one key has failed three times.
func ExampleRetryUpTo() {
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1")), pagedOnly)
	defer start(lc)()

	for event := range pods.Events(context.Background(), resource.WithErrorHandler(resource.RetryUpTo(2))) {
		if event.Kind == resource.Upsert {
			fmt.Println("trying", event.Key)
			event.Done(errors.New("it does not work"))
			continue
		}
		event.Done(nil)
	}
	fmt.Println("the channel is closed")
	// Output:
	// trying default/a
	// trying default/a
	// trying default/a
	// the channel is closed
}

// An error handler that knows which errors pass.
func ExampleWithErrorHandler() {
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1"), newPod("b", "n1")), pagedOnly)
	defer start(lc)()

	errInvalid := errors.New("there is no sense in it")
	handler := func(key store.Key, numRetries int, err error) resource.ErrorAction {
		if errors.Is(err, errInvalid) {
			return resource.ErrorActionIgnore
		}
		return resource.ErrorActionRetry
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	handled := map[string]int{}
	handle := func(p *corev1.Pod) error {
		handled[p.Name]++
		switch {
		case p.Name == "a":
			return errInvalid
		case handled[p.Name] < 3:
			return errors.New("try again")
		}
		cancel() // for the sake of the example
		return nil
	}
	for event := range pods.Events(ctx, resource.WithErrorHandler(handler)) {
		var err error
		if event.Kind == resource.Upsert {
			err = handle(event.Object)
		}
		event.Done(err)
	}
	fmt.Println(handled)
	// Output: map[a:1 b:3]
}

// A part of a resource, such as the pods of one node.
func ExampleFilter() {
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1"), newPod("b", "n2")), pagedOnly)
	local := resource.Filter(pods, func(p *corev1.Pod) bool { return p.Spec.NodeName == "n2" })
	defer start(lc)()

	read, err := local.Store(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(slices.Collect(read.IterKeys()))
	// Output: [default/b]
}

func ExampleStore_byIndex() {
	byNode := func(obj any) ([]string, error) {
		return []string{obj.(*corev1.Pod).Spec.NodeName}, nil
	}
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, cluster(newPod("a", "n1"), newPod("b", "n2"), newPod("c", "n1")), pagedOnly,
		resource.WithIndexers(cache.Indexers{"node": byNode}))
	defer start(lc)()

	read, err := pods.Store(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := read.IndexKeys("node", "n1")
	slices.SortFunc(keys, store.Key.Compare)
	fmt.Println(keys, err)
	_, err = read.ByIndex("zone", "here")
	fmt.Println(err != nil)
	// Output:
	// [default/a default/c] <nil>
	// true
}

// What is not needed is not kept in memory.
func ExampleWithTransform() {
	slim := func(p *corev1.Pod) (*metav1.PartialObjectMetadata, error) {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace:       p.Namespace,
			Name:            p.Name,
			UID:             p.UID,
			ResourceVersion: p.ResourceVersion,
			Annotations:     map[string]string{"node": p.Spec.NodeName},
		}}, nil
	}
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*metav1.PartialObjectMetadata](lc, cluster(newPod("a", "n1")), pagedOnly,
		resource.WithTransform(slim))
	defer start(lc)()

	read, err := pods.Store(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for key, obj := range read.All() {
		fmt.Println(key, obj.Annotations)
	}
	// Output: default/a map[node:n1]
}
