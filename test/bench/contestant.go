// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	ciliumresource "github.com/cilium/cilium/pkg/k8s/resource"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/resource"
)

// contestant is an implementation that follows a source.
type contestant struct {
	name  string
	start func(src *podSource, observers []observer) follower
}

// observer is one subscriber. Its methods are called one at a time, after the event is
// acknowledged if the contestant has acknowledgements. synced can be called from another
// goroutine.
type observer interface {
	upserted(*corev1.Pod)
	deleted(*corev1.Pod)
	synced()
}

// follower is a running contestant.
type follower interface {
	// waitSynced blocks until the contestant reports that its store is complete.
	waitSynced()

	// stored returns the keys of the store and the versions of the pods.
	stored() map[string]string

	// stop returns when the contestant has ended.
	stop()
}

const (
	nameOurs     = "apiary"
	nameCilium   = "cilium"
	nameClientGo = "client-go"
	nameIdeal    = "ideal loop"
)

var (
	ours     = contestant{nameOurs, startOurs}
	cilium   = contestant{nameCilium, startCilium}
	clientGo = contestant{nameClientGo, startClientGo}
	ideal    = contestant{nameIdeal, startIdeal}

	contestants = []contestant{ours, cilium, clientGo, ideal}
)

func followerNames() (names []string) {
	for _, c := range contestants {
		names = append(names, c.name)
	}
	return names
}

func contestantOf(name string) contestant {
	return contestants[slices.Index(followerNames(), name)]
}

var quiet = slog.New(slog.DiscardHandler)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type oursFollower struct {
	inHive
	resource resource.Resource[*corev1.Pod]
	store    resource.Store[*corev1.Pod]
}

func startOurs(src *podSource, observers []observer) follower {
	f := &oursFollower{}
	f.resource = resource.New[*corev1.Pod](&f.lc, src, resource.WithLogger(quiet))
	for _, o := range observers {
		events := f.resource.Events(context.Background())
		f.readers.Go(func() {
			for event := range events {
				event.Done(nil)
				switch event.Kind {
				case resource.Upsert:
					o.upserted(event.Object)
				case resource.Delete:
					o.deleted(event.Object)
				case resource.Sync:
					o.synced()
				}
			}
		})
	}
	must(f.lc.Start(quiet, context.Background()))
	return f
}

func (f *oursFollower) waitSynced() {
	var err error
	f.store, err = f.resource.Store(context.Background())
	must(err)
}

func (f *oursFollower) stored() map[string]string { return versionsOf(f.store.List()) }

func (f *oursFollower) stop() { must(f.end()) }

type ciliumFollower struct {
	inHive
	resource ciliumresource.Resource[*corev1.Pod]
	store    ciliumresource.Store[*corev1.Pod]
}

func startCilium(src *podSource, observers []observer) follower {
	f := &ciliumFollower{}
	f.resource = ciliumresource.New[*corev1.Pod](&f.lc, src, nil)
	for _, o := range observers {
		events := f.resource.Events(context.Background())
		f.readers.Go(func() {
			for event := range events {
				event.Done(nil)
				switch event.Kind {
				case ciliumresource.Upsert:
					o.upserted(event.Object)
				case ciliumresource.Delete:
					o.deleted(event.Object)
				case ciliumresource.Sync:
					o.synced()
				}
			}
		})
	}
	must(f.lc.Start(quiet, context.Background()))
	return f
}

func (f *ciliumFollower) waitSynced() {
	var err error
	f.store, err = f.resource.Store(context.Background())
	must(err)
}

func (f *ciliumFollower) stored() map[string]string { return versionsOf(f.store.List()) }

func (f *ciliumFollower) stop() { must(f.end()) }

type clientGoFollower struct {
	informer cache.SharedIndexInformer
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func startClientGo(src *podSource, observers []observer) follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &clientGoFollower{cancel: cancel}
	f.informer = cache.NewSharedIndexInformer(src, &corev1.Pod{}, 0, cache.Indexers{})
	for _, o := range observers {
		handle, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { o.upserted(obj.(*corev1.Pod)) },
			UpdateFunc: func(_, obj any) { o.upserted(obj.(*corev1.Pod)) },
			DeleteFunc: func(obj any) { o.deleted(obj.(*corev1.Pod)) },
		})
		must(err)
		f.running.Go(func() {
			select {
			case <-handle.HasSyncedChecker().Done():
				o.synced()
			case <-ctx.Done():
			}
		})
	}
	f.running.Go(func() { f.informer.RunWithContext(ctx) })
	return f
}

// waitSynced does not poll, in contrast to HasSynced.
func (f *clientGoFollower) waitSynced() { <-f.informer.HasSyncedChecker().Done() }

func (f *clientGoFollower) stored() map[string]string {
	pods := make([]*corev1.Pod, 0)
	for _, obj := range f.informer.GetStore().List() {
		pods = append(pods, obj.(*corev1.Pod))
	}
	return versionsOf(pods)
}

func (f *clientGoFollower) stop() {
	f.cancel()
	f.running.Wait()
}

func versionsOf(pods []*corev1.Pod) map[string]string {
	stored := make(map[string]string, len(pods))
	for _, pod := range pods {
		stored[fmt.Sprintf("%s/%s", pod.Namespace, pod.Name)] = pod.ResourceVersion
	}
	return stored
}
