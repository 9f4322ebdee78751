// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/cacheview"
)

// New makes a resource of what lw lists and watches, and appends its hook to lc.
// It does not block and requests nothing; see [Resource] for when that begins.
//
// If an argument makes no sense (lw is nil, a transform returns another type, an
// index has no function) the start hook and Store fail with an error that says so,
// and channels are closed from the beginning.
//
// The hook stops the informer and ends all subscriptions. If a callback of Observe
// or a filter does not return, it fails after half a second with an error that names
// the function and the place of its subscription. Hooks of cells that depend on the
// resource come after it at start and before it at stop.
//
// New must not be called from a start hook of lc, which would wait for itself; what
// comes to be at run time has a cell.DefaultLifecycle of its own. A resource starts
// once: it cannot be started again after its stop.
func New[T runtime.Object](lc cell.Lifecycle, lw cache.ListerWatcher, opts ...Option) Resource[T] {
	o := gather[T](opts)
	if lw == nil {
		o.err = errors.Join(o.err, errors.New("no ListerWatcher was given"))
		return build[T](lc, nil, o)
	}
	convert, err := converter[T](o.convert)
	o.err = errors.Join(o.err, err)
	return build(lc, source.FromListerWatcher(lw, convert, o.source...), o)
}

// NewFromSource is [New] for any [informer.Source]. Transforms do not apply: the
// source gives what is kept.
func NewFromSource[T runtime.Object](lc cell.Lifecycle, source informer.Source[T], opts ...Option) Resource[T] {
	o := gather[T](opts)
	if source == nil {
		o.err = errors.Join(o.err, errors.New("no Source was given"))
	}
	if o.convert != nil {
		o.err = errors.Join(o.err, errors.New("a transform was given, but the source gives what is kept"))
	}
	if o.source != nil {
		o.err = errors.Join(o.err, errors.New("WithSourceOptions was given, but the source is there already: give them to it"))
	}
	return build(lc, source, o)
}

func gather[T runtime.Object](opts []Option) *options {
	o := &options{}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	if o.name == "" {
		o.name = nameOf[T]()
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	return o
}

// nameOf is the name of a resource that was given none.
func nameOf[T runtime.Object]() string {
	return strings.TrimPrefix(reflect.TypeFor[T]().String(), "*")
}

func build[T runtime.Object](lc cell.Lifecycle, source informer.Source[T], o *options) Resource[T] {
	r := &resource[T]{
		name:    o.name,
		metrics: o.metrics,
		hub:     newHub[T](o.name, o.forgotten, o.log),
		synced:  make(chan struct{}),
		ended:   make(chan struct{}),
	}
	r.err = o.err
	if r.err == nil {
		r.err = r.connect(source, o)
	}
	if r.err != nil {
		r.err = fmt.Errorf("resource %s: %w", r.name, r.err)
	}
	lc.Append(hook[T]{r})
	return view[T]{resource: r}
}

// connect makes the store and the reflector that fills it.
func (r *resource[T]) connect(source informer.Source[T], o *options) error {
	var err error
	r.store, err = store.New(store.Config[T]{
		Name:     o.name,
		Indexers: cacheview.TypedIndexers[T](o.indexers),
		OnChange: r.hub.change,
		OnIndexError: func(err error) {
			if errors.As(err, new(*store.PanicError)) {
				r.hub.panics.Report(err)
				return
			}
			_ = r.hub.panics.Call("logger", "", store.Key{}, func() {
				o.log.Error("Index function failed, the object is missing from the index",
					"resource", o.name, "error", err)
			})
		},
	})
	if err != nil {
		return err
	}
	o.settings.ListBudget = cmp.Or(o.settings.ListBudget, informer.ProcessListBudget())
	r.reflector, err = informer.NewReflector(informer.Config[T]{
		Name:     o.name,
		Source:   source,
		Sink:     sink[T]{Store: r.store, resource: r},
		Settings: o.settings,
		Observer: o.observer,
		Log:      o.log,
	})
	return err
}

// converter is the transform that was given by an option as a function to T.
func converter[T runtime.Object](given any) (func(runtime.Object) (T, error), error) {
	if given == nil {
		return nil, nil
	}
	if convert, ok := given.(func(runtime.Object) (T, error)); ok {
		return convert, nil
	}
	return nil, fmt.Errorf("the transform is a %T, it must return %s", given, reflect.TypeFor[T]())
}
