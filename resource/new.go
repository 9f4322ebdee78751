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

// New makes a resource of the objects that lw lists and watches, and appends its hook
// to lc. It does not block, and sends no request.
//
// If an argument is invalid (lw is nil, a transform returns another type, an index has
// no function), the start hook and Store return an error with the reason, and the
// channels of Events are closed.
//
// The stop hook stops the informer and ends all subscriptions. If a callback of Observe
// or a filter does not return, the hook fails after half a second. Its error names the
// function and the place of the subscription. Cells that depend on the resource start
// after it and stop before it. A resource cannot be started again after its stop.
//
// New must not be called from a start hook of lc, since this would block forever. For a
// resource that is made at run time, use a cell.DefaultLifecycle of its own.
func New[T runtime.Object](lc cell.Lifecycle, lw cache.ListerWatcher, opts ...Option) Resource[T] {
	o := gather[T](opts)
	if lw == nil {
		o.err = errors.Join(o.err, errors.New("no ListerWatcher was given: lw is nil"))
		return build[T](lc, nil, o)
	}
	convert, err := converter[T](o.convert)
	o.err = errors.Join(o.err, err)
	return build(lc, connectTo(source.FromListerWatcher(lw, convert, o.source...)), o)
}

// NewFromSource is like [New], for any [informer.Source]. The source returns the objects
// to store, so [WithTransform] and [WithSourceOptions] are errors.
func NewFromSource[T runtime.Object](lc cell.Lifecycle, source informer.Source[T], opts ...Option) Resource[T] {
	o := gather[T](opts)
	if source == nil {
		o.err = errors.Join(o.err, errors.New("no Source was given: source is nil"))
	}
	if o.convert != nil {
		o.err = errors.Join(o.err, errors.New("WithTransform does not apply to NewFromSource: convert the objects in the source"))
	}
	if o.source != nil {
		o.err = errors.Join(o.err, errors.New("WithSourceOptions does not apply to NewFromSource: give the options to the source"))
	}
	return build(lc, connectTo(source), o)
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

// nameOf returns the default name of a resource.
func nameOf[T runtime.Object]() string {
	return strings.TrimPrefix(reflect.TypeFor[T]().String(), "*")
}

// connector makes what fills the store of a resource.
type connector[T runtime.Object] func(*resource[T], *options) (reflector, error)

func build[T runtime.Object](lc cell.Lifecycle, connect connector[T], o *options) Resource[T] {
	r := assemble(connect, o)
	if o.unused > 0 && r.err == nil {
		d := newDemand(r, o.unused, func() *resource[T] { return assemble(connect, o) })
		lc.Append(d)
		return view[T]{resource: r, demand: d}
	}
	lc.Append(hook[T]{r})
	return view[T]{resource: r}
}

func assemble[T runtime.Object](connect connector[T], o *options) *resource[T] {
	r := &resource[T]{
		name:    o.name,
		metrics: o.metrics,
		log:     o.log,
		hub:     newHub[T](o.name, o.forgotten, o.log),
		synced:  make(chan struct{}),
		ended:   make(chan struct{}),
	}
	r.err = o.err
	if r.err == nil {
		r.err = r.connect(connect, o)
	}
	if r.err != nil {
		r.err = fmt.Errorf("resource %s: %w", r.name, r.err)
	}
	return r
}

// connect makes the store and the reflector that fills it.
func (r *resource[T]) connect(connect connector[T], o *options) error {
	onChange, err := r.changes(o.onChange)
	if err != nil {
		return err
	}
	r.indexers = cacheview.TypedIndexers[T](o.indexers)
	r.store, err = store.New(store.Config[T]{
		Name:     o.name,
		Indexers: r.indexers,
		OnChange: onChange,
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
	r.reflector, err = connect(r, o)
	if err == nil {
		r.hub.observe = r.reflector.Report
	}
	r.hub.store = r.store
	return err
}

// connectTo connects the store to a source of all objects.
func connectTo[T runtime.Object](source informer.Source[T]) connector[T] {
	return func(r *resource[T], o *options) (reflector, error) {
		return informer.NewReflector(informer.Config[T]{
			Name:     o.name,
			Source:   source,
			Sink:     sink[T]{Store: r.store, resource: r},
			Settings: o.settings,
			Observer: o.observer,
			Log:      o.log,
		})
	}
}

// changes returns the function that gets the changes of the store: it calls the one of
// WithOnChange, and then the hub.
func (r *resource[T]) changes(given any) (func(store.Change[T]), error) {
	if given == nil {
		return r.hub.change, nil
	}
	f, ok := given.(func(store.Change[T]))
	if !ok {
		return nil, fmt.Errorf("WithOnChange was given a %T: give a function of a store.Change of %s", given, reflect.TypeFor[T]())
	}
	return func(c store.Change[T]) {
		theirs := c
		theirs.Record = nil // the hub owns its tag
		_ = r.hub.panics.Call("function of WithOnChange", "", c.Meta.Key, func() { f(theirs) })
		r.hub.change(c)
	}, nil
}

// converter returns the transform of an option as a function to T.
func converter[T runtime.Object](given any) (func(runtime.Object) (T, error), error) {
	if given == nil {
		return nil, nil
	}
	if convert, ok := given.(func(runtime.Object) (T, error)); ok {
		return convert, nil
	}
	return nil, fmt.Errorf("the transform is a %T, it must return %s", given, reflect.TypeFor[T]())
}
