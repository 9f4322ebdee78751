// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// firstBackoff is the pause after the first failure, if Period is not shorter.
const firstBackoff = time.Second

var (
	errNoObjects = errors.New("Enumerator.Objects is nil and the sink does not have this version: return an iterator, which can be empty")
	errSameKey   = errors.New("two objects have this key")
)

// Run polls until ctx ends, and returns context.Cause(ctx). It returns for no other
// reason. If Get or the sink ignores its ctx, Run waits for it. After Run has returned,
// there are no calls of Get, the sink or OnError. Run can be called once: a second call
// returns an error at once.
//
// A panic of Get, its iterator, Key or the sink fails the poll. It is also logged to
// slog.Default(). The documentation of package resource has the rule.
func (p *Poller[T]) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return fmt.Errorf("poller of %s: Run was called before: create a new Poller to run again", p.cfg.Name)
	}
	r := polling[T]{p: p, cfg: &p.cfg, ctx: ctx, panics: usercode.New(p.cfg.Name, nil)}
	p.detecting(func() {
		for ctx.Err() == nil {
			r.next()
		}
	})
	return context.Cause(ctx)
}

// polling is the state of one Run, owned by its goroutine.
type polling[T any] struct {
	p   *Poller[T]
	cfg *Config[T]
	ctx context.Context

	epoch    uint64
	version  string // of the state that the sink has, "" if unknown
	objects  int    // in the last accepted state
	resync   error  // with which the sink requested the next pass
	failures int    // in a row
	refused  int    // polls in a row that the sink refused without a failure

	seen map[store.Key]bool // keys of the current poll

	calling string    // the user's function that is called now
	key     store.Key // of the object that it is called for
	panics  *usercode.Panics
}

// next polls once, and pauses.
func (r *polling[T]) next() {
	select {
	case <-r.p.requested: // this poll answers the request
	default:
	}
	r.p.update(func(i *Info) { i.Polls++ })
	changed, err := r.poll()
	r.panics.Report(err)
	var full *store.FullError
	switch {
	case err == nil:
		r.succeeded(changed)
	case r.ctx.Err() != nil: // Run ends
	case errors.As(err, &full) && full.Drained != nil:
		r.refusedBy(err, full.Drained)
	case errors.Is(err, store.ErrResync):
		r.refusedBy(err, nil)
	default:
		r.failed(err)
	}
}

func (r *polling[T]) succeeded(changed bool) {
	r.failures, r.refused = 0, 0
	r.p.update(func(i *Info) {
		i.Success, i.Err = time.Now(), nil
		if !changed {
			i.Unchanged++
			return
		}
		i.Passes++
		i.Version, i.Objects = r.version, r.objects
	})
	r.pause(r.jittered(r.cfg.Period), r.p.requested)
}

func (r *polling[T]) failed(err error) {
	err = fmt.Errorf("poller of %s: %w", r.cfg.Name, err)
	r.failures++
	r.p.update(func(i *Info) {
		i.Failures++
		i.Err = err
	})
	if r.cfg.OnError != nil {
		_ = r.panics.Call("OnError", "", store.Key{}, func() { r.cfg.OnError(err) })
	}
	pause := r.jittered(r.backoff(r.failures))
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		pause = max(pause, time.Duration(seconds)*time.Second)
	}
	r.pause(pause, nil)
}

// refusedBy handles an error of the sink that is not a failure.
func (r *polling[T]) refusedBy(err error, drained <-chan struct{}) {
	r.p.update(func(i *Info) { i.Refused++ })
	r.resync = err
	r.refused++
	if drained != nil {
		select {
		case <-drained:
		case <-r.ctx.Done():
		}
	}
	if r.refused > 1 {
		r.pause(r.jittered(r.backoff(r.refused-1)), nil)
	}
}

// backoff returns the pause after the given failure, counted from 1.
func (r *polling[T]) backoff(failure int) time.Duration {
	d := min(firstBackoff, r.cfg.Period)
	for i := 1; i < failure && d < r.cfg.MaxBackoff; i++ {
		d *= 2
	}
	return min(d, r.cfg.MaxBackoff)
}

func (r *polling[T]) jittered(d time.Duration) time.Duration {
	more := d + time.Duration(rand.Float64()*r.cfg.Jitter*float64(d))
	return max(d, more) // more can overflow
}

// pause waits for d, or until ctx ends or cut receives a value.
func (r *polling[T]) pause(d time.Duration, cut <-chan struct{}) {
	select {
	case <-time.After(d):
	case <-cut:
	case <-r.ctx.Done():
	}
}

// poll gets the state, and makes a pass if it differs from the last one.
func (r *polling[T]) poll() (changed bool, err error) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, r.cfg.Timeout, r.timeoutError())
	defer cancel()
	state, err := r.get(ctx)
	if err = ended(ctx, err); err != nil {
		return false, fmt.Errorf("get: %w", err)
	}
	if state.Version != "" && state.Version == r.version {
		return false, nil
	}
	if state.Objects == nil {
		return false, errNoObjects
	}
	r.epoch++
	pass := store.Pass{Epoch: r.epoch, Reason: store.ReasonPoll, Cause: r.resync}
	// An aborted pass leaves the sink between two states.
	r.version = ""
	r.p.update(func(i *Info) { i.Version = "" })
	if err := r.pass(ctx, pass, state); err != nil {
		_ = r.panics.Call("Abort of the sink", "", store.Key{}, func() { r.cfg.Sink.Abort(pass, err) })
		return false, err
	}
	r.version, r.resync = state.Version, nil
	return true, nil
}

func (r *polling[T]) timeoutError() error {
	return fmt.Errorf("%w: it took longer than %v: raise Config.Timeout, or return fewer objects",
		context.DeadlineExceeded, r.cfg.Timeout)
}

// ended adds the cause of ctx to err if ctx has ended. Without err it returns the cause,
// because the objects may be incomplete.
func ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case err == nil:
		return context.Cause(ctx)
	default:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
}

// get calls Get, and returns a panic as an error.
func (r *polling[T]) get(ctx context.Context) (state Enumerator[T], err error) {
	defer usercode.Recover("Get", store.Key{}, &err)
	return r.cfg.Get(ctx)
}

// pass passes the state to the sink. ctx is that of Get. A panic of the iterator, Key or
// the sink is returned as an error.
func (r *polling[T]) pass(ctx context.Context, pass store.Pass, state Enumerator[T]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = usercode.Error(r.calling, r.key, v)
		}
	}()
	sink := r.cfg.Sink
	r.call("Begin of the sink", store.Key{})
	if err := sink.Begin(r.ctx, pass); err != nil {
		return fmt.Errorf("sink: begin: %w", err)
	}
	r.seen = make(map[store.Key]bool, r.objects)
	defer func() { r.seen = nil }()
	r.call("iterator of Get", store.Key{})
	for obj, failure := range state.Objects {
		if err = failure; err != nil {
			err = fmt.Errorf("object %d: %w", len(r.seen)+1, err)
			break
		}
		if err = r.object(obj); err != nil {
			break
		}
		r.call("iterator of Get", store.Key{})
	}
	if err = ended(ctx, err); err != nil {
		return err
	}
	r.call("Page of the sink", store.Key{})
	if err := sink.Page(r.ctx, store.PageInfo{Number: 1, Objects: len(r.seen)}); err != nil {
		return fmt.Errorf("sink: page: %w", err)
	}
	r.call("Commit of the sink", store.Key{})
	if err := sink.Commit(r.ctx, state.Version); err != nil {
		return fmt.Errorf("sink: commit: %w", err)
	}
	r.objects = len(r.seen)
	return nil
}

// call records which function of the user is called next.
func (r *polling[T]) call(function string, key store.Key) { r.calling, r.key = function, key }

// object applies obj to the sink, unless the sink has this version.
func (r *polling[T]) object(obj T) error {
	r.call("Key", store.Key{})
	key, err := r.cfg.Key.Of(obj)
	if err != nil {
		return fmt.Errorf("object %d: %w", len(r.seen)+1, err)
	}
	if r.seen[key] {
		return fmt.Errorf("object %q: %w", key, errSameKey)
	}
	r.seen[key] = true
	meta := store.MetaWith(key, obj)
	if meta.Version == "" {
		if meta.Version, err = store.ContentVersion(obj); err != nil {
			return fmt.Errorf("object %q: %w", key, err)
		}
	}
	r.call("Holds of the sink", key)
	if r.cfg.Sink.Holds(meta) {
		return nil
	}
	r.call("Apply of the sink", key)
	if err := r.cfg.Sink.Apply(r.ctx, meta, obj); err != nil {
		return fmt.Errorf("sink: apply %q: %w", meta, err)
	}
	return nil
}
