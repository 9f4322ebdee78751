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

// ControllerConfig configures a [Controller]. Queue, Process, and one of
// ListerWatcher and Source are required; the zero value of everything else is a
// useful default.
type ControllerConfig[T any] struct {
	// Queue is filled, and popped from, by the controller, and closed in the end.
	// Any queue of client-go will do. Nobody else may pop from it. See
	// [StoreSink] for what it is told. If it is a cache.TransformingStore with a
	// transformer, ListerWatcher is read [source.WithoutSharing], and Source has to be.
	Queue cache.Queue

	// ListerWatcher is read, if Source is nil. Objects that it gives must be Ts.
	ListerWatcher cache.ListerWatcher

	// SourceOptions say how ListerWatcher is read, such as [source.WithFields].
	SourceOptions []source.SourceOption

	// Source is read, if ListerWatcher is nil.
	Source informer.Source[T]

	// Process is given each item that the queue pops, one at a time: cache.Deltas,
	// if it is a queue of client-go.
	//
	// It is called from within the Pop of the queue. A DeltaFIFO, and a RealFIFO
	// unless it was told otherwise, is locked meanwhile, which is what keeps what
	// Process knows in step with it. So Process must not use the queue, and as long
	// as it takes nothing is added: the reading of the API server waits for it. It
	// has no context; Run waits for it. The objects are shared and must not be
	// modified.
	Process cache.ProcessFunc

	// RetryOnError has an item for which Process fails processed again, after a
	// backoff, until that succeeds or Run ends. All this is one Pop: no other item
	// is processed until then, and none is added if the queue is locked. So an item
	// that makes Process fail for ever stops the controller: let Process return nil
	// to give one up. Default: the item is dropped.
	RetryOnError bool

	// ErrorHandler is told of each failure: a [*ProcessError], or what the queue
	// returned from Resync or Pop. It is called by the goroutines of Run, several
	// at once perhaps, and the queue may be locked: it must not use it. Default:
	// errors go to slog.Default(), of many in a row for one item only some.
	ErrorHandler func(error)

	// FullResyncPeriod is how often the queue is asked to Resync, which makes
	// queues of client-go bring all known objects again, from the first list on.
	// The server is not asked for anything. Default: never.
	FullResyncPeriod time.Duration

	// ShouldResync is asked each time before that; false leaves it out. It is
	// called by a goroutine of Run. Default: always.
	ShouldResync cache.ShouldResyncFunc

	// Settings tune the reading. Backoff spaces the calls of Process for one item as
	// well. The server gets a list for ResyncInterval, and nothing for FullResyncPeriod.
	informer.Settings

	// Observer observes the reading. Default: what happens is logged to slog.Default().
	Observer informer.Observer
}

// ProcessError says that [ControllerConfig.Process] failed.
type ProcessError struct {
	// Controller is the name of the controller.
	Controller string

	// Item is what was to be processed.
	Item any

	// Failures is how often it failed for this item, RetryIn is after what time
	// it is tried again: zero if it is dropped.
	Failures int
	RetryIn  time.Duration

	// Err is what Process returned.
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

// keyOf returns the key of an item, zero if it is not known.
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

// Unwrap returns what Process returned.
func (e *ProcessError) Unwrap() error { return e.Err }

// ControllerStats are counters of a [Controller], from its construction.
type ControllerStats struct {
	// Processed counts the items that Process took, Failures its calls that
	// failed, and Dropped the items that are lost by that.
	Processed, Failures, Dropped uint64

	// Resyncs counts the calls of Resync of the queue, those that failed too.
	Resyncs uint64
}

// Controller fills a queue of client-go from an API server and processes what
// it pops, one item after the other. It is there for code that has a cache.Queue
// and a function for it; new code needs a [store.Sink] only, and no queue.
type Controller[T any] struct {
	name      string
	cfg       ControllerConfig[T]
	reflector *informer.Reflector[T]
	panics    *usercode.Panics
	filled    chan struct{} // closed once a whole pass is in the queue

	started, synced                       atomic.Bool
	processed, failures, dropped, resyncs atomic.Uint64
}

// NewNamedController returns a Controller that does nothing until Run. It fails if
// something is missing or a setting makes no sense. The name tells it from others
// in logs and errors; if it is empty that is the name of T.
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
		return errors.New("ControllerConfig.Process is nil: give the function that items of the queue go to")
	case !check.IsNil(cfg.Source) && !check.IsNil(cfg.ListerWatcher):
		return errors.New("ControllerConfig has a Source and a ListerWatcher: give one of them")
	case check.IsNil(cfg.Source) && check.IsNil(cfg.ListerWatcher):
		return errors.New("ControllerConfig.ListerWatcher is nil: give what is to be read, or a Source")
	case !check.IsNil(cfg.Source) && len(cfg.SourceOptions) > 0:
		return errors.New("ControllerConfig.SourceOptions are for a ListerWatcher: give them to what makes the Source")
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

// Validate reports how the sink was made wrongly.
func (s *fillingSink[T]) Validate() error { return check.Validate(s.Sink) }

func (s *fillingSink[T]) Commit(ctx context.Context, version string) error {
	err := s.Sink.Commit(ctx, version)
	if err == nil {
		s.filled()
	}
	return err
}

// Run fills and processes until ctx ends, and returns the cause of that, or an
// error if the queue was closed by somebody else. It must be called once: a second
// call returns an error at once. When it returns the queue is closed, no goroutine
// is left, and nothing is called any more; see [source.FromListerWatcher] for a
// ListerWatcher that ignores its context.
//
// Items are processed from the first complete list on. What is still in the queue
// in the end is not processed; an item whose processing is under way then is
// waited for, but not tried again.
//
// A panic of Process is an error of the item, and is logged to slog.Default() as well:
// the rule is in the documentation of package resource.
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

// HasSynced reports whether all that the first complete list brought has been
// processed, deletions included: successfully, or else dropped. It never becomes
// true because Run ends. It does not block, and may be called from anywhere.
func (c *Controller[T]) HasSynced() bool { return c.synced.Load() }

// LastSyncResourceVersion returns the version that the queue was filled up to,
// empty before the first complete list. It may be called from anywhere.
func (c *Controller[T]) LastSyncResourceVersion() string {
	return c.reflector.LastSyncResourceVersion()
}

// Stats returns the figures of the moment. It may be called from anywhere.
func (c *Controller[T]) Stats() ControllerStats {
	return ControllerStats{
		Processed: c.processed.Load(), Failures: c.failures.Load(), Dropped: c.dropped.Load(), Resyncs: c.resyncs.Load(),
	}
}

// pop processes items until ctx ends. If the queue is closed before, it ends ctx.
//
// It begins when the first list is in the queue. Nobody else pops, so a queue that
// is synced then had nothing to be processed, and one that is synced after a Pop
// has it all processed.
func (c *Controller[T]) pop(ctx context.Context, end context.CancelCauseFunc) {
	select {
	case <-c.filled:
	case <-ctx.Done():
	}
	strange := 0 // failures in a row of the queue's own
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
			strange = 0
		case errors.Is(err, cache.ErrFIFOClosed):
			end(fmt.Errorf("controller %s: somebody closed the queue: %w", c.name, err))
		default:
			strange++
			c.report(fmt.Errorf("controller %s: pop: %w", c.name, err))
			c.pause(ctx, c.backoff(strange, err))
		}
	}
}

// process has an item processed, and processed again if need be. The error is for
// the queue: it has been told already.
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

// resync has the queue resync every FullResyncPeriod until ctx ends.
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

// pause waits, for the end of ctx at most.
func (c *Controller[T]) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// logControllerError is the default ErrorHandler. Of failures in a row for one item the
// first is a warning, then the second, the fourth, the eighth and so on; omitted is how
// many were left out before. A panic has a report of its own.
func logControllerError(err error) {
	level, attrs := slog.LevelWarn, []any{"error", err}
	if errors.As(err, new(*store.PanicError)) {
		level = slog.LevelDebug
	}
	if failed := (*ProcessError)(nil); errors.As(err, &failed) {
		shown, omitted := check.IsShown(failed.Failures)
		if !shown {
			level = slog.LevelDebug
		}
		if omitted > 0 {
			attrs = append(attrs, "omitted", omitted)
		}
	}
	slog.Default().Log(context.Background(), level, "A controller met an error", attrs...)
}
