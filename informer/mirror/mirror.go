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

// ResourceVersionInformer mirrors a collection to a handler, such as one that
// writes to a database, without keeping the objects in memory: only the key, the
// UID and the version of each one that the handler acknowledged are recorded.
//
//   - What is recorded decides what the handler is told. After a restart, with a
//     storage that was seeded from the database, an object that has not changed
//     costs nothing, and one that vanished meanwhile is deleted.
//   - At least once, and OnDelete only for an object that is gone, or has left a
//     [FilteringResourceEventHandler]: see [ResourceEventHandler], and
//     [informer.Reflector] for what a deletion is concluded from.
//   - A key that fails is tried again after a while, and holds up no other, unless as
//     many fail as there is room for: see [InformerConfig.MaxPending].
//   - What is in memory beside the storage is bounded by [InformerConfig.MaxPending],
//     MaxPendingBytes, and a page of a list, whatever the size of the collection
//     and the speed of the handler.
//
// Its methods may be called from any goroutine at any time, also by the handler.
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
	started   atomic.Bool

	initial   atomic.Bool // there has been no complete pass, nor anything to resume from
	synced    chan struct{}
	closeSync sync.Once
	watching  chan bool // a watch was opened, or ended
}

// NewResourceVersionInformer returns an informer that does nothing until Run. The
// name tells it from others in errors, logs and metrics. It fails if the handler or
// what to mirror is missing, or if a setting makes no sense.
func NewResourceVersionInformer[T any](name string, cfg InformerConfig[T]) (*ResourceVersionInformer[T], error) {
	if name == "" {
		return nil, errors.New("informer: the name is empty: give one that tells it from others, such as \"cluster-1/pods\"")
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("informer %s: %w", name, err)
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

// Run mirrors until ctx ends, and returns the cause of that. It must be called
// once: a second call returns an error at once. When it returns, no request is
// under way, no goroutine is left, and no call of the handler, the storage or an
// observer will follow; it waits for handler calls that are under way, whose
// context has then ended. (For the one exception, a ListerWatcher that ignores its
// context, see [source.FromListerWatcher].)
//
// What was pending is not delivered: it was not acknowledged, so it comes again to
// whoever resumes. ResumeVersion and All may be used afterwards.
func (i *ResourceVersionInformer[T]) Run(ctx context.Context) error {
	if !i.started.CompareAndSwap(false, true) {
		return fmt.Errorf("informer %s: Run was called before: make a new informer to run again", i.name)
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

// HasSynced reports whether everything that the first complete list showed, the
// deletions that it implied included, was acknowledged by the handler: the channel
// of Synced is closed. It stays true over later lists. If watching could be resumed
// there was nothing to catch up on, and it is true once the server goes on with that:
// with the first event or bookmark, or after the watch has lived for a second. It
// does not become true by a stop.
func (i *ResourceVersionInformer[T]) HasSynced() bool { return pending.Closed(i.synced) }

// Synced returns a channel that is closed when HasSynced is true.
func (i *ResourceVersionInformer[T]) Synced() <-chan struct{} { return i.synced }

// ResumeVersion returns the version that a later informer may resume from, with a
// storage that holds what was acknowledged up to now: every change up to that
// version was acknowledged, those included that were concluded from lists. Later
// ones may have been, too; they will come once more, and so may the handler's view
// of an object go back to an older state until they have. It is empty if there is
// no such version: before the first list was acknowledged whole, and while a list
// is made because the server has forgotten the version or went back in time.
//
// A key that keeps failing holds it back; [InformerStats.HeldBack] tells which.
//
// To save it along with what was written, call it within the transaction, after
// the writes. What is saved must not be replaced by what an earlier call returned.
func (i *ResourceVersionInformer[T]) ResumeVersion() string { return i.pending.ResumeVersion() }

// Snapshot returns the resume version and what is recorded, for an owner that saves
// both at once. The sequence is that of [ResourceVersionStorage], and may be
// iterated while the informer runs: what it has is acknowledged, and it lacks
// nothing that is older than the version.
func (i *ResourceVersionInformer[T]) Snapshot() (resumeVersion string, versions iter.Seq2[store.Meta, error]) {
	return i.ResumeVersion(), i.storage.All()
}

// LastContact returns when the server was last heard of: an answer, an event or a
// bookmark. It is zero if it never was. Servers send a bookmark about every minute
// if nothing else happens, so what is much older than that is stale.
func (i *ResourceVersionInformer[T]) LastContact() time.Time { return i.reflector.Info().Contact }

// Resync asks for a new pass, see [informer.Reflector.Resync].
func (i *ResourceVersionInformer[T]) Resync(cause error) { i.reflector.Resync(cause) }

// isInitial reports whether the first complete pass is yet to be.
func (i *ResourceVersionInformer[T]) isInitial() bool { return i.initial.Load() }

// begun notes that nothing initial will come any more, be it because a pass is
// complete or because the server goes on with a watch that was resumed.
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
func (i *ResourceVersionInformer[T]) observe(_ informer.ReflectorInfo, o informer.Occurrence) {
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

// report tells the error handler of a failure that is not the Reflector's.
func (i *ResourceVersionInformer[T]) report(err error) {
	_ = i.panics.Call("error handler", "", store.Key{}, func() { i.cfg.ErrorHandler(i.reflector.Info(), err) })
}

// resumption is how long a watch must have lived for the server to have the version
// that it was resumed from. One that has not says so at once.
const resumption = time.Second

// awaitResumption waits until a watch from the version that was saved has lived for
// a while, or is no longer needed.
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

// saveResumeVersion tells the handler of each resume version, but for those that
// are outdated by the time that it has its turn.
func (i *ResourceVersionInformer[T]) saveResumeVersion(ctx context.Context, updater ResourceVersionUpdater) {
	saved := i.cfg.ResumeVersion
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
			saved = version
		} else {
			i.panics.Report(err)
			pending.Notify(i.pending.Moved) // once more
			if ctx.Err() == nil {
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

// save hands a resume version to the handler.
func save(ctx context.Context, updater ResourceVersionUpdater, version string) (err error) {
	defer usercode.Recover("UpdateResourceVersion", store.Key{}, &err)
	return updater.UpdateResourceVersion(ctx, version)
}
