// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// resource is shared by all views of a Resource. It has the informer, its store, and the
// hub that passes changes to the subscribers.
type resource[T runtime.Object] struct {
	name      string
	metrics   workqueue.MetricsProvider
	log       *slog.Logger
	hub       *hub[T]
	store     *store.Store[T]
	indexers  store.Indexers[T]
	reflector reflector
	err       error // of construction

	mu       sync.Mutex
	started  bool
	wanted   bool
	stopped  bool
	cancel   context.CancelFunc // not nil once the informer runs
	launched time.Time
	syncTook time.Duration

	synced chan struct{} // closed after the first commit
	ended  chan struct{} // closed when the informer has ended
	before func()        // waits for an earlier run, if not nil
}

// reflector fills the store: an informer.Reflector, or one of package namespaces.
type reflector interface {
	Run(ctx context.Context) error
	Resync(cause error)
	Info() informer.ReflectorInfo
	Report(informer.ReflectorEvent)
}

// hook is the lifecycle hook of a resource.
type hook[T runtime.Object] struct{ resource *resource[T] }

var _ cell.HookDescriptiveInterface = hook[runtime.Object]{}

// HookInfo implements cell.HookDescriptiveInterface.
func (h hook[T]) HookInfo() string { return "informer of resource " + h.resource.name }

// Start implements cell.HookInterface. It does not block.
func (h hook[T]) Start(cell.HookContext) error {
	r := h.resource
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return r.err
	case r.stopped:
		return fmt.Errorf("resource %s: it was stopped and cannot be started again; make a new one", r.name)
	}
	r.started = true
	r.hub.start()
	if r.wanted {
		r.launch()
	}
	return nil
}

// stopGrace is how long Stop waits for a function of a subscriber, such as a filter or a
// callback of Observe.
const stopGrace = 500 * time.Millisecond

// Stop implements cell.HookInterface. It returns nil when no goroutine of the resource is
// left. It returns an error when ctx ends, or when a function of a subscriber has not
// returned within stopGrace.
func (h hook[T]) Stop(ctx cell.HookContext) error {
	r := h.resource
	r.mu.Lock()
	r.stopped = true
	informing := r.cancel != nil
	if informing {
		r.cancel()
	}
	r.mu.Unlock()
	r.hub.stop()
	if informing {
		select {
		case <-r.ended:
		case <-ctx.Done():
			return fmt.Errorf("resource %s: the informer has not ended: a request ignores its context, or a transform, an index function or an observer does not return: %w",
				r.name, context.Cause(ctx))
		}
	}
	return r.waitSubscribers(ctx)
}

// waitSubscribers waits for the goroutines of subscribers.
func (r *resource[T]) waitSubscribers(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		r.hub.wg.Wait()
		close(idle)
	}()
	for {
		grace, end := context.WithTimeout(ctx, stopGrace)
		select {
		case <-idle:
		case <-grace.Done():
		}
		end()
		select {
		case <-idle:
			return nil
		default:
		}
		if busy := r.hub.busy(); len(busy) > 0 {
			return fmt.Errorf("resource %s: a function of a subscriber does not return: %s", r.name, strings.Join(busy, "; "))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("resource %s: the subscribers have not ended: %w", r.name, context.Cause(ctx))
		}
	}
}

// want runs the informer: now, or at the start of the lifecycle.
func (r *resource[T]) want() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = true
	if r.started && !r.stopped && r.cancel == nil {
		r.launch()
	}
}

// launch runs the informer. It is called with the mutex held.
func (r *resource[T]) launch() {
	// The context of the start hook ends with the hook, so the informer has its own.
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.launched = time.Now()
	go func() {
		defer close(r.ended)
		if r.before != nil {
			r.before()
		}
		r.reflector.Run(ctx)
	}()
}

// sink is the sink of the informer: the store, with a Commit that marks the resource as
// synced.
type sink[T runtime.Object] struct {
	*store.Store[T]
	resource *resource[T]
}

// Commit implements store.Sink.
func (s sink[T]) Commit(ctx context.Context, version string) error {
	if err := s.Store.Commit(ctx, version); err != nil {
		return err
	}
	s.resource.markSynced()
	return nil
}

// markSynced marks the resource as synced. Further calls do nothing. It is called by one
// goroutine at a time.
func (r *resource[T]) markSynced() {
	select {
	case <-r.synced:
	default:
		r.mu.Lock()
		r.syncTook = time.Since(r.launched)
		r.mu.Unlock()
		close(r.synced)
		r.hub.committed()
	}
}

// waitSynced blocks until the store has a complete state.
func (r *resource[T]) waitSynced(ctx context.Context) error {
	if r.err != nil {
		return r.err
	}
	r.want()
	select {
	case <-r.synced:
		return nil
	default:
	}
	waited := earlyWait
	timer := time.NewTimer(waited)
	defer timer.Stop()
	for {
		select {
		case <-r.synced:
			return nil
		case <-r.hub.over.Done():
			return &NotSyncedError{Resource: r.name, Cause: informer.CauseCanceled, Err: ErrStopped}
		case <-ctx.Done():
			return r.notSynced(ctx.Err())
		case <-timer.C:
			r.logWait(waited)
			next := max(longWait, 2*waited)
			timer.Reset(next - waited)
			waited = next
		}
	}
}

// A wait is logged after longWait, and each time that it has lasted twice as long. Before
// the start it is logged after earlyWait too: a constructor that waits prevents the start.
const (
	earlyWait = time.Second
	longWait  = 10 * time.Second
)

// logWait logs that a call of Store has waited for so long.
func (r *resource[T]) logWait(waited time.Duration) {
	why := r.notSynced(nil)
	if waited < longWait && !errors.Is(why, ErrNotStarted) {
		return
	}
	advice := "the context of the call bounds the wait"
	if errors.Is(why, ErrNotStarted) {
		advice = "a constructor or Invoke function must not wait: call Store in a start hook or a job"
	}
	_ = r.hub.panics.Call("logger", "", store.Key{}, func() {
		r.log.Warn("A call of Store waits", "resource", r.name, "waited", waited, "error", why, "advice", advice)
	})
}

// notSynced returns the reason why the resource is not synced.
func (r *resource[T]) notSynced(ended error) error {
	e := &NotSyncedError{Resource: r.name, Ended: ended}
	r.mu.Lock()
	started := r.started
	r.mu.Unlock()
	if !started {
		e.Err = ErrNotStarted
		return e
	}
	info := r.reflector.Info()
	e.Cause, e.Err = info.Cause, info.Err
	return e
}
