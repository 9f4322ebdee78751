// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package pool starts resources on demand, one for each key that somebody asks for, and
// stops each a while after its last user has released it.
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

// DefaultLinger is how long a [Pool] keeps a resource that nobody uses.
const DefaultLinger = 30 * time.Second

// Config configures a [Pool].
type Config[K comparable, T runtime.Object] struct {
	// New makes the resource of a key on the lifecycle that it is given, which is
	// this resource's own: what else is appended to it starts and stops with it.
	// Start hooks must not block, since Get runs them. Stop hooks get a context
	// that does not end.
	//
	// New is called once for each start of a resource, and for different keys by
	// several goroutines at once. It and the hooks may call the pool, but for what
	// would wait for them: Stop, and until the start is over Get with the same key.
	New func(lc cell.Lifecycle, key K) resource.Resource[T]

	// Linger is how long a resource goes on after the last release. Default:
	// [DefaultLinger]. Negative: it is stopped at once.
	Linger time.Duration

	// Log is told of stop hooks that fail, and of panics of New and of hooks. Default:
	// slog.Default().
	Log *slog.Logger
}

// Pool has a [resource.Resource] for each key that is in use. It starts one for the first
// user of a key, shares it among all, and stops it when the last one has released
// it and nobody came within the linger. It is for what comes to be of interest at
// run time: a kind, a namespace.
//
// A pool is not started, and must be stopped: append cell.Hook{OnStop: pool.Stop}
// to the lifecycle of who owns it. Every method may be called from any goroutine.
type Pool[K comparable, T runtime.Object] struct {
	create func(cell.Lifecycle, K) resource.Resource[T]
	linger time.Duration
	log    *slog.Logger
	panics *usercode.Panics

	mu       sync.Mutex
	current  map[K]*pooled[K, T]        // what Get finds
	held     map[*pooled[K, T]]struct{} // the current ones, and those that are stopping
	starts   uint64
	failures uint64
	stopped  bool
	errs     []error       // of stop hooks, since stopped
	empty    chan struct{} // closed when stopped and nothing is held
}

// pooled is one resource of a pool.
type pooled[K comparable, T runtime.Object] struct {
	key K
	lc  lifecycle

	// ready is closed when the resource has started, or err says why it has not.
	ready    chan struct{}
	resource resource.Resource[T]
	err      error

	// The rest is guarded by the mutex of the pool.
	phase poolPhase
	users int
	rests uint64 // how often it began to linger
	timer *time.Timer
}

type poolPhase int

const (
	poolStarting poolPhase = iota
	poolRunning
	poolStopping
)

// New returns an empty pool. It fails if cfg has no New.
func New[K comparable, T runtime.Object](cfg Config[K, T]) (*Pool[K, T], error) {
	if cfg.New == nil {
		return nil, errors.New("pool.New: New is nil: give a function that makes the resource of a key")
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

// Get returns the resource of key, started, and what to call when it is no longer
// of use. A resource that lingers is in use again; beside one that is being stopped
// a new one starts at once. Get waits for New and the start hooks, whoever of the
// users of the key called them, and for nothing else. Nothing is requested from
// the API server for it; see [resource.Resource] for when that begins.
//
// The release does not block, and does nothing when it is called again, or after
// Stop. It does not end subscriptions: they go on, and keep nothing alive, until
// the resource stops.
//
// If New panics or returns nil, or a start hook fails or panics, all who wait for
// the resource get an error, what had started of it is stopped, and the next Get
// tries anew. After Stop the error wraps [resource.ErrStopped]. With an error the release
// has nothing to do, and is not nil.
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

// Stop stops all resources, used or not, and waits for them and for those that
// were being stopped already. Subscribers find their channels closed.
//
// When ctx ends first the error wraps its cause and names a resource that is left;
// all of them have been told to stop, also if ctx had ended before, and another
// Stop waits on. The errors of stop hooks since the first Stop are joined to it.
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

// Stats describes a [Pool] at some moment.
type Stats struct {
	// Used is how many resources have users, Lingering how many go on without,
	// and Stopping how many are being stopped.
	Used, Lingering, Stopping int

	// Starts is how many resources were made so far, those included that Failures
	// counts, of which Get returned an error.
	Starts, Failures uint64
}

// Stats may be called at any time.
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

// Users returns the keys that have a resource, each with how many Gets of it were
// not released: 0 if it lingers. The map is the caller's.
func (p *Pool[K, T]) Users() map[K]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := make(map[K]int, len(p.current))
	for key, e := range p.current {
		users[key] = e.users
	}
	return users
}

// use counts another user of key. If it is the first of a new resource, he has to
// start that. It returns nil if the pool was stopped.
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

// start makes and starts a resource, and says so to all who wait for it, whatever
// becomes of user code.
func (p *Pool[K, T]) start(e *pooled[K, T]) {
	err := errors.New("New or a start hook ended its goroutine")
	defer func() { p.started(e, err) }()
	e.lc.key = store.Key{Name: fmt.Sprint(e.key)}
	panicked := p.panics.Call("New or a start hook", "", e.lc.key, func() {
		if e.resource = p.create(&e.lc, e.key); e.resource == nil {
			err = errors.New("New returned nil")
			return
		}
		err = e.lc.Start(unheard, context.Background())
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

// release counts a user of e less.
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

// expire ends a linger. It may come late: after e was taken up again.
func (p *Pool[K, T]) expire(e *pooled[K, T], rest uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.phase == poolRunning && e.users == 0 && e.rests == rest {
		p.retire(e)
	}
}

// retire has e stopped, where Get does not find it. It is called once for each,
// with the mutex held.
func (p *Pool[K, T]) retire(e *pooled[K, T]) {
	e.phase = poolStopping
	delete(p.current, e.key)
	if e.timer != nil {
		e.timer.Stop()
	}
	go p.stop(e)
}

// stop stops e. The context does not end, since a lifecycle leaves out the hooks
// that are left when it does.
func (p *Pool[K, T]) stop(e *pooled[K, T]) {
	err := e.lc.Stop(unheard, context.Background())
	if err != nil {
		err = fmt.Errorf("pool: stopping the resource of %v: %w", e.key, err)
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

// stopAll has everything stopped. What is starting stops when it has started.
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

// stopErr is what Stop returns: what failed, and what is left if the wait ended.
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
		errs = append(errs, fmt.Errorf("pool: %d resources have not stopped, that of %v among them: %w", left, key, ended))
	}
	return errors.Join(errs...)
}

// unheard has what a lifecycle would log. Its errors are returned as well.
var unheard = slog.New(slog.DiscardHandler)
