// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	goruntime "runtime"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// view is the Resource of users: all of a resource, or the objects that a filter accepts.
type view[T runtime.Object] struct {
	*resource[T]
	keep func(T) bool // nil keeps all
}

// Filter returns a view of r with only the objects for which keep returns true, in its
// events and its store. The view shares the informer and the store of r, and costs only
// the calls of keep.
//
// If an object changes and keep is no longer true, the subscribers of the view get a
// Delete with the object that they last saw. If keep becomes true, they get an Upsert.
//
// keep must be pure. Several goroutines can call it at once: that of each subscriber,
// for each object of the replay and each key of the queue, and each reader of the store.
// A keep that is slow, hangs or panics affects only its own subscriber or reader.
//
// r must have been made by this package. If not, or if keep is nil, Store of the view
// returns an error with the reason, and the channels of Events are closed.
func Filter[T runtime.Object](r Resource[T], keep func(T) bool) Resource[T] {
	if keep == nil {
		return Disabled[T](fmt.Errorf("resource.Filter: no function was given"))
	}
	switch r := any(r).(type) {
	case view[T]:
		if inner := r.keep; inner != nil {
			outer := keep
			keep = func(obj T) bool { return inner(obj) && outer(obj) }
		}
		return view[T]{resource: r.resource, keep: keep}
	case disabled[T]:
		return r
	}
	return Disabled[T](fmt.Errorf("resource.Filter: a %T was not made by package resource", r))
}

// Events implements Resource.
func (v view[T]) Events(ctx context.Context, opts ...EventsOpt) <-chan Event[T] {
	s := v.subscriber(ctx, opts)
	s.out = make(chan Event[T])
	v.subscribe(s)
	return s.out
}

// Observe implements Resource.
func (v view[T]) Observe(ctx context.Context, next func(Event[T]), complete func(error)) {
	s := v.subscriber(ctx, nil)
	s.next, s.complete = orIgnore(next, complete)
	v.subscribe(s)
}

// Store implements Resource.
func (v view[T]) Store(ctx context.Context) (Store[T], error) {
	if err := v.waitSynced(ctx); err != nil {
		return nil, err
	}
	return storeView[T]{store: v.store, keep: v.keep, over: v.hub.over}, nil
}

// Resync implements Resource.
func (v view[T]) Resync(reason error) {
	if v.err == nil {
		v.reflector.Resync(reason)
	}
}

func (v view[T]) subscriber(ctx context.Context, opts []EventsOpt) *subscriber[T] {
	o := eventsOpts{errorHandler: AlwaysRetry}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.rateLimiter == nil {
		o.rateLimiter = workqueue.DefaultTypedControllerRateLimiter[store.Key]()
	}
	return &subscriber[T]{
		hub:     v.hub,
		ctx:     ctx,
		site:    callSite(3),
		name:    o.name,
		keep:    v.keep,
		onError: o.errorHandler,
		limiter: o.rateLimiter,
		metrics: newQueueMetrics(v.metrics, v.name),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
}

func (v view[T]) subscribe(s *subscriber[T]) {
	if v.err == nil {
		// The context may be of a type of the user's, so no lock is held.
		s.unwatch = context.AfterFunc(s.ctx, s.cancel)
		if v.hub.enter(s, v.store.Generation()) {
			v.want()
			return
		}
	}
	if s.next != nil {
		go s.finish() // Observe does not wait for complete
		return
	}
	s.finish()
}

// orIgnore replaces nil functions of Observe.
func orIgnore[T runtime.Object](next func(Event[T]), complete func(error)) (func(Event[T]), func(error)) {
	if next == nil {
		next = func(e Event[T]) { e.Done(nil) }
	}
	if complete == nil {
		complete = func(error) {}
	}
	return next, complete
}

// callSite returns the file and line of the call of Events or Observe, this many calls
// above.
func callSite(above int) string {
	_, file, line, ok := goruntime.Caller(above)
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// disabled is a Resource without objects and events.
type disabled[T runtime.Object] struct {
	name   string
	reason error
	panics *usercode.Panics
}

// Disabled returns a resource without a cluster. Its channels are closed from the
// beginning, and Store fails at once with an error that wraps reason. Of the options,
// [WithName] and [WithLogger] apply.
func Disabled[T runtime.Object](reason error, opts ...Option) Resource[T] {
	o := gather[T](opts)
	return disabled[T]{name: o.name, reason: reason, panics: usercode.New(o.name, o.log)}
}

// Events implements Resource.
func (d disabled[T]) Events(context.Context, ...EventsOpt) <-chan Event[T] {
	out := make(chan Event[T])
	close(out)
	return out
}

// Observe implements Resource. It calls complete with the reason.
func (d disabled[T]) Observe(_ context.Context, next func(Event[T]), complete func(error)) {
	_, complete = orIgnore(next, complete)
	site := callSite(2)
	go func() {
		_ = d.panics.Call("complete function", site, store.Key{}, func() { complete(d.reason) })
	}()
}

// Store implements Resource.
func (d disabled[T]) Store(context.Context) (Store[T], error) {
	return nil, fmt.Errorf("resource %s is disabled: %w", d.name, d.reason)
}

// Resync implements Resource. It does nothing.
func (d disabled[T]) Resync(error) {}

// Stats implements [Inspector].
func (d disabled[T]) Stats() Stats { return Stats{Name: d.name, Panics: d.panics.Count()} }
