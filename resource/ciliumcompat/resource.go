// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package ciliumcompat

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/cilium/hive/cell"
	"github.com/cilium/stream"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/resource"
)

// Resource is a collection of objects, as events and as a store. The contract is that of
// [resource.Resource].
type Resource[T runtime.Object] interface {
	FilteredResource[T]

	// Store returns the store once the first complete state is in it.
	Store(context.Context) (Store[T], error)
}

// FilteredResource is a [Resource] without a store.
type FilteredResource[T runtime.Object] interface {
	stream.Observable[Event[T]]

	// Events subscribes. It never blocks.
	Events(ctx context.Context, opts ...EventsOpt) <-chan Event[T]
}

// New makes a resource of what lw lists and watches, as [resource.New] does. A provider that
// is not nil gets the workqueue metrics of each subscriber.
//
// The name is that of the type of T in lower case, such as "pod". [WithName] sets another one.
func New[T runtime.Object](lc cell.Lifecycle, lw cache.ListerWatcher, mp workqueue.MetricsProvider, opts ...ResourceOption) Resource[T] {
	typeName := reflect.TypeFor[T]().String()
	o := options{resource: []resource.Option{
		resource.WithName(strings.ToLower(typeName[strings.LastIndex(typeName, ".")+1:])),
		resource.WithMetricsProvider(mp),
	}}
	for _, opt := range opts {
		opt(&o)
	}
	if o.transform != nil {
		o.resource = append(o.resource, resource.WithTransform(func(from runtime.Object) (T, error) {
			var none T
			obj, err := o.transform(from)
			if err != nil {
				return none, err
			}
			to, ok := obj.(T)
			if !ok {
				return none, fmt.Errorf("the transform returned %T, it must return %T", obj, none)
			}
			return to, nil
		}))
	}
	return From(resource.New[T](lc, lw, o.resource...))
}

// From returns r with the API of Cilium. It shares the informer and the store of r. Use it
// for resources of package cells and of package resourcetest, and for options that New lacks.
func From[T runtime.Object](r resource.Resource[T]) Resource[T] { return wrapped[T]{r} }

// NewFilteringResource returns a view of parent that has only the objects that filter keeps.
// An object that filter no longer keeps is a Delete, as in [resource.Filter].
//
// This package must have made the parent. If it has not, the channels of the result are
// closed, and complete of Observe gets an error.
func NewFilteringResource[T runtime.Object](parent Resource[T], filter func(T) bool) FilteredResource[T] {
	w, ok := parent.(wrapped[T])
	if !ok {
		return resource.Disabled[T](fmt.Errorf("ciliumcompat.NewFilteringResource: package ciliumcompat has not made the parent, a %T", parent))
	}
	return resource.Filter(w.Resource, filter)
}

// wrapped is a resource whose store has the API of Cilium.
type wrapped[T runtime.Object] struct{ resource.Resource[T] }

// Store implements Resource.
func (w wrapped[T]) Store(ctx context.Context) (Store[T], error) {
	s, err := w.Resource.Store(ctx)
	if err != nil {
		return nil, err
	}
	return wrappedStore[T]{s}, nil
}

// ResourceOption configures [New].
type ResourceOption func(*options)

type options struct {
	resource  []resource.Option
	transform cache.TransformFunc
}

func with(opt resource.Option) ResourceOption {
	return func(o *options) { o.resource = append(o.resource, opt) }
}

// WithName sets the name of the resource in logs, errors and workqueue metrics.
func WithName(name string) ResourceOption { return with(resource.WithName(name)) }

// WithIndexers adds indexes to the store.
func WithIndexers(indexers cache.Indexers) ResourceOption {
	return with(resource.WithIndexers(indexers))
}

// WithTransform makes objects of another type of those that are listed and watched, before
// they are stored.
func WithTransform[From, To runtime.Object](transform func(From) (To, error)) ResourceOption {
	return with(resource.WithTransform(transform))
}

// WithLazyTransform is WithTransform for types that are not known at compile time. The
// transform must return a T. An object for which it returns another type is left out. The
// first argument is not called.
func WithLazyTransform(_ func() runtime.Object, transform cache.TransformFunc) ResourceOption {
	return func(o *options) { o.transform = transform }
}

// WithMetric has no effect.
func WithMetric(string) ResourceOption { return func(*options) {} }

// WithCRDSync has no effect, and takes the promise of any type. A kind that is not installed
// is asked for again, until it is.
func WithCRDSync(any) ResourceOption { return func(*options) {} }
