// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/clusterreader"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/event"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/statusreaders"
	"github.com/fluxcd/cli-utils/pkg/kstatus/watcher"
	"github.com/fluxcd/cli-utils/pkg/object"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/status"
)

// The contestants of cli-utils.
const (
	namePoller  = "cli-utils poller"
	nameWatcher = "cli-utils watcher"
)

// deploymentStatus is the status of a Deployment that a contestant reports.
type deploymentStatus struct{ name, status string }

// statusContestants follow the statuses of the first owners Deployments until ctx ends.
var statusContestants = map[string]func(ctx context.Context, config *rest.Config, owners int, statuses chan<- deploymentStatus) error{
	nameOurs:    followByEngine,
	namePoller:  followByPoller,
	nameWatcher: followByWatcher,
}

var statusNames = []string{nameOurs, namePoller, nameWatcher}

// pollInterval is the default interval of the poller.
const pollInterval = 5 * time.Second

func ownerIDs(owners int) (ids []status.ID, set object.ObjMetadataSet) {
	for i := range owners {
		id := status.ID{Namespace: statusNamespace, Name: ownerName(i), GroupKind: schema.GroupKind{Group: "apps", Kind: "Deployment"}}
		ids = append(ids, id)
		set = append(set, object.ObjMetadata(id))
	}
	return ids, set
}

// clientsOf returns the clients that all contestants use.
func clientsOf(config *rest.Config) (*dynamic.DynamicClient, meta.RESTMapper, error) {
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	return dyn, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)), nil
}

func followByEngine(ctx context.Context, config *rest.Config, owners int, statuses chan<- deploymentStatus) error {
	dyn, mapper, err := clientsOf(config)
	if err != nil {
		return err
	}
	stream, err := source.NewStreamFunc(config, nil) // as in a hive
	if err != nil {
		return err
	}
	e, err := status.New(status.Config{Dynamic: dyn, Stream: stream, Mapping: status.ByMapper(mapper)})
	if err != nil {
		return err
	}
	ids, _ := ownerIDs(owners)
	w, err := e.Watch(ctx, ids...)
	if err != nil {
		return err
	}
	for ev := range w.Events() {
		if ev.Type != status.ResourceUpdate {
			continue
		}
		select {
		case statuses <- deploymentStatus{ev.Resource.ID.Name, string(ev.Resource.Status)}:
		case <-ctx.Done():
		}
	}
	return e.Stop(context.WithoutCancel(ctx))
}

func followByPoller(ctx context.Context, config *rest.Config, owners int, statuses chan<- deploymentStatus) error {
	_, mapper, err := clientsOf(config)
	if err != nil {
		return err
	}
	reader, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		return err
	}
	readers := statusreaders.NewDefaultStatusReader(mapper)
	poller := engine.PollerEngine{
		Reader: reader, Mapper: mapper, StatusReaders: []engine.StatusReader{readers}, DefaultStatusReader: readers,
		ClusterReaderFactory: engine.ClusterReaderFactoryFunc(clusterreader.NewCachingClusterReader),
	}
	_, set := ownerIDs(owners)
	return forwardEvents(ctx, poller.Poll(ctx, set, engine.Options{PollInterval: pollInterval}), statuses)
}

func followByWatcher(ctx context.Context, config *rest.Config, owners int, statuses chan<- deploymentStatus) error {
	dyn, mapper, err := clientsOf(config)
	if err != nil {
		return err
	}
	_, set := ownerIDs(owners)
	return forwardEvents(ctx, watcher.NewDefaultStatusWatcher(dyn, mapper).Watch(ctx, set, watcher.Options{}), statuses)
}

// forwardEvents reads all events, as cli-utils requires, and sends the statuses.
func forwardEvents(ctx context.Context, events <-chan event.Event, statuses chan<- deploymentStatus) error {
	var failed error
	for ev := range events {
		switch ev.Type {
		case event.ErrorEvent:
			failed = ev.Error
		case event.ResourceUpdateEvent:
			select {
			case statuses <- deploymentStatus{ev.Resource.Identifier.Name, string(ev.Resource.Status)}:
			case <-ctx.Done():
			}
		}
	}
	return failed
}
