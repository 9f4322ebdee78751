// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells_test

// The code of docs/from-client-go.md, and the new code of docs/from-controller-runtime.md.

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"sync"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

// firewall stands for what a program keeps in step with the pods.
type firewall struct {
	mu      sync.Mutex
	allowed map[string]string
	changed chan struct{} // gets one for each call
}

func newFirewall() *firewall {
	return &firewall{allowed: map[string]string{}, changed: make(chan struct{}, 100)}
}

func (fw *firewall) Allow(key, ip string) error {
	fw.mu.Lock()
	defer fw.mu.Unlock()
	fw.allowed[key] = ip
	fw.changed <- struct{}{}
	return nil
}

func (fw *firewall) Remove(key string) error {
	fw.mu.Lock()
	defer fw.mu.Unlock()
	delete(fw.allowed, key)
	fw.changed <- struct{}{}
	return nil
}

func (fw *firewall) reconcile(key string, lister corelisters.PodLister) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	pod, err := lister.Pods(namespace).Get(name)
	if err != nil {
		return fw.Remove(key)
	}
	return fw.Allow(key, pod.Status.PodIP)
}

// With client-go.
func runInformer(ctx context.Context, client kubernetes.Interface, fw *firewall) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	enqueue := func(obj any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
			queue.Add(key)
		}
	}
	if _, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, obj any) { enqueue(obj) },
		DeleteFunc: enqueue,
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.Informer().HasSynced) {
		return ctx.Err()
	}
	context.AfterFunc(ctx, queue.ShutDown)
	for {
		key, shutdown := queue.Get()
		if shutdown {
			return nil
		}
		if err := fw.reconcile(key, pods.Lister()); err != nil {
			queue.AddRateLimited(key)
		} else {
			queue.Forget(key)
		}
		queue.Done(key)
	}
}

// With Apiary.
func followPods(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod], fw *firewall) {
	lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
		go func() {
			for event := range pods.Events(context.Background()) { // until the hive stops
				var err error
				switch event.Kind {
				case resource.Upsert:
					err = fw.Allow(event.Key.String(), event.Object.Status.PodIP)
				case resource.Delete:
					err = fw.Remove(event.Key.String())
				}
				event.Done(err) // after an error the key is emitted again, after a backoff
			}
		}()
		return nil
	}})
}

func Example_fromClientGo() {
	app := hive.New(
		cells.Client,
		cells.Resource[*corev1.Pod](),
		cell.Provide(newFirewall),
		cell.Invoke(followPods),
	)
	if err := app.Run(slog.Default()); err != nil {
		log.Fatal(err)
	}
	_ = runInformer // the code before
}

// A lister, and an informer without a hive.
func listShop(ctx context.Context, pods resource.Resource[*corev1.Pod]) error {
	store, err := pods.Store(ctx) // waits for the first complete state
	if err != nil {
		return err
	}
	lister, err := resource.NewLister(store, corev1.Resource("pods"), "app") // with an index of the label app
	if err != nil {
		return err
	}
	for _, pod := range lister.In("shop").List(labels.SelectorFromSet(labels.Set{"app": "web"})) {
		fmt.Println(pod.Name)
	}
	return nil
}

func withoutHive(ctx context.Context, log *slog.Logger, client kubernetes.Interface) (resource.Resource[*corev1.Pod], error) {
	lc := &cell.DefaultLifecycle{}
	listWatch := source.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "")
	pods := resource.New[*corev1.Pod](lc, listWatch)
	return pods, lc.Start(log, ctx) // and lc.Stop in the end
}

// With workers.
func reconcilePods(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod], fw *firewall) {
	lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
		events := pods.Events(context.Background()) // closed when the hive stops
		for range 4 {
			go func() {
				for event := range events { // of one key, one event at a time
					event.Done(reconcilePod(fw, event))
				}
			}()
		}
		return nil
	}})
}

func reconcilePod(fw *firewall, event resource.Event[*corev1.Pod]) error {
	switch event.Kind {
	case resource.Upsert:
		return fw.Allow(event.Key.String(), event.Object.Status.PodIP)
	case resource.Delete:
		return fw.Remove(event.Key.String())
	}
	return nil // Sync: all pods were emitted
}

// What the guides show, on a server in memory.
func Example_guides() {
	_ = withoutHive // needs a server
	for _, consumer := range []any{followPods, reconcilePods} {
		fw := newFirewall()
		app := hive.New(
			cells.FakeClient,
			cells.Resource[*corev1.Pod](),
			cell.Provide(func() *firewall { return fw }),
			cell.Invoke(consumer, func(lc cell.Lifecycle, api *fakeapi.Server, pods resource.Resource[*corev1.Pod]) error {
				lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error { return listShop(ctx, pods) }})
				return api.Add(&corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0", Labels: map[string]string{"app": "web"}},
					Status:     corev1.PodStatus{PodIP: "10.0.0.1"},
				})
			}),
		)
		quiet := slog.New(slog.DiscardHandler)
		if err := app.Start(quiet, context.Background()); err != nil {
			fmt.Println(err)
		}
		<-fw.changed
		fmt.Println(fw.allowed)
		if err := app.Stop(quiet, context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// web-0
	// map[shop/web-0:10.0.0.1]
	// web-0
	// map[shop/web-0:10.0.0.1]
}
