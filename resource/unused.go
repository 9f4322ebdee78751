// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

const (
	shortestUnused = time.Second
	longestUnused  = 24 * time.Hour
)

// WithStopUnused stops the informer and frees the store when the resource was not in use for
// this time, which must be from a second to a day. The next use starts it again. Default: a
// resource that was used once runs until its lifecycle stops.
//
// Each of these is a use, of the resource or of a view of it:
//
//   - a subscription of Events or Observe that has not ended
//   - a call of Store that waits
//   - a [Store] that the program refers to, also by what reads it: an iterator, a lister of
//     [NewLister], the CacheStore and what was made of it
//
// So a store that the program can read is never stale. A store counts until the garbage
// collector finds that nothing refers to it, which takes up to two minutes in an idle
// program. The stop then follows after once or twice the time. A program that keeps a store
// or a subscription for good never stops the resource. Take the store again for each piece
// of work.
//
// It costs a list for each new start. A call of Store waits for that list. A new subscriber
// gets the objects of that list, and then its Sync. A function of [WithOnChange] gets all
// objects again, without deletions before. A use during the stop waits for the end of the
// stop, and no two informers run at once. A Source serves one run after another, and its
// Validate method is called for each.
//
// Observers get [informer.StoppedUnused] and [informer.UsedAgain]. While it is stopped,
// [Stats] is that of a resource before its first use, except for the counts and the last
// contact, which go on.
// Resync then does nothing.
func WithStopUnused(after time.Duration) Option {
	return func(o *options) {
		if after < shortestUnused || after > longestUnused {
			o.err = errors.Join(o.err, fmt.Errorf("WithStopUnused(%v): the time must be from %v to %v", after, shortestUnused, longestUnused))
			return
		}
		o.unused = after
	}
}

// demand runs a resource while it is in use. Each run has a resource of its own, so that
// nothing is left of a run that has ended. No user code runs under the mutex.
type demand[T runtime.Object] struct {
	name   string
	after  time.Duration
	create func() (*resource[T], error) // calls functions of the user

	mu               sync.Mutex
	started, stopped bool         // the lifecycle
	current          *resource[T] // of the next run while there is none
	used             bool         // current was used
	users            int          // subscriptions, and calls of Store
	stores           weak.Pointer[lease[T]]
	held             bool      // stores was in use at the last look
	idle             time.Time // no use is known since then, if there are no users
	timer            *time.Timer
	making           chan struct{}  // closed when create, which is running, has returned
	ended            chan struct{}  // closed when the runs before current have ended; nil: there was none
	stopping         []*resource[T] // those that have not
	past             Stats          // the counts of those that have
}

// lease is what the stores of a run, and what reads them, refer to. It must have a pointer:
// the runtime can keep small objects without pointers.
type lease[T runtime.Object] struct{ of *resource[T] }

var _ cell.HookDescriptiveInterface = (*demand[runtime.Object])(nil)

// newDemand returns a demand for the resource that views refer to between the runs.
func newDemand[T runtime.Object](of *resource[T], after time.Duration, assemble func() *resource[T]) *demand[T] {
	d := &demand[T]{name: of.name, after: after}
	d.create = func() (r *resource[T], err error) {
		err = of.hub.panics.Try("Source", store.Key{}, func() error {
			r = assemble()
			return r.err
		})
		return r, err
	}
	d.current = assemble()
	return d
}

// HookInfo implements cell.HookDescriptiveInterface.
func (d *demand[T]) HookInfo() string { return "informer of resource " + d.name }

// Start implements cell.HookInterface. It does not block.
func (d *demand[T]) Start(ctx cell.HookContext) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := (hook[T]{d.current}).Start(ctx); err != nil {
		return err
	}
	d.started = true
	d.idle = time.Now()
	d.timer = time.AfterFunc(d.after, d.expire)
	return nil
}

// Stop implements cell.HookInterface, as that of hook does. It also waits for earlier runs.
func (d *demand[T]) Stop(ctx cell.HookContext) error {
	d.mu.Lock()
	d.stopped = true
	if d.timer != nil {
		d.timer.Stop()
	}
	last, ended, making := d.current, d.ended, d.making
	d.mu.Unlock()
	if err := (hook[T]{last}).Stop(ctx); err != nil {
		return err
	}
	for _, end := range []struct {
		of   string
		when <-chan struct{}
	}{{"the informer that was not in use", ended}, {"Validate of the source", making}} {
		if end.when == nil {
			continue
		}
		select {
		case <-end.when:
		case <-ctx.Done():
			return fmt.Errorf("resource %s: %s has not ended: %w", d.name, end.of, context.Cause(ctx))
		}
	}
	return nil
}

// run returns the resource of the current run, or of the next one.
func (d *demand[T]) run() *resource[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// use returns v of the current run, which goes on until release is called.
func (d *demand[T]) use(v view[T]) view[T] {
	d.mu.Lock()
	d.users++
	d.used = true
	v.resource = d.current
	d.mu.Unlock()
	if v.index != nil && v.err == nil {
		index, err := v.store.Index(v.index.Name())
		if err != nil {
			panic(err) // each run has the same indexes
		}
		v.index = &index
	}
	return v
}

// release ends a use.
func (d *demand[T]) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users == 0 {
		d.rest(time.Now())
	}
}

// rest begins the time without use. The caller holds the mutex.
func (d *demand[T]) rest(since time.Time) {
	d.idle = since
	if d.started && !d.stopped {
		d.timer.Reset(d.after)
	}
}

// subscribe is subscribe of a view.
func (d *demand[T]) subscribe(v view[T], s *subscriber[T]) {
	v = d.use(v)
	s.view, s.hub = &v, v.hub
	defer func() {
		if !s.entered { // else finish releases it
			d.release()
		}
	}()
	v.enter(s)
}

// read is Store of a view.
func (d *demand[T]) read(ctx context.Context, v view[T]) (Store[T], error) {
	v = d.use(v)
	defer d.release()
	if err := v.waitSynced(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.stores.Value()
	if l == nil {
		l = &lease[T]{v.resource}
		d.stores = weak.Make(l)
	}
	d.held = true
	return storeView[T]{v, l}, nil
}

// expire is called when the time without use may be over.
func (d *demand[T]) expire() {
	d.mu.Lock()
	if d.making != nil || !d.isDue() {
		d.mu.Unlock()
		return
	}
	made := make(chan struct{})
	defer close(made)
	d.making = made
	d.mu.Unlock()
	next, err := d.create()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.making = nil
	switch {
	case !d.isDue(): // it is in use again
	case err != nil:
		d.rest(time.Now()) // no use must fail for this
	default:
		d.replace(next)
	}
}

// isDue returns true if the time without use is over. If it goes on, isDue sets the timer.
// The caller holds the mutex.
//
// The stores are looked at here only. A cleanup of the garbage collector would come earlier,
// and from a goroutine that must not touch the timer of a testing/synctest bubble.
func (d *demand[T]) isDue() bool {
	if d.stopped || d.users > 0 || !d.used {
		return false
	}
	held := d.stores.Value() != nil
	if held || d.held {
		d.held = held
		d.rest(time.Now())
		return false
	}
	if left := d.after - time.Since(d.idle); left > 0 {
		d.timer.Reset(left)
		return false
	}
	return true
}

// replace ends the current run. The next one waits for that. The caller holds the mutex.
func (d *demand[T]) replace(next *resource[T]) {
	last, since, ended := d.current, d.idle, make(chan struct{})
	next.before = func() {
		<-ended
		next.reflector.Report(informer.UsedAgain{})
	}
	_ = hook[T]{next}.Start(context.Background()) // it fails only after a stop
	d.current, d.used, d.ended = next, false, ended
	d.stopping = append(d.stopping, last)
	go func() { // Stop waits for it
		defer close(ended)
		_ = hook[T]{last}.Stop(context.Background()) // it has no subscribers, and the context does not end
		last.reflector.Report(informer.StoppedUnused{Since: since})
		counts := last.Stats()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.past.addCounts(counts)
		d.stopping = slices.DeleteFunc(d.stopping, func(r *resource[T]) bool { return r == last })
	}()
}

// Stats implements [Inspector].
func (v view[T]) Stats() Stats {
	if v.demand != nil {
		return v.demand.stats()
	}
	return v.resource.Stats()
}

func (d *demand[T]) stats() Stats {
	d.mu.Lock()
	current, past, stopping := d.current, d.past, slices.Clone(d.stopping)
	d.mu.Unlock()
	stats := current.Stats()
	stats.addCounts(past)
	for _, r := range stopping {
		stats.addCounts(r.Stats())
	}
	return stats
}

// addCounts adds what goes on from run to run: the counts, and the last contact.
func (s *Stats) addCounts(more Stats) {
	s.Events.add(more.Events)
	s.Panics += more.Panics
	s.Store.Stale += more.Store.Stale
	s.Store.IndexErrors += more.Store.IndexErrors
	s.Store.Commits += more.Store.Commits
	s.Store.Aborts += more.Store.Aborts
	s.Store.Swept += more.Store.Swept
	s.Reflector.Passes += more.Reflector.Passes
	s.Reflector.WatchEvents += more.Reflector.WatchEvents
	s.Reflector.Panics += more.Reflector.Panics
	if more.Reflector.Contact.After(s.Reflector.Contact) {
		s.Reflector.Contact = more.Reflector.Contact
	}
}
