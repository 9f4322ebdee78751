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
	// ListerWatcher reads the collection. Transform makes a T of an object. SourceOptions
	// configure how objects are read. All three are as in [mirror.InformerConfig]. Source is
	// an alternative to them. If the consumer modifies objects, Source must be made
	// [source.WithoutSharing].
	ListerWatcher cache.ListerWatcher
	Transform     func(runtime.Object) (T, error)
	SourceOptions []source.SourceOption
	Source        informer.Source[T]

	// Consumer receives the collection.
	Consumer BatchConsumer[T]

	// Merger configures how changes are merged, delivered and retried. Its ErrorHandler
	// gets what that of the Batcher does not: failures of OnBatch, refused objects, and
	// changes that were not delivered at the end.
	Merger MergerConfig[T]

	// MinSnapshotInterval is the least time between two snapshots because of Resync or of
	// a consumer that fails. Default: 10s. Negative: none.
	MinSnapshotInterval time.Duration

	// ErrorHandler is called for failed lists and watches, those of snapshots included: see
	// [informer.ErrorObserver]. Default: [informer.DefaultWatchErrorHandler].
	ErrorHandler informer.WatchErrorHandler

	// Observer gets the occurrences of the Reflector, and the failures of OnBatch and of
	// refused objects. Optional.
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
		return errors.New("BatcherConfig.Consumer is nil: give the consumer of the collection")
	case check.IsNil(c.Source) && check.IsNil(c.ListerWatcher):
		return errors.New("BatcherConfig.ListerWatcher and Source are nil: give one of them, to read the collection")
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

// Batcher sends a collection of an API server to a [BatchConsumer], such as one that pushes
// to a remote service: first a snapshot, then merged batches of changes.
//
//   - A watch that ends is resumed. Each pass of the [informer.Reflector] is a snapshot: the
//     first one, and those that follow when the server has forgotten the version, when the
//     consumer keeps failing or returns [store.ErrResync], after Resync, and each
//     PollInterval if the server does not watch.
//   - It keeps the key, UID and version of each object that the consumer has accepted, and
//     the pending changes, which are bounded.
//
// Methods can be called from any goroutine at any time.
type Batcher[T any] struct {
	name      string
	cfg       BatcherConfig[T]
	merger    *EventMerger[T]
	reflector *informer.Reflector[T]
	started   atomic.Bool
	synced    chan struct{}
	snapshots atomic.Uint64

	mu     sync.Mutex
	wanted bool          // a snapshot was requested, and none has begun since
	cause  error         // why
	wake   chan struct{} // has a token after a request
}

// NewBatcher returns a Batcher that does nothing until Run. The name identifies it in
// errors, logs and metrics. It fails if something is missing or a setting is invalid.
func NewBatcher[T any](name string, cfg BatcherConfig[T]) (*Batcher[T], error) {
	if name == "" {
		return nil, errors.New("push: the name is empty: give one that identifies it, such as \"cluster-1/pods\"")
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
	}
	b := &Batcher[T]{name: name, cfg: cfg, synced: make(chan struct{}), wake: make(chan struct{}, 1)}
	var err error
	if b.merger, err = NewEventMerger(name, cfg.Merger, cfg.Consumer.OnBatch); err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
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
	b.merger.observed.report = b.reflector.Report
	return b, nil
}

// Run calls the consumer until ctx ends. It then delivers the pending changes once more, for
// at most [MergerConfig.StopTimeout], and returns the cause of the end. If changes were not
// accepted, the error wraps an [*UndeliveredError] as well. It must be called once. When it
// returns, nothing runs any more.
func (b *Batcher[T]) Run(ctx context.Context) error {
	if !b.started.CompareAndSwap(false, true) {
		return fmt.Errorf("push %s: Run was called before: make a new one to run again", b.name)
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

// Resync requests a new snapshot because of reason. Requests before it begins are one. It can
// wait for MinSnapshotInterval, and batches are delivered meanwhile. Resync does not block.
func (b *Batcher[T]) Resync(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.wanted {
		b.wanted, b.cause = true, reason
	}
	pending.Notify(b.wake)
}

// Flush delivers pending changes at once: see [EventMerger.Flush].
func (b *Batcher[T]) Flush(ctx context.Context) error { return b.merger.Flush(ctx) }

// Synced returns a channel that is closed when the consumer has accepted the first
// snapshot.
func (b *Batcher[T]) Synced() <-chan struct{} { return b.synced }

// HasSynced reports whether Synced is closed.
func (b *Batcher[T]) HasSynced() bool { return pending.Closed(b.synced) }

// BatcherStats has the statistics of a [Batcher].
type BatcherStats struct {
	// Name is the name of the Batcher.
	Name string

	// Reflector is the state of the reading side.
	Reflector informer.ReflectorInfo

	// Synced is the result of HasSynced. Snapshots counts the accepted ones.
	Synced    bool
	Snapshots uint64

	MergerStats
}

// Stats returns the current statistics. It does not wait for the consumer.
func (b *Batcher[T]) Stats() BatcherStats {
	s := BatcherStats{
		Name: b.name, Reflector: b.reflector.Info(), Synced: b.HasSynced(), Snapshots: b.snapshots.Load(),
		MergerStats: b.merger.Stats(),
	}
	s.Panics += s.Reflector.Panics
	return s
}

// grantSnapshots hands requests for snapshots to the Reflector, MinSnapshotInterval apart.
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

// begun is called when a snapshot begins. It ends the request for one.
func (b *Batcher[T]) begun() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted, b.cause = false, nil
}
