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

// DynamicListerWatcherFactory makes ListerWatchers for any resource of an API server, custom
// resources included. They are read as streams, see [Streamer]. Objects are
// *unstructured.Unstructured:
//
//	factory, err := source.NewDynamicListerWatcherFactory(config)
//	…
//	src := source.FromListerWatcher[*unstructured.Unstructured](factory.ForResource("", gvr), nil)
//
// The factory and its ListerWatchers can be used from any goroutine. A request of
// ListWithContext or WatchWithContext ends with its context. Each call returns a new
// ListerWatcher and sends no request. It does not check whether the server has the resource.
// A resource without a name or a version is an error of each request, and of
// [informer.NewReflector].
type DynamicListerWatcherFactory interface {
	// ForResource selects the objects of a resource in a namespace. An empty namespace
	// selects all namespaces; resources without namespaces need it.
	ForResource(namespace string, gvr schema.GroupVersionResource) cache.ListerWatcher

	// ForResourceWithOptions selects the objects that match the selectors of optionsFunc.
	// A nil function selects all.
	ForResourceWithOptions(namespace string, gvr schema.GroupVersionResource, optionsFunc TweakListOptionsFunc) cache.ListerWatcher
}

// TweakListOptionsFunc sets selectors in the options of a request. It is called for each
// page of a list and for each watch, possibly by several goroutines at once. It must set the
// same selectors each time: an object that a later request does not select counts as deleted.
//
// The function can read the other options. Changes of the limit, continue token, resource
// version and its match, bookmarks, initial events and watch have no effect, nor of a timeout
// that the caller has set. So every list keeps its limit.
type TweakListOptionsFunc func(*metav1.ListOptions)

// NewDynamicListerWatcherFactory returns a factory for the API server of config. It copies
// config. All ListerWatchers share one client, with its connections and its rate limit: QPS
// and Burst of config, by default five requests a second. client-go applies that limit to
// lists and not to watches. client-go itself repeats a List or a Watch that the server
// answers with 429 and a Retry-After. Redirects and failures are as for [NewStreamFunc].
//
// It returns an error if config is nil or no client can be made from it.
func NewDynamicListerWatcherFactory(config *rest.Config) (DynamicListerWatcherFactory, error) {
	if config == nil {
		return nil, errors.New("the rest.Config is nil: give the one of an API server, for example from rest.InClusterConfig or clientcmd.BuildConfigFromFlags")
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

// Validate returns an error for a resource without a name or a version.
// [informer.NewReflector] calls it, and so does each request.
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

// tweaked returns opts with the selectors of tweak, which can be nil. tweak gets a deep copy.
// Options that it must not change are restored.
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
