// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// ErrMergerStopped is returned by Add and Flush once Run has ended.
var ErrMergerStopped = errors.New("the merger was stopped")

// EventMerger merges changes by key and delivers them in batches. It knows which states the
// consumer has accepted, and which changes are pending:
//
//	pending              next                   delivered
//	nothing              added, modified        BatchAdded or BatchModified, by what the consumer has
//	nothing              deleted                BatchDeleted
//	added                modified               BatchAdded, with the newer object
//	added, new           deleted                nothing
//	modified             modified               BatchModified, Old is what the consumer has
//	added, modified      deleted                BatchDeleted, if the consumer has it or may have it
//	deleted              added, another UID     BatchReplaced
//	replaced             modified               BatchReplaced, with the newer object
//	replaced             deleted                BatchDeleted, of what the consumer has
//	anything             not newer              nothing: it is counted as stale
//
// It is for changes from any source. For those of an API server, use a [Batcher].
//
// Methods can be called from any goroutine at any time. The consumer must not call a method
// that waits for a delivery.
type EventMerger[T any] struct {
	name     string
	cfg      MergerConfig[T]
	consumer BatchEventConsumer[T]
	pending  *pending.Queue[T]
	started  atomic.Bool
	stopped  chan struct{}

	adding  sync.Mutex // held by Add: pending is for one goroutine
	last    atomic.Int64
	base    time.Time
	added   chan struct{} // has a token when something was added or may be delivered
	flushes chan flush

	// versions has what the consumer has accepted. If fenced, what is pending waits for a
	// snapshot. The holder of the turn changes both. givenUp counts changes that a snapshot
	// has or will have.
	versions atomic.Pointer[mirror.ResourceVersions]
	fenced   atomic.Bool
	givenUp  atomic.Int64

	// turn is held during a call of the consumer. The rest belongs to its holder.
	turn     chan struct{}
	epoch    uint64
	failures int
	failing  time.Time              // since
	refusals map[store.Key]*refusal // what the consumer refused, and has not accepted since

	// giveUp is called with the turn when the consumer keeps failing. If it is nil,
	// deliveries are retried.
	giveUp func(error)

	observed observed
	count    mergerCounters
	panics   *usercode.Panics
}

type mergerCounters struct {
	batches, changes, failures, refused, vanished, stale, fenced atomic.Uint64

	dead atomic.Int64
}

// MergerStats has the statistics of an [EventMerger]. Counters count from its construction.
type MergerStats struct {
	// Pending is the number of changes that the consumer has not accepted. PendingBytes is
	// the estimated size of their objects.
	Pending      int
	PendingBytes int64

	// Failing is the number of pending keys that the consumer refused. Dead is the number of
	// dead letters: see [DeadLetterError].
	Failing, Dead int

	// Accepted is the number of objects that the consumer has.
	Accepted int

	// Batches and Changes count accepted ones, Failures the calls of OnBatch that failed as a
	// whole, Refused the refusals of single objects.
	Batches, Changes, Failures, Refused uint64

	// Vanished counts changes of which nothing is left to deliver, such as of an object that
	// came and went. Stale counts changes that were not newer. Fenced counts changes that were
	// dropped because a snapshot had them.
	Vanished, Stale, Fenced uint64

	// Panics counts the panics of user code, of a Batcher those of the reading side included.
	Panics uint64
}

type flush struct {
	upTo uint64
	done chan error

	err    error // of the last refusal
	failed bool  // a whole batch was refused
}

// NewEventMerger returns a merger that delivers nothing until Run. The name identifies it in
// errors and logs. It fails if the consumer is missing or a setting is invalid.
func NewEventMerger[T any](name string, cfg MergerConfig[T], consumer BatchEventConsumer[T]) (*EventMerger[T], error) {
	if consumer == nil {
		return nil, fmt.Errorf("merger %s: the consumer is nil: give the function that receives batches", name)
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("merger %s: %w", name, err)
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = logFailures(name)
	}
	m := &EventMerger[T]{
		name: name, cfg: cfg, consumer: consumer, panics: usercode.New(name, cfg.Log),
		pending: pending.New[T](cfg.MaxPending, cfg.MaxPendingBytes, ""),
		stopped: make(chan struct{}),
		base:    time.Now(),
		added:   make(chan struct{}, 1),
		flushes: make(chan flush),
		turn:    make(chan struct{}, 1),

		refusals: map[store.Key]*refusal{},
	}
	m.versions.Store(mirror.NewResourceVersionStorage())
	m.pending.Batches = true
	return m, nil
}

// Add adds a change: watch.Added, watch.Modified or watch.Deleted. Of a deleted object obj is
// the last state. At MaxPending it blocks until a batch is accepted or ctx ends. It fails with
// [ErrMergerStopped] after Run has ended. It can be called before Run.
//
// A change that is not newer than what is pending or accepted is counted and dropped.
func (m *EventMerger[T]) Add(ctx context.Context, kind watch.EventType, meta store.Meta, obj T) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("merger %s: a change of an object without a name (%v): fill in Meta.Key, as store.MetaOf does", m.name, meta)
	}
	c := &pending.Change[T]{Meta: meta, Obj: obj, Size: int64(m.cfg.SizeOf(obj))}
	switch kind {
	case watch.Added:
	case watch.Modified:
		c.Unknown = true
	case watch.Deleted:
		c.Gone, c.Known, c.Unknown = true, true, true
	default:
		return fmt.Errorf("merger %s: a change of type %q: want Added, Modified or Deleted", m.name, kind)
	}
	if m.hasStopped() { // which may take the lock for a while
		return m.errStopped()
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	if m.isStale(c) {
		return nil
	}
	for !m.hasStopped() && !m.pending.Admits(meta.Key, c.Size) {
		select {
		case <-m.pending.Room:
		case <-m.stopped:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if m.hasStopped() {
		return m.errStopped()
	}
	if _, _, ok := m.pending.Latest(meta.Key); ok {
		c.Unknown = false // the first change of the key is known
	}
	m.put(c)
	return nil
}

func (m *EventMerger[T]) hasStopped() bool { return pending.Closed(m.stopped) }

func (m *EventMerger[T]) errStopped() error {
	return fmt.Errorf("merger %s: %w", m.name, ErrMergerStopped)
}

// put adds a change that is newer.
func (m *EventMerger[T]) put(c *pending.Change[T]) {
	m.pending.Put(c)
	m.last.Store(int64(time.Since(m.base)))
	pending.Notify(m.added)
}

// isStale reports whether c is not newer than what is pending or accepted, and counts it.
func (m *EventMerger[T]) isStale(c *pending.Change[T]) bool {
	held, _, ok := m.pending.Latest(c.Meta.Key)
	if !ok {
		held, ok, _ = m.versions.Load().Get(c.Meta.Key) // in memory: no error
	}
	old := store.Stale
	if c.Gone {
		old = store.Superseded
	}
	if !ok || !old(c.Meta, held) {
		return false
	}
	m.count.stale.Add(1)
	return true
}

// Flush delivers what is pending now, without waiting for Quiet, MaxDelay or a backoff. It
// returns when all of that is accepted, part of a snapshot or a dead letter. It fails with the
// error of the consumer when a batch is refused, or when only refused objects are left of it.
// It fails as well when ctx ends, and with [ErrMergerStopped].
func (m *EventMerger[T]) Flush(ctx context.Context) error {
	_, _, last := m.pending.Waiting()
	f := flush{upTo: last, done: make(chan error, 1)}
	select {
	case m.flushes <- f:
	case <-m.stopped:
		return m.errStopped()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stats returns the current statistics. It does not wait for the consumer.
func (m *EventMerger[T]) Stats() MergerStats {
	state := m.pending.State()
	return MergerStats{
		Pending: state.Objects, PendingBytes: state.Bytes, Failing: state.Failing, Dead: int(m.count.dead.Load()), Accepted: m.versions.Load().Len(),
		Batches: m.count.batches.Load(), Changes: m.count.changes.Load(), Failures: m.count.failures.Load(), Refused: m.count.refused.Load(),
		Vanished: m.count.vanished.Load(), Stale: m.count.stale.Load(), Fenced: m.count.fenced.Load(),
		Panics: m.panics.Count(),
	}
}

// Run delivers changes until ctx ends. It then delivers what is pending once more, for at most
// StopTimeout, and returns the cause of the end. If changes were not accepted, the error wraps
// an [*UndeliveredError] as well, which the ErrorHandler gets too. It must be called once. When
// it returns, the consumer is not called any more.
func (m *EventMerger[T]) Run(ctx context.Context) error {
	if !m.started.CompareAndSwap(false, true) {
		return fmt.Errorf("merger %s: Run was called before: make a new one to run again", m.name)
	}
	waiting := m.deliver(ctx)
	close(m.stopped)
	m.adding.Lock() // an Add that runs is delivered too
	defer m.adding.Unlock()
	err := m.deliverLast(ctx)
	for _, f := range waiting {
		f.done <- m.errStopped()
	}
	m.pending.Close()
	return err
}
