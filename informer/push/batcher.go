// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/check"
)

// BatcherConfig configures a [Batcher]. Consumer, and one of ListerWatcher and
// Source, are required; the zero value of everything else is a useful default.
type BatcherConfig[T any] struct {
	// ListerWatcher is what is told, Transform makes the T of an object, and
	// SourceOptions say how they are read, as in [mirror.InformerConfig]. Source is an
	// alternative to all of them; if the consumer modifies objects it has to be one
	// [source.WithoutSharing].
	ListerWatcher cache.ListerWatcher
	Transform     func(runtime.Object) (T, error)
	SourceOptions []source.SourceOption
	Source        informer.Source[T]

	// Consumer is told.
	Consumer BatchConsumer[T]

	// Merger says how changes are merged, delivered, and tried again. Its
	// ErrorHandler is told what Batcher's is not: failures of OnBatch, and what
	// was not delivered at the end.
	Merger MergerConfig[T]

	// MinSnapshotInterval is the least time between two snapshots that were asked
	// for, by Resync or by a consumer that fails. Default 10 s; negative: none.
	MinSnapshotInterval time.Duration

	// ErrorHandler is told of failures to list and to watch, those of snapshots
	// included: see [informer.ErrorObserver]. Default: [informer.DefaultWatchErrorHandler].
	ErrorHandler informer.WatchErrorHandler

	// Observer is told what happens. Optional.
	Observer informer.Observer

	// Settings tune the reading. What differs for a Batcher: passes are read in pages
	// unless Lists is [informer.ListStreamed], and the default of ListBudget is
	// [informer.ProcessListBudget]. Each pass is a snapshot, those of PollInterval,
	// CheckInterval and ResyncInterval included.
	informer.Settings
}

const defaultSnapshotInterval = 10 * time.Second

func (c *BatcherConfig[T]) complete() error {
	switch {
	case check.IsNil(c.Consumer):
		return errors.New("BatcherConfig.Consumer is nil: give what is to be told")
	case check.IsNil(c.Source) && check.IsNil(c.ListerWatcher):
		return errors.New("BatcherConfig.ListerWatcher and Source are nil: give what is to be read")
	case !check.IsNil(c.Source) && !check.IsNil(c.ListerWatcher):
		return errors.New("BatcherConfig.ListerWatcher and Source are both set: give one of them")
	case !check.IsNil(c.Source) && c.Transform != nil:
		return errors.New("BatcherConfig.Transform is for a ListerWatcher: a Source makes its own objects")
	case !check.IsNil(c.Source) && len(c.SourceOptions) > 0:
		return errors.New("BatcherConfig.SourceOptions are for a ListerWatcher: give them to what makes the Source")
	}
	if err := check.Validate(c.Consumer); err != nil {
		return fmt.Errorf("BatcherConfig.Consumer: %w", err)
	}
	if check.IsNil(c.Source) {
		c.Source = source.FromListerWatcher(c.ListerWatcher, c.Transform, append(slices.Clip(c.SourceOptions), source.WithoutSharing())...)
	}
	if c.ListBudget == nil {
		c.ListBudget = informer.ProcessListBudget()
	}
	orDefault(&c.MinSnapshotInterval, defaultSnapshotInterval)
	return nil
}

// Batcher tells a [BatchConsumer], such as one that pushes to a remote service, a
// collection of an API server: all of it as a snapshot, then merged batches of what
// changes. A consumer that fails is told again; one that fails for good, or that asks
// for it by [store.ErrResync], gets a new snapshot.
//
//   - A watch that ends is resumed. There is a snapshot only when there is a pass of
//     the [informer.Reflector]: at first, when the server has forgotten the version, when the
//     consumer failed for good, when Resync was called, and each PollInterval where the
//     server does not watch.
//   - No list and no object is kept: of what the consumer has accepted there are the
//     key, the UID and the version, and what is pending is bounded.
//
// Its methods may be called from any goroutine at any time.
type Batcher[T any] struct {
	name      string
	cfg       BatcherConfig[T]
	merger    *EventMerger[T]
	reflector *informer.Reflector[T]
	started   atomic.Bool
	synced    chan struct{}
	snapshots atomic.Uint64

	mu     sync.Mutex
	wanted bool          // a snapshot was asked for, and none has begun since
	cause  error         // why
	wake   chan struct{} // has a token when one was asked for
}

// NewBatcher returns a Batcher that does nothing until Run. The name tells it from
// others in errors, logs and metrics. It fails if something is missing or a setting
// makes no sense.
func NewBatcher[T any](name string, cfg BatcherConfig[T]) (*Batcher[T], error) {
	if name == "" {
		return nil, errors.New("batcher: the name is empty: give one that tells it from others, such as \"cluster-1/pods\"")
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("batcher %s: %w", name, err)
	}
	b := &Batcher[T]{name: name, cfg: cfg, synced: make(chan struct{}), wake: make(chan struct{}, 1)}
	var err error
	if b.merger, err = NewEventMerger(name, cfg.Merger, cfg.Consumer.OnBatch); err != nil {
		return nil, fmt.Errorf("batcher %s: %w", name, err)
	}
	b.cfg.Consumer = safeConsumer[T]{cfg.Consumer, b.merger.panics}
	b.merger.fenced.Store(true) // until the first snapshot
	b.merger.giveUp = func(err error) {
		b.merger.fence()
		b.Resync(err)
	}
	b.reflector, err = informer.NewReflector(informer.Config[T]{
		Name: name, Source: cfg.Source, Sink: &batchSink[T]{Batcher: b},
		Settings: cfg.Settings,
		Observer: informer.Observers(informer.ErrorObserver(cfg.ErrorHandler), cfg.Observer),
		Log:      cfg.Merger.Log,
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Run tells the consumer until ctx ends, then delivers what is pending once more, for
// [MergerConfig.StopTimeout] at most, and returns the cause of the end. If something
// was not accepted the error wraps an [*UndeliveredError] as well. It must be called
// once. When it returns nothing is under way and no call will follow.
func (b *Batcher[T]) Run(ctx context.Context) error {
	if !b.started.CompareAndSwap(false, true) {
		return fmt.Errorf("batcher %s: Run was called before: make a new Batcher to run again", b.name)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var (
		wg  sync.WaitGroup
		err error
	)
	wg.Go(func() { err = b.merger.Run(ctx) })
	wg.Go(func() { b.grantSnapshots(ctx) })
	cancel(b.reflector.Run(ctx))
	wg.Wait()
	return err
}

// Resync asks for a new snapshot because of reason. Several requests before it begins
// are one, and it may have to wait for MinSnapshotInterval; what is pending goes on
// being delivered meanwhile. It does not block.
func (b *Batcher[T]) Resync(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.wanted {
		b.wanted, b.cause = true, reason
	}
	pending.Notify(b.wake)
}

// Flush is that of [EventMerger].
func (b *Batcher[T]) Flush(ctx context.Context) error { return b.merger.Flush(ctx) }

// Synced returns a channel that is closed when the consumer has accepted the first
// snapshot.
func (b *Batcher[T]) Synced() <-chan struct{} { return b.synced }

// HasSynced reports whether Synced is closed.
func (b *Batcher[T]) HasSynced() bool { return pending.Closed(b.synced) }

// BatcherStats says how a [Batcher] is doing.
type BatcherStats struct {
	// Name is that of the Batcher.
	Name string

	// Reflector says what the reading side does.
	Reflector informer.ReflectorInfo

	// Synced is HasSynced, Snapshots how many were accepted.
	Synced    bool
	Snapshots uint64

	MergerStats
}

// Stats returns the figures of the moment.
func (b *Batcher[T]) Stats() BatcherStats {
	s := BatcherStats{
		Name: b.name, Reflector: b.reflector.Info(), Synced: b.HasSynced(), Snapshots: b.snapshots.Load(),
		MergerStats: b.merger.Stats(),
	}
	s.Panics += s.Reflector.Panics
	return s
}

// grantSnapshots passes on requests for snapshots, so that they are far enough apart.
func (b *Batcher[T]) grantSnapshots(ctx context.Context) {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return
		}
		b.mu.Lock()
		wanted, cause := b.wanted, b.cause
		b.mu.Unlock()
		if !wanted {
			continue // one has begun meanwhile
		}
		b.reflector.Resync(cause)
		select {
		case <-time.After(b.cfg.MinSnapshotInterval):
		case <-ctx.Done():
			return
		}
	}
}

// begun is told that a snapshot begins, which serves whoever asked for one.
func (b *Batcher[T]) begun() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted, b.cause = false, nil
}
