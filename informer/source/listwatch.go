// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unsafe"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/redact"
)

// ListFunc requests a list, or a page of one. The request ends with ctx.
type ListFunc func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error)

// WatchFunc opens a watch. The request and the watch end with ctx.
type WatchFunc func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)

// ListWatch is a cache.ListerWatcher made of two functions. [informer.NewReflector] returns
// an error if one is nil.
type ListWatch struct {
	ListFunc  ListFunc
	WatchFunc WatchFunc

	// These are set by [NewListWatchFromClient]. Responses are read as streams while
	// ListFunc and WatchFunc are still list and watch.
	stream   func(context.Context, metav1.ListOptions) (io.ReadCloser, error)
	metadata func(context.Context, metav1.ListOptions) (io.ReadCloser, error)
	list     ListFunc
	watch    WatchFunc

	noWatchList bool // the client does not support streamed initial events
}

// asMade reports whether the functions are those of NewListWatchFromClient.
func (lw *ListWatch) asMade() bool {
	return lw.stream != nil && same(unsafe.Pointer(&lw.ListFunc), unsafe.Pointer(&lw.list)) && same(unsafe.Pointer(&lw.WatchFunc), unsafe.Pointer(&lw.watch))
}

// same reports whether two variables hold the same closure.
func same(a, b unsafe.Pointer) bool { return *(*unsafe.Pointer)(a) == *(*unsafe.Pointer)(b) }

var (
	_ cache.ListerWatcherWithContext = (*ListWatch)(nil)
	_ cache.ListerWatcher            = (*ListWatch)(nil)
)

// Validate reports how lw was made wrongly. [informer.NewReflector] calls it.
func (lw *ListWatch) Validate() error {
	if lw.ListFunc == nil || lw.WatchFunc == nil {
		return errors.New("ListWatch.ListFunc or WatchFunc is nil: give both, or use NewListWatchFromClient")
	}
	return nil
}

// IsWatchListSemanticsUnSupported reports whether the client of [NewListWatchFromClient] does
// not support streamed initial events, as the fakes of client-go.
func (lw *ListWatch) IsWatchListSemanticsUnSupported() bool { return lw.noWatchList }

// ListWithContext implements cache.ListerWithContext.
func (lw *ListWatch) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	return lw.ListFunc(ctx, opts)
}

// WatchWithContext implements cache.WatcherWithContext.
func (lw *ListWatch) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	return lw.WatchFunc(ctx, opts)
}

// List implements cache.Lister.
func (lw *ListWatch) List(opts metav1.ListOptions) (runtime.Object, error) {
	return lw.ListWithContext(context.Background(), opts)
}

// Watch implements cache.Watcher.
func (lw *ListWatch) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return lw.WatchWithContext(context.Background(), opts)
}

// ListWatchOption selects objects for [NewListWatchFromClient]. Nil options are ignored.
type ListWatchOption func(*metav1.ListOptions)

// WithFieldSelector selects objects by fields. The server supports only some fields of each
// kind.
func WithFieldSelector(selector fields.Selector) ListWatchOption {
	return func(opts *metav1.ListOptions) { opts.FieldSelector = selector.String() }
}

// WithLabelSelector selects objects by labels, such as "app=shop,tier in (web, api)". The
// server returns an error for an invalid selector.
func WithLabelSelector(selector string) ListWatchOption {
	return func(opts *metav1.ListOptions) { opts.LabelSelector = selector }
}

// NewListWatchFromClient returns a ListWatch for a resource, such as "pods". c is a REST
// client for the group and version. An empty namespace selects all namespaces; resources
// without namespaces need it. Requests end with their context. The client does not repeat
// them: the [informer.Reflector] repeats them, and reports them.
//
// As in client-go, the rate limit of the client applies to lists and not to watches. client-go
// also follows redirects, and reads the body of a failure whole. Set bounds for these in the
// transport of the client.
//
// A Source reads the responses as streams, in protobuf or JSON, as the client requests: see
// [FromListerWatcher]. It does not if ListFunc or WatchFunc is replaced, or if objects are
// converted without [WithObjectType].
func NewListWatchFromClient(c cache.Getter, resource, namespace string, opts ...ListWatchOption) *ListWatch {
	tweak := func(o *metav1.ListOptions) {
		for _, opt := range opts {
			if opt != nil {
				opt(o)
			}
		}
	}
	client := notingClient(c)
	request := func(options metav1.ListOptions) *rest.Request {
		options = tweaked(options, tweak)
		r := client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).
			VersionedParams(&options, metav1.ParameterCodec).Timeout(timeoutOf(options)).MaxRetries(0)
		if options.Watch {
			r.Throttle(nil)
		}
		return r
	}
	lw := &ListWatch{
		noWatchList: watchlist.DoesClientNotSupportWatchListSemantics(c),
		ListFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			result := request(options).Do(ctx)
			if err := result.Error(); err != nil {
				return nil, err
			}
			list, err := result.Get()
			if err != nil && strings.HasPrefix(err.Error(), "serializer for ") {
				return nil, err // it quotes only the content type
			}
			if status := apierrors.APIStatus(nil); err != nil && !errors.As(err, &status) {
				return nil, &informer.DecodingError{Err: redact.Decoding(err)}
			}
			return list, err
		},
		WatchFunc: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return request(options).Watch(ctx)
		},
		stream: delaying(func(ctx context.Context, options metav1.ListOptions) (io.ReadCloser, error) {
			return request(options).Stream(ctx)
		}),
		metadata: func(ctx context.Context, options metav1.ListOptions) (io.ReadCloser, error) {
			return request(options).SetHeader("Accept", acceptMetadata(options)).Stream(ctx)
		},
	}
	lw.list, lw.watch = lw.ListFunc, lw.WatchFunc
	return lw
}

func timeoutOf(opts metav1.ListOptions) time.Duration {
	if opts.TimeoutSeconds == nil {
		return 0
	}
	return time.Duration(*opts.TimeoutSeconds) * time.Second
}
