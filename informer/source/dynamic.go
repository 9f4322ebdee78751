// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/apiary-go/apiary/internal/httpclient"
)

// DynamicListerWatcherFactory makes what lists and watches any resource of an API
// server, custom ones included, and is read as a stream: see [Streamer]. Objects are
// *unstructured.Unstructured:
//
//	factory, err := source.NewDynamicListerWatcherFactory(config)
//	…
//	src := source.FromListerWatcher[*unstructured.Unstructured](factory.ForResource("", gvr), nil)
//
// It may be used from anywhere, and so may what it makes: a request ends when its
// context does (ListWithContext, WatchWithContext). Each call returns a
// ListerWatcher of its own, also for what was asked for before. Nothing is
// requested until it is used. Whether the server has the resource is not looked
// at; a resource without a name or a version is an error of each request, and of
// [informer.NewReflector].
type DynamicListerWatcherFactory interface {
	// ForResource is for the objects of a resource in a namespace. Leave the
	// namespace empty for those of all namespaces, and for resources that are in
	// none.
	ForResource(namespace string, gvr schema.GroupVersionResource) cache.ListerWatcher

	// ForResourceWithOptions is the same for the objects that optionsFunc
	// selects; nil selects all.
	ForResourceWithOptions(namespace string, gvr schema.GroupVersionResource, optionsFunc TweakListOptionsFunc) cache.ListerWatcher
}

// TweakListOptionsFunc sets selectors in the options of a request. It is called for
// each page of a list and for each watch, possibly by several goroutines at once,
// and should set the same each time: what one request selects and the next does not
// is taken for deleted.
//
// What the caller of the ListerWatcher has set is for the function to see, not to
// change: limit, continue, resource version and its match, bookmarks, initial
// events, watch and, if there is one, the timeout are as they were once it
// returned. So every list keeps its limit.
type TweakListOptionsFunc func(*metav1.ListOptions)

// NewDynamicListerWatcherFactory returns a factory for the API server of config,
// which is copied. Everything that it makes shares one client: its connections, and
// its rate limit (QPS and Burst of config, five requests a second by default), which
// client-go applies to lists and not to watches. A List or a Watch that the server
// answers with 429 and a Retry-After is made again by client-go itself. Redirects and
// answers that are no success are as for [NewStreamFunc].
//
// It fails if config is nil, or if no client can be made of it.
func NewDynamicListerWatcherFactory(config *rest.Config) (DynamicListerWatcherFactory, error) {
	if config == nil {
		return nil, errors.New("the rest.Config is nil: give that of an API server, for example from rest.InClusterConfig or clientcmd.BuildConfigFromFlags")
	}
	config = rest.CopyConfig(config)
	config.UserAgent = cmp.Or(config.UserAgent, rest.DefaultKubernetesUserAgent())
	if qps := cmp.Or(config.QPS, rest.DefaultQPS); config.RateLimiter == nil && qps > 0 {
		config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(qps, cmp.Or(config.Burst, rest.DefaultBurst))
	}
	var client dynamic.Interface
	config, httpClient, err := httpclient.New(config)
	if err == nil {
		client, err = dynamic.NewForConfigAndClient(config, httpClient)
	}
	if err != nil {
		return nil, fmt.Errorf("making a dynamic client: %w: check the address and the credentials in the rest.Config", err)
	}
	stream, err := NewStreamFunc(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &dynamicFactory{client: client, stream: stream}, nil
}

type dynamicFactory struct {
	client dynamic.Interface
	stream StreamFunc
}

// ForResource implements [DynamicListerWatcherFactory].
func (f *dynamicFactory) ForResource(namespace string, gvr schema.GroupVersionResource) cache.ListerWatcher {
	return f.ForResourceWithOptions(namespace, gvr, nil)
}

// ForResourceWithOptions implements [DynamicListerWatcherFactory].
func (f *dynamicFactory) ForResourceWithOptions(namespace string, gvr schema.GroupVersionResource, optionsFunc TweakListOptionsFunc) cache.ListerWatcher {
	return &dynamicListerWatcher{
		gvr: gvr, namespace: namespace, client: f.client.Resource(gvr).Namespace(namespace), stream: f.stream, tweak: optionsFunc,
	}
}

// dynamicListerWatcher lists and watches a resource.
type dynamicListerWatcher struct {
	gvr       schema.GroupVersionResource
	namespace string
	client    dynamic.ResourceInterface
	stream    StreamFunc
	tweak     TweakListOptionsFunc
}

var (
	_ cache.ListerWatcherWithContext = (*dynamicListerWatcher)(nil)
	_ MetadataStreamer               = (*dynamicListerWatcher)(nil)
)

// Validate reports how d was made wrongly. [informer.NewReflector] calls it, and so does each
// request.
func (d *dynamicListerWatcher) Validate() error {
	if d.gvr.Resource == "" || d.gvr.Version == "" {
		return fmt.Errorf("a resource without a name or a version (%q): give both, for example apps, v1, deployments", d.gvr)
	}
	return nil
}

// ListWithContext implements cache.ListerWithContext.
func (d *dynamicListerWatcher) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	list, err := d.client.List(ctx, tweaked(opts, d.tweak))
	if err != nil {
		return nil, err
	}
	return list, nil
}

// WatchWithContext implements cache.WatcherWithContext.
func (d *dynamicListerWatcher) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d.client.Watch(ctx, tweaked(opts, d.tweak))
}

// Stream implements [Streamer].
func (d *dynamicListerWatcher) Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d.stream(ctx, d.gvr, d.namespace, false, tweaked(opts, d.tweak))
}

// StreamMetadata implements [MetadataStreamer].
func (d *dynamicListerWatcher) StreamMetadata(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d.stream(ctx, d.gvr, d.namespace, true, tweaked(opts, d.tweak))
}

// ObjectType implements [Streamer].
func (d *dynamicListerWatcher) ObjectType() runtime.Object { return &unstructured.Unstructured{} }

// List implements cache.Lister.
func (d *dynamicListerWatcher) List(opts metav1.ListOptions) (runtime.Object, error) {
	return d.ListWithContext(context.Background(), opts)
}

// Watch implements cache.Watcher.
func (d *dynamicListerWatcher) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return d.WatchWithContext(context.Background(), opts)
}

// tweaked returns opts with what tweak, which may be nil, adds, and without what it
// must not change. It gets a copy, pointers included.
func tweaked(opts metav1.ListOptions, tweak func(*metav1.ListOptions)) metav1.ListOptions {
	if tweak == nil {
		return opts
	}
	t := opts.DeepCopy()
	tweak(t)
	t.Limit, t.Continue = opts.Limit, opts.Continue
	t.ResourceVersion, t.ResourceVersionMatch = opts.ResourceVersion, opts.ResourceVersionMatch
	t.Watch, t.AllowWatchBookmarks, t.SendInitialEvents = opts.Watch, opts.AllowWatchBookmarks, opts.SendInitialEvents
	if opts.TimeoutSeconds != nil {
		t.TimeoutSeconds = opts.TimeoutSeconds
	}
	return *t
}
