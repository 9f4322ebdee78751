// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// ResourceVersionInformer mirrors a collection to a handler, such as one that writes to a
// database. It keeps no objects, only the key, UID and version of each acknowledged one.
//
//   - The record determines which method of the handler is called. After a restart with
//     a storage that was seeded from the database, an unchanged object costs nothing,
//     and an object that is gone is deleted.
//   - Delivery is at least once. OnDelete is called only for an object that is gone, or
//     that no longer matches a [FilteringResourceEventHandler]. See
//     [ResourceEventHandler], and [informer.Reflector] for how deletions are found.
//   - A key that fails is retried later and does not delay others, unless MaxPending
//     keys fail: see [InformerConfig.MaxPending].
//   - Beside the storage, memory is bounded by MaxPending, MaxPendingBytes and one page
//     of a list, whatever the size of the collection and the speed of the handler.
//
// Its methods can be called from any goroutine at any time, also by the handler.
type ResourceVersionInformer[T any] struct {
	name      string
	cfg       InformerConfig[T]
	storage   ResourceVersionStorage
	extra     store.Sink[T] // nil: none
	skipSync  bool
	reflector *informer.Reflector[T]
	pending   *pending.Queue[T]
	count     mirrorCounters
	panics    *usercode.Panics

	thin struct { // of the failures in logs
		sync.Mutex
		check.Thinner
	}
	started atomic.Bool

	initial   atomic.Bool // no pass was complete yet, nor a watch resumed
	synced    chan struct{}
	closeSync sync.Once
	watching  chan bool // a watch was opened, or ended
}

// NewResourceVersionInformer returns an informer that does nothing until Run. The name
// identifies it in errors, logs and metrics. It returns an error if the name is empty, a
// required field is not set, or a setting is invalid.
func NewResourceVersionInformer[T any](name string, cfg InformerConfig[T]) (*ResourceVersionInformer[T], error) {
	if name == "" {
		return nil, errors.New("mirror: the name is empty: give one that is unique in this process, such as \"cluster-1/pods\"")
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("mirror %s: %w", name, err)
	}
	i := &ResourceVersionInformer[T]{
		name: name, cfg: cfg, storage: cfg.Storage, skipSync: cfg.SkipSync,
		pending:  pending.New[T](cfg.MaxPending, cfg.MaxPendingBytes, cfg.ResumeVersion),
		panics:   usercode.New(name, cfg.Log),
		synced:   make(chan struct{}),
		watching: make(chan bool, 1),
	}
	if !check.IsNil(cfg.ExtraStore) {
		i.extra = cfg.ExtraStore
	}
	i.initial.Store(true)
	i.count.remaining.Store(-1)
	reflector, err := informer.NewReflector(informer.Config[T]{
		Name: name, Source: cfg.Source, Sink: &mirrorSink[T]{ResourceVersionInformer: i}, ResumeFrom: cfg.ResumeVersion,
		Settings: cfg.Settings,
		Observer: informer.Observers(informer.ObserverFunc(i.observe), informer.ErrorObserver(cfg.ErrorHandler), cfg.Observer),
		Log:      cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	i.reflector = reflector
	return i, nil
}

// Run mirrors until ctx ends, and returns the cause of that. It must be called once: a
// second call returns an error at once. It waits for handler calls in flight, whose
// context has then ended. When Run returns, no request is in flight, no goroutine is
// left, and the handler, the storage and the observers are not called again. The one
// exception is a ListerWatcher that ignores its context, see [source.FromListerWatcher].
//
// Pending changes are not delivered. A later informer that resumes gets them again.
// ResumeVersion and Snapshot can be called afterwards.
func (i *ResourceVersionInformer[T]) Run(ctx context.Context) error {
	if !i.started.CompareAndSwap(false, true) {
		return fmt.Errorf("mirror %s: Run was called before: make a new one to run again", i.name)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for range i.cfg.Workers {
		wg.Go(func() { i.deliver(ctx) })
	}
	if updater, ok := i.cfg.Handler.(ResourceVersionUpdater); ok {
		wg.Go(func() { i.saveResumeVersion(ctx, updater) })
	}
	if i.cfg.ResumeVersion != "" {
		wg.Go(func() { i.awaitResumption(ctx) })
	}
	err := i.reflector.Run(ctx)
	cancel(err)
	i.pending.Close()
	wg.Wait()
	return err
}

// HasSynced reports whether the handler acknowledged everything that the first complete
// list had, including the deletions that it implied. With a watch that resumes, it is
// true once the watch works: with the first event or bookmark, or after a second. It
// stays true during later lists. It does not become true because Run ends.
func (i *ResourceVersionInformer[T]) HasSynced() bool { return pending.Closed(i.synced) }

// Synced returns a channel that is closed when HasSynced is true.
func (i *ResourceVersionInformer[T]) Synced() <-chan struct{} { return i.synced }

// ResumeVersion returns the version that a later informer can resume from, with a storage
// that has what was acknowledged so far. Every change up to that version was acknowledged,
// including those that were concluded from lists. It is empty if there is no such version:
// before all changes of the first list were acknowledged, and during a list that follows
// an expired version or a server that went back in time.
//
// Later changes can have been acknowledged as well. They come again, and are dropped if
// the record has the same or a newer version. An object that was deleted has no record: it
// can be added once more until its deletion comes again. Versions that are not numbers
// cannot be ordered: an object can then go back to an older state until the later changes
// come again.
//
// A key that keeps failing holds the version back: see [InformerStats.HeldBack].
//
// To save it with the rows, call it in the transaction, after the writes. A version from an
// earlier call must not replace one from a later call.
func (i *ResourceVersionInformer[T]) ResumeVersion() string { return i.pending.ResumeVersion() }

// Snapshot returns the resume version and the records, for a caller that saves both at
// once. The sequence is that of [ResourceVersionStorage], and can be iterated while the
// informer runs. It has only acknowledged states, and all that are older than the version.
func (i *ResourceVersionInformer[T]) Snapshot() (resumeVersion string, versions iter.Seq2[store.Meta, error]) {
	return i.ResumeVersion(), i.storage.All()
}

// LastContact returns the time of the last answer, event or bookmark of the server, or zero
// if there was none. A server sends a bookmark about every minute if nothing else happens:
// a much older time means that the mirror is stale.
func (i *ResourceVersionInformer[T]) LastContact() time.Time { return i.reflector.Info().Contact }

// Resync requests a new pass, see [informer.Reflector.Resync].
func (i *ResourceVersionInformer[T]) Resync(cause error) { i.reflector.Resync(cause) }

// isInitial reports whether no pass was complete yet, nor a watch resumed.
func (i *ResourceVersionInformer[T]) isInitial() bool { return i.initial.Load() }

// begun ends the initial phase: a pass is complete, or the server goes on with a resumed
// watch.
func (i *ResourceVersionInformer[T]) begun() {
	if i.initial.CompareAndSwap(true, false) {
		i.checkSynced()
	}
}

// checkSynced closes synced once everything initial was acknowledged.
func (i *ResourceVersionInformer[T]) checkSynced() {
	if !i.HasSynced() && !i.isInitial() && i.pending.AcknowledgedInitial() {
		i.closeSync.Do(func() { close(i.synced) })
	}
}

// observe is the informer's own observer.
func (i *ResourceVersionInformer[T]) observe(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
	switch o.(type) {
	case informer.WatchOpened, informer.WatchEnded:
		_, open := o.(informer.WatchOpened)
		select {
		case <-i.watching:
		default:
		}
		i.watching <- open // from one goroutine only, so there is room
	}
}

// report calls the error handler for a failure outside the Reflector.
func (i *ResourceVersionInformer[T]) report(err error) {
	_ = i.panics.Call("error handler", "", store.Key{}, func() { i.cfg.ErrorHandler(i.reflector.Info(), err) })
}

// resumption is how long a watch must live to prove that the server still has the version
// that it was resumed from. A server without the version fails the watch at once.
const resumption = time.Second

// awaitResumption ends the initial phase when a watch from the saved version has lived for
// resumption.
func (i *ResourceVersionInformer[T]) awaitResumption(ctx context.Context) {
	timer := time.NewTimer(resumption)
	defer timer.Stop()
	timer.Stop()
	for {
		select {
		case open := <-i.watching:
			timer.Stop()
			if open {
				timer.Reset(resumption)
			}
		case <-timer.C:
			i.begun()
			return
		case <-i.synced:
			return
		case <-ctx.Done():
			return
		}
	}
}

// saveResumeVersion calls the updater with each resume version, except those that are
// outdated by the time of the call.
func (i *ResourceVersionInformer[T]) saveResumeVersion(ctx context.Context, updater ResourceVersionUpdater) {
	saved := i.cfg.ResumeVersion
	var failures int
	var since time.Time
	for {
		select {
		case <-i.pending.Moved:
		case <-ctx.Done():
			return
		}
		version := i.ResumeVersion()
		if version == saved {
			continue
		}
		if err := save(ctx, updater, version); err == nil {
			if saved = version; failures > 0 {
				i.reflector.Report(informer.ConsumerRecovered{Retries: failures, After: time.Since(since)})
				failures = 0
			}
		} else {
			i.panics.Report(err)
			pending.Notify(i.pending.Moved) // once more
			if ctx.Err() == nil {
				if failures++; failures == 1 {
					since = time.Now()
				}
				i.failed(informer.ConsumerFailed{Change: "UpdateResourceVersion", Retries: failures - 1, Since: since, Next: i.cfg.ResumeInterval, Err: err})
				i.report(&informer.HandlerError{Call: "UpdateResourceVersion", Meta: store.Meta{Version: version}, RetryIn: i.cfg.ResumeInterval, Err: err})
			}
		}
		select {
		case <-time.After(i.cfg.ResumeInterval):
		case <-ctx.Done():
			return
		}
	}
}

// save calls the updater. A panic is an error.
func save(ctx context.Context, updater ResourceVersionUpdater, version string) (err error) {
	defer usercode.Recover("UpdateResourceVersion", store.Key{}, &err)
	return updater.UpdateResourceVersion(ctx, version)
}
