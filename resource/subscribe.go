// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	goruntime "runtime"

	"k8s.io/apimachinery/pkg/runtime"
)

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
	if v.demand != nil {
		return v.demand.read(ctx, v)
	}
	if err := v.waitSynced(ctx); err != nil {
		return nil, err
	}
	return storeView[T]{view: v}, nil
}

// Resync implements Resource.
func (v view[T]) Resync(reason error) {
	if v.demand != nil {
		v.resource = v.demand.run()
	}
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
	return &subscriber[T]{
		hub:     v.hub,
		ctx:     ctx,
		site:    callSite(3),
		name:    o.name,
		view:    &v,
		order:   o.order,
		withOld: o.old,
		onError: o.errorHandler,
		limiter: o.rateLimiter,
		metrics: newQueueMetrics(v.metrics, v.name),
		done:    make(chan struct{}),
	}
}

func (v view[T]) subscribe(s *subscriber[T]) {
	if v.demand != nil {
		v.demand.subscribe(v, s)
		return
	}
	v.enter(s)
}

// enter adds s to the hub, or ends it.
func (v view[T]) enter(s *subscriber[T]) {
	if v.err == nil {
		// The context may be of a type of the user's, so no lock is held.
		s.unwatch = context.AfterFunc(s.ctx, s.cancel)
		if v.hub.enter(s) {
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

// site is the program counter after a call of Events or Observe, 0 if it is unknown.
type site uintptr

// callSite returns the site of the call this many calls above.
func callSite(above int) site {
	var pcs [1]uintptr
	goruntime.Callers(above+1, pcs[:])
	return site(pcs[0])
}

// String returns the file and line.
func (s site) String() string {
	if s == 0 {
		return "unknown"
	}
	frame, _ := goruntime.CallersFrames([]uintptr{uintptr(s)}).Next()
	return fmt.Sprintf("%s:%d", frame.File, frame.Line)
}
