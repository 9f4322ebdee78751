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

// ListFunc requests a list, or a page of one. It ends with ctx.
type ListFunc func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error)

// WatchFunc opens a watch. It, and the watch, end with ctx.
type WatchFunc func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)

// ListWatch is a cache.ListerWatcher of two functions, both of which are required.
// [informer.NewReflector] fails if one is missing.
type ListWatch struct {
	ListFunc  ListFunc
	WatchFunc WatchFunc

	// What [NewListWatchFromClient] made: responses are read as streams as long as
	// the functions are these.
	stream   func(context.Context, metav1.ListOptions) (io.ReadCloser, error)
	metadata func(context.Context, metav1.ListOptions) (io.ReadCloser, error)
	list     ListFunc
	watch    WatchFunc

	noWatchList bool // the client says so
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

// IsWatchListSemanticsUnSupported reports whether the client of [NewListWatchFromClient]
// says, as client-go's fakes do, that it does not stream initial events.
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

// ListWatchOption selects objects of a [NewListWatchFromClient]. Nil ones are skipped.
type ListWatchOption func(*metav1.ListOptions)

// WithFieldSelector selects by fields; the server knows only some of each kind.
func WithFieldSelector(selector fields.Selector) ListWatchOption {
	return func(opts *metav1.ListOptions) { opts.FieldSelector = selector.String() }
}

// WithLabelSelector selects by labels, such as "app=shop,tier in (web, api)". What
// cannot be parsed is an error of the server.
func WithLabelSelector(selector string) ListWatchOption {
	return func(opts *metav1.ListOptions) { opts.LabelSelector = selector }
}

// NewListWatchFromClient returns a ListWatch of the objects of a resource, such as
// "pods", by a REST client for its group and version. Leave the namespace empty for
// those of all namespaces, and for resources that are in none. Requests end with
// their context, and are not repeated by the client: the [informer.Reflector] does that, and
// says so. The rate limit of the client applies to lists and not to watches, as in
// client-go, which also follows redirects and reads the body of a failure whole: bounds for
// these belong to the transport of the client.
//
// A Source of it reads the responses as streams, in protobuf and in JSON, whichever the
// client asks for: see [FromListerWatcher]. Replacing ListFunc or WatchFunc turns that
// off, and so does a conversion without [WithObjectType].
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
				return nil, err // which quotes the content type alone
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
