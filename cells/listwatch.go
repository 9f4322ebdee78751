// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/redact"
)

// listWatch is a cache.ListerWatcher that looks up its resource by discovery at its first
// use. If the server does not have the kind, meta.IsNoMatchError is true for the error, and
// the next request looks it up again.
type listWatch struct {
	scope
	client *ClientState

	mu    sync.Mutex
	found *reader
}

var (
	_ source.MetadataStreamer = (*listWatch)(nil)
	_ informer.AbsenceFinder  = (*listWatch)(nil)
)

// reader reads a resource that discovery has found.
type reader struct {
	found
	list   requestFunc[runtime.Object]
	watch  requestFunc[watch.Interface]
	stream requestFunc[io.ReadCloser]
}

type requestFunc[A any] = func(context.Context, metav1.ListOptions) (A, error)

// List implements cache.ListerWatcher.
func (l *listWatch) List(opts metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), opts)
}

// Watch implements cache.ListerWatcher.
func (l *listWatch) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), opts)
}

// ListWithContext implements cache.ListerWithContext.
func (l *listWatch) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	return ask(ctx, l, opts, func(r *reader) requestFunc[runtime.Object] { return r.list })
}

// WatchWithContext implements cache.WatcherWithContext.
func (l *listWatch) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	return ask(ctx, l, opts, func(r *reader) requestFunc[watch.Interface] { return r.watch })
}

// Stream implements source.Streamer.
func (l *listWatch) Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	return ask(ctx, l, opts, func(r *reader) requestFunc[io.ReadCloser] { return r.stream })
}

// StreamMetadata implements source.MetadataStreamer.
func (l *listWatch) StreamMetadata(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	return ask(ctx, l, opts, func(r *reader) requestFunc[io.ReadCloser] {
		return func(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
			return l.client.stream(ctx, r.resource, l.namespace, true, opts)
		}
	})
}

// ask makes one kind of request for what l reads.
func ask[A any](ctx context.Context, l *listWatch, opts metav1.ListOptions, kind func(*reader) requestFunc[A]) (A, error) {
	var none A
	r, err := l.reader(ctx)
	if err != nil {
		return none, err
	}
	opts.LabelSelector, opts.FieldSelector = l.labels, l.fields
	answer, err := kind(r)(ctx, opts)
	if err != nil {
		l.failed(ctx, r, err)
		return none, err
	}
	return answer, nil
}

// ObjectType implements source.Streamer.
func (l *listWatch) ObjectType() runtime.Object {
	switch l.mode {
	case byDynamic:
		u := &unstructured.Unstructured{}
		u.SetKind(l.target.Kind)
		if l.target.Kind != "" && l.target.Version != "" {
			u.SetAPIVersion(schema.GroupVersion{Group: l.target.Group, Version: l.target.Version}.String())
		}
		return u
	case byMetadata:
		return &metav1.PartialObjectMetadata{}
	}
	obj, err := l.scheme.New(l.gvk)
	if err != nil {
		return nil // List says so
	}
	obj.GetObjectKind().SetGroupVersionKind(l.gvk)
	return obj
}

// Absent implements informer.AbsenceFinder.
func (l *listWatch) Absent(ctx context.Context) (bool, error) {
	client, err := l.client.apart()
	if err != nil {
		return false, err
	}
	defer client.Client.CloseIdleConnections()
	return l.target.absent(ctx, client)
}

// failed forgets the resource if the server no longer has it: it can come back under
// another name.
func (l *listWatch) failed(ctx context.Context, r *reader, err error) {
	if !apierrors.IsNotFound(err) {
		return
	}
	l.mu.Lock()
	if l.found == r {
		l.found = nil
	}
	l.mu.Unlock()
	l.client.kinds.forget(ctx, r.resource.GroupVersion())
}

func (l *listWatch) reader(ctx context.Context) (*reader, error) {
	l.mu.Lock()
	r := l.found
	l.mu.Unlock()
	if r != nil {
		return r, nil
	}
	f, err := l.client.kinds.find(ctx, l.target)
	if err != nil {
		return nil, err
	}
	if l.namespace != "" && !f.namespaced {
		option := fmt.Sprintf("cells.InNamespace(%q)", l.namespace)
		if l.set != nil {
			option = "cells.InNamespaces and cells.InNamespaceSet"
		}
		return nil, fmt.Errorf("%s has no namespaces: leave out %s", l.target, option)
	}
	if r, err = l.read(f); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.found = r
	l.mu.Unlock()
	return r, nil
}

// read makes the reader for what was found.
func (l *listWatch) read(f found) (*reader, error) {
	r := &reader{found: f, stream: func(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
		return l.client.stream(ctx, f.resource, l.namespace, l.mode == byMetadata, opts)
	}}
	switch l.mode {
	case byDynamic:
		client := l.client.dynamic.Resource(f.resource).Namespace(l.namespace)
		r.watch, r.list = client.Watch, func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, opts)
		}
	case byMetadata:
		client := l.client.metadata.Resource(f.resource).Namespace(l.namespace)
		r.watch, r.list = client.Watch, func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, opts)
		}
	default:
		client, err := l.restClient(f)
		if err != nil {
			return nil, fmt.Errorf("client for %s: %w", l.target, err)
		}
		l.readByType(r, client)
	}
	return r, nil
}

// readByType sets the functions of r for a client of the type.
func (l *listWatch) readByType(r *reader, client rest.Interface) {
	request := func(opts metav1.ListOptions) *rest.Request {
		var timeout time.Duration
		if opts.TimeoutSeconds != nil {
			timeout = time.Duration(*opts.TimeoutSeconds) * time.Second
		}
		request := client.Get().
			NamespaceIfScoped(l.namespace, l.namespace != "").
			Resource(r.resource.Resource).
			VersionedParams(&opts, metav1.ParameterCodec). // schemes of custom resources may have none
			Timeout(timeout).
			MaxRetries(0) // the reflector tries again, and says so
		if opts.Watch {
			request.Throttle(nil)
		}
		return request
	}
	r.stream = func(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
		return request(opts).Stream(ctx)
	}
	r.list = func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		list, err := l.scheme.New(listOf(l.gvk))
		if err != nil {
			return nil, err
		}
		result := request(opts).Do(ctx)
		if err := result.Error(); err != nil {
			return nil, err
		}
		err = result.Into(list)
		if status := apierrors.APIStatus(nil); err != nil && !errors.As(err, &status) {
			return nil, &informer.DecodingError{Err: redact.Decoding(err)}
		}
		return list, err
	}
	r.watch = func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
		return request(opts).Watch(ctx)
	}
}

// restClient makes a client for f on the shared transport. It uses protobuf for a built-in
// kind in its built-in type.
func (l *listWatch) restClient(f found) (rest.Interface, error) {
	config := rest.CopyConfig(l.client.config)
	if reflect.DeepEqual(goType(l.scheme, l.gvk), goType(scheme.Scheme, l.gvk)) {
		config = withProtobuf(config)
	}
	gv := f.resource.GroupVersion()
	config.GroupVersion = &gv
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(l.scheme).WithoutConversion()
	return rest.RESTClientForConfigAndClient(config, l.client.http)
}

func goType(s *runtime.Scheme, gvk schema.GroupVersionKind) reflect.Type {
	return s.AllKnownTypes()[gvk]
}
