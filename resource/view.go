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

// view is the Resource that users have: all of a resource, or what a filter keeps.
type view[T runtime.Object] struct {
	*resource[T]
	keep func(T) bool // nil keeps all
}

// Filter returns a view of r that has only the objects for which keep is true, in
// events and store alike. It shares the informer and the store of r, and costs
// nothing but the calls of keep.
//
// An object that changes such that keep is no longer true is a Delete for the
// subscribers of the view, with the object as they last saw it; one for which
// keep becomes true is an Upsert.
//
// keep must be pure. Each subscriber of the view calls it on a goroutine of its
// own, once for each object of the replay and each key of its queue; a reader of
// the store calls it itself. So several goroutines may call keep at once. A keep
// that is slow, hangs or panics harms its own subscriber alone.
//
// r must have been made by this package. If it was not, or keep is nil, Store of
// the result fails with an error that says so, and its channels are closed.
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

// orIgnore gives functions for those of Observe that are nil.
func orIgnore[T runtime.Object](next func(Event[T]), complete func(error)) (func(Event[T]), func(error)) {
	if next == nil {
		next = func(e Event[T]) { e.Done(nil) }
	}
	if complete == nil {
		complete = func(error) {}
	}
	return next, complete
}

// callSite is the file and line that called Events or Observe, so many calls above.
func callSite(above int) string {
	_, file, line, ok := goruntime.Caller(above)
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// disabled is a Resource that never has anything.
type disabled[T runtime.Object] struct {
	reason error
	panics *usercode.Panics
}

// Disabled returns a resource for where there is no cluster to ask: its channels
// are closed from the beginning, and Store fails at once with an error that wraps
// reason.
func Disabled[T runtime.Object](reason error) Resource[T] {
	return disabled[T]{reason: reason, panics: usercode.New(nameOf[T](), nil)}
}

// Events implements Resource.
func (d disabled[T]) Events(context.Context, ...EventsOpt) <-chan Event[T] {
	out := make(chan Event[T])
	close(out)
	return out
}

// Observe implements Resource. complete gets the reason.
func (d disabled[T]) Observe(_ context.Context, next func(Event[T]), complete func(error)) {
	_, complete = orIgnore(next, complete)
	site := callSite(2)
	go func() {
		_ = d.panics.Call("complete function", site, store.Key{}, func() { complete(d.reason) })
	}()
}

// Store implements Resource.
func (d disabled[T]) Store(context.Context) (Store[T], error) {
	return nil, fmt.Errorf("resource %s is disabled: %w", nameOf[T](), d.reason)
}

// Resync implements Resource. It does nothing.
func (d disabled[T]) Resync(error) {}

// Stats implements [Inspector].
func (d disabled[T]) Stats() Stats { return Stats{Name: nameOf[T](), Panics: d.panics.Count()} }
