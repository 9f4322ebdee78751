// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// ControllerConfig configures a [Controller]. Queue, Process, and one of ListerWatcher and
// Source are required. The other fields have defaults.
type ControllerConfig[T any] struct {
	// Queue is any queue of client-go. The controller fills it as [StoreSink] does, pops
	// from it, and closes it at the end. No other code may pop from it. If it is a
	// cache.TransformingStore with a transformer, ListerWatcher is read
	// [source.WithoutSharing], and a Source must be.
	Queue cache.Queue

	// ListerWatcher is read if Source is nil. Its objects must be Ts.
	ListerWatcher cache.ListerWatcher

	// SourceOptions apply to ListerWatcher, for example [source.WithFields].
	SourceOptions []source.SourceOption

	// Source is read if ListerWatcher is nil.
	Source informer.Source[T]

	// Process gets each item that the queue pops, one at a time. Queues of client-go pop
	// cache.Deltas. The objects are shared and must not be modified.
	//
	// It is called within Pop of the queue, and must not use the queue. A DeltaFIFO is
	// locked during Pop, and so is a RealFIFO without UnlockWhileProcessing. No item is
	// then added during the call, and the reading of the API server waits. So the state
	// of Process agrees with the queue. Process has no context; Run waits for it.
	Process cache.ProcessFunc

	// RetryOnError repeats Process for an item that fails, after a backoff, until it
	// succeeds or Run ends. The retries are part of one Pop: no other item is processed
	// meanwhile, and none is added if the queue is locked. An item that always fails
	// stops the controller: to give up on it, return nil. Default: a failed item is
	// dropped.
	RetryOnError bool

	// ErrorHandler receives each failure: a [*ProcessError], or an error of Pop or Resync
	// of the queue. The goroutines of Run call it, possibly several at once. It must not
	// use the queue, which can be locked. Default: errors go to slog.Default(), and of
	// many in a row for one item only some.
	ErrorHandler func(error)

	// FullResyncPeriod is the time between two calls of Resync of the queue, from the first
	// complete list on. Queues of client-go then bring all known objects again. The
	// server gets no request. Default: never.
	FullResyncPeriod time.Duration

	// ShouldResync is called before each Resync by a goroutine of Run. If it returns
	// false, the Resync is skipped. Default: always true.
	ShouldResync cache.ShouldResyncFunc

	// Settings tune the reading. Backoff also spaces the calls of Process for one item.
	// ResyncInterval lists from the server, and FullResyncPeriod does not.
	informer.Settings

	// Observer receives what the reflector does. Default: log to slog.Default().
	Observer informer.Observer
}

// ProcessError is a failure of [ControllerConfig.Process].
type ProcessError struct {
	// Controller is the name of the controller.
	Controller string

	// Item is the item that was not processed.
	Item any

	// Failures counts the failures in a row for the item. RetryIn is the delay before the
	// next call, or zero if the item is dropped.
	Failures int
	RetryIn  time.Duration

	// Err is the error of Process.
	Err error
}

// Error implements error.
func (e *ProcessError) Error() string {
	what := "process"
	if key := keyOf(e.Item); key != (store.Key{}) {
		what += " " + key.String()
	}
	if e.RetryIn == 0 {
		return fmt.Sprintf("controller %s: %s: %v (dropped)", e.Controller, what, e.Err)
	}
	return fmt.Sprintf("controller %s: %s: %v (failure %d, again in %v)", e.Controller, what, e.Err, e.Failures, e.RetryIn)
}

// keyOf returns the key of an item, or zero if the item has none.
func keyOf(item any) store.Key {
	deltas, ok := item.(cache.Deltas)
	if !ok || len(deltas) == 0 {
		return store.Key{}
	}
	text, err := cache.DeletionHandlingMetaNamespaceKeyFunc(deltas.Newest().Object)
	if err != nil {
		return store.Key{}
	}
	key, _ := store.ParseKey(text) // which is zero with an error
	return key
}

// Unwrap returns the error of Process.
func (e *ProcessError) Unwrap() error { return e.Err }

// ControllerStats are the counters of a [Controller], from its construction.
type ControllerStats struct {
	// Processed counts items that were processed, Failures the calls of Process that
	// failed, and Dropped the items that were dropped after a failure.
	Processed, Failures, Dropped uint64

	// Resyncs counts the calls of Resync of the queue, including those that failed.
	Resyncs uint64
}

// Controller fills a queue of client-go from an API server and processes the items that it
// pops, one at a time. It is for existing code with a cache.Queue and a process function.
// New code needs only a [store.Sink].
type Controller[T any] struct {
	name      string
	cfg       ControllerConfig[T]
	reflector *informer.Reflector[T]
	panics    *usercode.Panics
	filled    chan struct{} // closed once a whole pass is in the queue

	started, synced                       atomic.Bool
	processed, failures, dropped, resyncs atomic.Uint64
}

// NewNamedController returns a Controller that does nothing until Run. The name identifies it
// in logs and errors. Default: the name of T. It returns an error if a required field is not
// set or a setting is invalid.
func NewNamedController[T any](name string, cfg ControllerConfig[T]) (*Controller[T], error) {
	if name == "" {
		name = check.TypeName[T]()
	}
	c := &Controller[T]{name: name, panics: usercode.New(name, nil), filled: make(chan struct{})}
	if err := c.configure(cfg); err != nil {
		return nil, fmt.Errorf("controller %s: %w", name, err)
	}
	return c, nil
}

func (c *Controller[T]) configure(cfg ControllerConfig[T]) (err error) {
	switch {
	case check.IsNil(cfg.Queue):
		return errors.New("ControllerConfig.Queue is nil: give a queue, for example one of cache.NewDeltaFIFOWithOptions")
	case cfg.Process == nil:
		return errors.New("ControllerConfig.Process is nil: give the function that processes the items of the queue")
	case !check.IsNil(cfg.Source) && !check.IsNil(cfg.ListerWatcher):
		return errors.New("ControllerConfig.ListerWatcher and Source are both set: give one of them")
	case check.IsNil(cfg.Source) && check.IsNil(cfg.ListerWatcher):
		return errors.New("ControllerConfig.ListerWatcher and Source are nil: give one of them")
	case !check.IsNil(cfg.Source) && len(cfg.SourceOptions) > 0:
		return errors.New("ControllerConfig.SourceOptions are for a ListerWatcher, and Source is set: give the options to the constructor of the Source")
	case cfg.FullResyncPeriod < 0:
		return fmt.Errorf("ControllerConfig.FullResyncPeriod is %v: give a positive duration, or 0 for none", cfg.FullResyncPeriod)
	}
	if check.IsNil(cfg.Source) {
		cfg.Source = sourceFor[T](cfg.Queue, cfg.ListerWatcher, cfg.SourceOptions...)
	}
	if check.IsNil(cfg.Observer) {
		cfg.Observer = informer.LogObserver(slog.Default())
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = logControllerError
	}
	if err := cfg.Backoff.Complete(); err != nil {
		return fmt.Errorf("Settings.%w", err)
	}
	c.cfg = cfg
	c.reflector, err = informer.NewReflector(informer.Config[T]{
		Name: c.name, Source: cfg.Source,
		Sink:     &fillingSink[T]{Sink: StoreSink[T](cfg.Queue), filled: sync.OnceFunc(func() { close(c.filled) })},
		Settings: cfg.Settings, Observer: cfg.Observer,
	})
	return err
}

// fillingSink calls filled once a whole pass was accepted.
type fillingSink[T any] struct {
	store.Sink[T]
	filled func()
}

// SharesObjects implements [store.Sharing].
func (s *fillingSink[T]) SharesObjects() bool { return store.IsSharing(s.Sink) }

// Keep implements [store.Keeper], if the sink does.
func (s *fillingSink[T]) Keep(ctx context.Context, meta store.Meta) error {
	return store.Keep(ctx, s.Sink, meta)
}

// Validate returns an error if the sink is not complete.
func (s *fillingSink[T]) Validate() error { return check.Validate(s.Sink) }

func (s *fillingSink[T]) Commit(ctx context.Context, version string) error {
	err := s.Sink.Commit(ctx, version)
	if err == nil {
		s.filled()
	}
	return err
}

// Run fills the queue and processes its items until ctx ends, and returns the cause of that.
// It returns an error if other code closed the queue. It must be called once: a second call
// returns an error at once. When it returns, the queue is closed, no goroutine is left, and
// no function is called again. The one exception is a ListerWatcher that ignores its context,
// see [source.FromListerWatcher].
//
// Processing begins after the first complete list. At the end, Run waits for the item in
// flight, which is not retried. Items that are still in the queue are not processed.
//
// A panic of Process is an error of the item, and is also logged to slog.Default(). See the
// documentation of package resource.
func (c *Controller[T]) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return fmt.Errorf("controller %s: Run was called before: make a new Controller, with a new queue, to run again", c.name)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var wg sync.WaitGroup
	wg.Go(func() { c.pop(ctx, end) })
	wg.Go(func() { c.resync(ctx) })
	err := c.reflector.Run(ctx)
	c.cfg.Queue.Close()
	wg.Wait()
	return err
}

// HasSynced reports whether all items of the first complete list, including deletions, were
// processed or dropped. It does not become true because Run ends. It does not block, and can
// be called from any goroutine.
func (c *Controller[T]) HasSynced() bool { return c.synced.Load() }

// LastSyncResourceVersion returns the version up to which the queue is filled. It is empty
// before the first complete list. It can be called from any goroutine.
func (c *Controller[T]) LastSyncResourceVersion() string {
	return c.reflector.LastSyncResourceVersion()
}

// Stats returns the current counters. It can be called from any goroutine.
func (c *Controller[T]) Stats() ControllerStats {
	return ControllerStats{
		Processed: c.processed.Load(), Failures: c.failures.Load(), Dropped: c.dropped.Load(), Resyncs: c.resyncs.Load(),
	}
}

// pop processes items until ctx ends. If other code closes the queue, it ends ctx.
//
// It begins when the first list is in the queue. Only pop pops. So a queue that is synced
// before the first Pop had no items, and one that is synced after a Pop has processed all.
func (c *Controller[T]) pop(ctx context.Context, end context.CancelCauseFunc) {
	select {
	case <-c.filled:
	case <-ctx.Done():
	}
	broken := 0 // failures of Pop itself in a row
	for ctx.Err() == nil {
		if !c.synced.Load() && c.cfg.Queue.HasSynced() {
			c.synced.Store(true)
		}
		popped := false
		err := c.panics.Try("Pop of the queue", store.Key{}, func() error {
			_, err := c.cfg.Queue.Pop(func(item any, isInInitialList bool) error {
				popped = true
				return c.process(ctx, item, isInInitialList)
			})
			return err
		})
		switch {
		case popped || err == nil:
			broken = 0
		case errors.Is(err, cache.ErrFIFOClosed):
			end(fmt.Errorf("controller %s: the queue was closed by other code: %w", c.name, err))
		default:
			broken++
			c.report(fmt.Errorf("controller %s: pop: %w", c.name, err))
			c.pause(ctx, c.backoff(broken, err))
		}
	}
}

// process processes an item, and retries it if configured. It has already reported the error
// that it returns to the queue.
func (c *Controller[T]) process(ctx context.Context, item any, isInInitialList bool) error {
	for failures := 1; ctx.Err() == nil; failures++ {
		err := c.processOnce(item, isInInitialList)
		if err == nil {
			c.processed.Add(1)
			return nil
		}
		c.panics.Report(err)
		c.failures.Add(1)
		failed := &ProcessError{Controller: c.name, Item: item, Failures: failures, Err: err}
		if !c.cfg.RetryOnError {
			c.dropped.Add(1)
			c.report(failed)
			return failed
		}
		failed.RetryIn = c.backoff(failures, err)
		c.report(failed)
		c.pause(ctx, failed.RetryIn)
	}
	return context.Cause(ctx)
}

// resync calls Resync of the queue every FullResyncPeriod until ctx ends.
func (c *Controller[T]) resync(ctx context.Context) {
	if c.cfg.FullResyncPeriod == 0 {
		return
	}
	select {
	case <-c.filled:
	case <-ctx.Done():
	}
	for {
		c.pause(ctx, c.cfg.FullResyncPeriod)
		if ctx.Err() != nil {
			return
		}
		if !c.shouldResync() {
			continue
		}
		c.resyncs.Add(1)
		if err := c.panics.Try("Resync of the queue", store.Key{}, c.cfg.Queue.Resync); err != nil {
			c.report(fmt.Errorf("controller %s: resync: %w", c.name, err))
		}
	}
}

func (c *Controller[T]) backoff(failures int, err error) time.Duration {
	return c.cfg.Backoff.Delay(failures, informer.CauseNone, err)
}

// pause waits for d, or until ctx ends.
func (c *Controller[T]) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// logControllerError is the default ErrorHandler. Of failures in a row for one item it logs
// the first as a warning, then the second, the fourth, the eighth and so on. The attribute
// omitted counts the failures before that were logged only for debugging. A panic has a
// report of its own.
func logControllerError(err error) {
	message, level, attrs := "Queue of the controller failed, will try again", slog.LevelWarn, []any{"error", err}
	if errors.As(err, new(*store.PanicError)) {
		level = slog.LevelDebug
	}
	if failed := (*ProcessError)(nil); errors.As(err, &failed) {
		message = "Item could not be processed"
		attrs = append([]any{"resource", failed.Controller, "key", keyOf(failed.Item)}, attrs...)
		shown, omitted := check.IsShown(failed.Failures)
		if !shown {
			level = slog.LevelDebug
		}
		if omitted > 0 {
			attrs = append(attrs, "omitted", omitted)
		}
	}
	slog.Default().Log(context.Background(), level, message, attrs...)
}
