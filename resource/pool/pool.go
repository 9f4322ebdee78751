// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package pool starts resources on demand, one for each key, and stops each some time
// after its last user has released it. Use it for collections that are chosen at run
// time, such as the namespaces or kinds that users ask for. For a single collection, and
// users that do not release it, see [resource.WithStopUnused].
//
//	pods, err := pool.New(pool.Config[string, *corev1.Pod]{
//		New: func(lc cell.Lifecycle, namespace string) resource.Resource[*corev1.Pod] {
//			return resource.New[*corev1.Pod](lc, podsIn(namespace))
//		},
//	})
//	...
//	lc.Append(cell.Hook{OnStop: pods.Stop})
//	...
//	res, release, err := pods.Get("default")
//	...
//	defer release()
package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// DefaultLinger is the default of Config.Linger.
const DefaultLinger = 30 * time.Second

// Config configures a [Pool].
type Config[K comparable, T runtime.Object] struct {
	// New creates the resource of a key on lc. Each resource has its own lifecycle: other
	// hooks that New appends to lc start and stop with the resource. Start hooks must not
	// block, because Get runs them. Stop hooks get a context that does not end.
	//
	// New is called once for each start of a resource, and concurrently for different
	// keys. New and the hooks can call the pool, except for the calls that wait for them:
	// Stop, and until the start has ended Get with the same key.
	New func(lc cell.Lifecycle, key K) resource.Resource[T]

	// Linger is the time between the last release of a resource and its stop. Negative: the
	// resource is stopped at once. Default: [DefaultLinger].
	Linger time.Duration

	// Log gets the errors of stop hooks, and panics of New and of hooks. Default:
	// slog.Default().
	Log *slog.Logger
}

// Pool has a [resource.Resource] for each key in use. It starts the resource for the
// first user of a key, shares it among all users, and stops it Config.Linger after the
// last release, unless there is a new user.
//
// A pool needs no start, but must be stopped: append cell.Hook{OnStop: pool.Stop} to the
// lifecycle of its owner. All methods can be called from any goroutine.
type Pool[K comparable, T runtime.Object] struct {
	create func(cell.Lifecycle, K) resource.Resource[T]
	linger time.Duration
	log    *slog.Logger
	panics *usercode.Panics

	mu       sync.Mutex
	current  map[K]*pooled[K, T]        // the resources that Get returns
	held     map[*pooled[K, T]]struct{} // the current ones, and those that are stopping
	starts   uint64
	failures uint64
	stopped  bool
	errs     []error       // of stop hooks, since stopped
	empty    chan struct{} // closed when the pool is stopped and held is empty
}

// pooled is one resource of a pool.
type pooled[K comparable, T runtime.Object] struct {
	key K
	lc  lifecycle

	// ready is closed when the resource has started, or has failed with err.
	ready    chan struct{}
	resource resource.Resource[T]
	err      error

	// The rest is guarded by the mutex of the pool.
	phase poolPhase
	users int
	rests uint64 // the number of linger periods
	timer *time.Timer
}

type poolPhase int

const (
	poolStarting poolPhase = iota
	poolRunning
	poolStopping
)

// New returns an empty pool. It returns an error if cfg.New is nil.
func New[K comparable, T runtime.Object](cfg Config[K, T]) (*Pool[K, T], error) {
	if cfg.New == nil {
		return nil, errors.New("pool.New: Config.New is nil: set a function that creates the resource of a key")
	}
	p := &Pool[K, T]{
		create:  cfg.New,
		linger:  cfg.Linger,
		log:     cfg.Log,
		panics:  usercode.New("pool", cfg.Log),
		current: map[K]*pooled[K, T]{},
		held:    map[*pooled[K, T]]struct{}{},
		empty:   make(chan struct{}),
	}
	if p.linger == 0 {
		p.linger = DefaultLinger
	}
	if p.log == nil {
		p.log = slog.Default()
	}
	return p, nil
}

// Get returns the started resource of key. The caller must call release when it no longer
// uses the resource. Get returns a lingering resource again. If the resource of key is
// being stopped, Get starts a new one at once. Get waits only for New and the start
// hooks, also if another Get runs them. It sends no request to the API server;
// [resource.Resource] says when requests begin.
//
// release does not block. Further calls, and calls after Stop, do nothing. It does not end
// subscriptions: they continue until the resource stops, and do not delay the stop.
//
// If New panics or returns nil, or a start hook fails or panics, all waiting calls return
// an error, the hooks that have started are stopped, and the next Get tries again. After
// Stop the error wraps [resource.ErrStopped]. release is never nil; after an error it
// does nothing.
func (p *Pool[K, T]) Get(key K) (r resource.Resource[T], release func(), err error) {
	e, first := p.use(key)
	if e == nil {
		return nil, func() {}, fmt.Errorf("pool: no resource of %v: %w", key, resource.ErrStopped)
	}
	if first {
		p.start(e)
	}
	<-e.ready
	if e.err != nil {
		return nil, func() {}, e.err
	}
	return e.resource, sync.OnceFunc(func() { p.release(e) }), nil
}

// Stop stops all resources, used or not, and waits until all have stopped, including
// those that were being stopped already. The channels of subscribers are closed.
//
// If ctx ends first, Stop returns an error that wraps its cause and contains the key of
// one remaining resource. All resources continue to stop, also if ctx had ended before
// the call, and another Stop waits for them. Stop also returns the errors of stop hooks
// since the first Stop.
func (p *Pool[K, T]) Stop(ctx cell.HookContext) error {
	p.stopAll()
	select {
	case <-p.empty:
		return p.stopErr(nil)
	default:
	}
	select {
	case <-p.empty:
		return p.stopErr(nil)
	case <-ctx.Done():
		return p.stopErr(context.Cause(ctx))
	}
}

// Stats are the figures of a [Pool].
type Stats struct {
	// Used is the number of resources with users, Lingering of those without, and Stopping
	// of those that are being stopped.
	Used, Lingering, Stopping int

	// Starts counts the starts of resources. Failures counts those for which Get returned
	// an error.
	Starts, Failures uint64
}

// Stats returns the current figures. It can be called at any time.
func (p *Pool[K, T]) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Stopping: len(p.held) - len(p.current), Starts: p.starts, Failures: p.failures}
	for _, e := range p.current {
		if e.users == 0 {
			s.Lingering++
		} else {
			s.Used++
		}
	}
	return s
}

// Users returns the number of unreleased Gets for each key that has a resource. It is 0
// for a lingering resource. The caller owns the map.
func (p *Pool[K, T]) Users() map[K]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := make(map[K]int, len(p.current))
	for key, e := range p.current {
		users[key] = e.users
	}
	return users
}

// use adds a user of key. The first user of a new resource must start it. use returns nil
// if the pool is stopped.
func (p *Pool[K, T]) use(key K) (e *pooled[K, T], first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, false
	}
	e, ok := p.current[key]
	if !ok {
		e = &pooled[K, T]{key: key, ready: make(chan struct{}), lc: lifecycle{panics: p.panics}}
		p.current[key] = e
		p.held[e] = struct{}{}
		p.starts++
	}
	e.users++
	if e.timer != nil {
		e.timer.Stop()
	}
	return e, !ok
}

// start creates and starts a resource, and wakes all waiting calls of Get, also if user
// code panics or ends the goroutine.
func (p *Pool[K, T]) start(e *pooled[K, T]) {
	err := errors.New("New or a start hook ended its goroutine")
	defer func() { p.started(e, err) }()
	e.lc.key = store.Key{Name: fmt.Sprint(e.key)}
	panicked := p.panics.Call("New or a start hook", "", e.lc.key, func() {
		if e.resource = p.create(&e.lc, e.key); e.resource == nil {
			err = errors.New("New returned nil")
			return
		}
		err = e.lc.Start(discardLog, context.Background())
	})
	if panicked != nil {
		err = panicked
	}
}

func (p *Pool[K, T]) started(e *pooled[K, T], err error) {
	p.mu.Lock()
	if err == nil && p.stopped {
		err = resource.ErrStopped
	}
	if err == nil {
		e.phase = poolRunning
	} else {
		p.failures++
		p.retire(e)
	}
	p.mu.Unlock()
	if err != nil {
		e.err = fmt.Errorf("pool: no resource of %v: %w", e.key, err)
	}
	close(e.ready)
}

// release removes a user of e.
func (p *Pool[K, T]) release(e *pooled[K, T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.users--
	switch {
	case e.users > 0 || e.phase != poolRunning:
	case p.linger < 0:
		p.retire(e)
	default:
		e.rests++
		rest := e.rests
		e.timer = time.AfterFunc(p.linger, func() { p.expire(e, rest) })
	}
}

// expire ends a linger period. It can be late, when e has users again.
func (p *Pool[K, T]) expire(e *pooled[K, T], rest uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.phase == poolRunning && e.users == 0 && e.rests == rest {
		p.retire(e)
	}
}

// retire removes e from current and stops it. It is called once for each e, with the mutex
// held.
func (p *Pool[K, T]) retire(e *pooled[K, T]) {
	e.phase = poolStopping
	delete(p.current, e.key)
	if e.timer != nil {
		e.timer.Stop()
	}
	go p.stop(e)
}

// stop stops e. Its context does not end, because a lifecycle skips the remaining hooks
// when the context has ended.
func (p *Pool[K, T]) stop(e *pooled[K, T]) {
	err := e.lc.Stop(discardLog, context.Background())
	if err != nil {
		err = fmt.Errorf("pool: stop the resource of %v: %w", e.key, err)
		_ = p.panics.Call("logger", "", e.lc.key, func() { p.log.Error("Stopping a resource failed", "key", e.key, "error", err) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, e)
	if !p.stopped {
		return
	}
	if err != nil {
		p.errs = append(p.errs, err)
	}
	if len(p.held) == 0 {
		close(p.empty)
	}
}

// stopAll stops all resources. A resource that is starting is stopped when it has started.
func (p *Pool[K, T]) stopAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.stopped = true
	for _, e := range p.current {
		if e.phase == poolRunning {
			p.retire(e)
		}
	}
	if len(p.held) == 0 {
		close(p.empty)
	}
}

// stopErr returns the error of Stop: the errors of stop hooks, and the remaining
// resources if ended is not nil.
func (p *Pool[K, T]) stopErr(ended error) error {
	p.mu.Lock()
	errs, left := append([]error(nil), p.errs...), len(p.held)
	var key K
	for e := range p.held {
		key = e.key
		break
	}
	p.mu.Unlock()
	if ended != nil && left > 0 {
		errs = append(errs, fmt.Errorf("pool: %d resources have not stopped, including that of %v: %w", left, key, ended))
	}
	return errors.Join(errs...)
}

// discardLog drops the log of a lifecycle, which also returns its errors.
var discardLog = slog.New(slog.DiscardHandler)
