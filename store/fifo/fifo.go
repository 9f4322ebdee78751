// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package fifo queues objects for any number of consumers: one state a key, in the order
// in which the keys came. A key is with one consumer at a time.
package fifo

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/apiary-go/apiary/store"
)

// ErrClosed says that a queue was closed: an object that was to be added was
// not, or there will be nothing more to pop.
var ErrClosed = errors.New("the queue is closed")

// FIFO is a queue of objects, at most one of each key, for any number of producers
// and consumers. Who is slow misses states of an object, but never the last one.
//
//   - Objects are handed out in the order in which their keys were queued. One that
//     is added while its key is queued takes the place of the older one.
//   - [FIFO.Pop] hands out a [Lease]. Until that has ended the key is not handed
//     out again, to nobody: what is added under it is queued, and goes to the tail
//     when the lease ends.
//   - What is deleted is not handed out any more; its place is given up. What is
//     being processed is left alone.
//   - Memory is bounded by what is queued and leased, however much comes and goes.
//   - A consumer is woken for each object that becomes available, not all of them.
//
// All methods may be called from anywhere at any time. None but Pop blocks, and no
// lock is held while the KeyFunc runs. Objects are shared with who added them, and
// must not be modified.
//
// Make one with [New]. A FIFO must not be copied. It needs no Close to be
// garbage, but lives as long as a delay of [Lease.Retry] is under way.
type FIFO[T any] struct {
	key  store.KeyFunc[T]
	name string
	base time.Time // of item.due

	mu sync.Mutex

	// byKey has the item that is leased of a key, or else what is queued under it.
	byKey map[store.Key]*item[T]
	most  int // the largest size of byKey since it was made

	// What is queued is in one of these. Kept is what is added to keys that are
	// leased.
	ready, kept line[T]
	delayed     delays[T]
	timer       *time.Timer // runs while something is delayed
	retries     uint64      // orders what is due at the same time
	spare       []*item[T]

	waiting []chan struct{} // a Pop each, the longest first
	idle    []chan struct{} // for further ones

	closed bool
	open   bool   // a pass is under way
	mark   uint32 // counts the passes

	// whole is set after the first pass, of which initial objects are still to be
	// handed out.
	whole   bool
	initial int

	stats Stats // but for what can be told from the above
}

// Stats are the figures of a [FIFO]. Counters count from its construction.
type Stats struct {
	// Queued is how many objects wait to be handed out, and Delayed how many of
	// them wait for the delay of a Retry.
	Queued, Delayed int

	// Leased is how many objects were handed out by leases that have not ended.
	Leased int

	// Popped counts objects that were handed out, Retried those of them that were
	// put back.
	Popped, Retried uint64

	// Merged counts objects that were not handed out, or not put back, because a
	// later one of their key was queued; or, by AddIfNotPresent, any one.
	Merged uint64

	// Dropped counts objects that were not handed out, or not put back, because
	// their key was deleted, or was lacking in a Replace or in a pass.
	Dropped uint64

	// Stale counts what a source told, outside of a pass, that was older than
	// what is queued or leased.
	Stale uint64
}

// New returns an empty FIFO. It fails if key is nil.
func New[T any](key store.KeyFunc[T]) (*FIFO[T], error) {
	if key == nil {
		return nil, errors.New("fifo.New: KeyFunc is nil: give one, such as store.MetaNamespaceKeyFunc")
	}
	return &FIFO[T]{
		key:   key,
		name:  "queue of " + reflect.TypeFor[T]().String(),
		base:  time.Now(),
		byKey: map[store.Key]*item[T]{},
	}, nil
}

// Add queues obj. If its key is queued obj takes the place of what is there, else
// it goes to the tail. If that was waiting for the delay of a Retry, the delay is
// over: obj goes to the tail.
//
// It fails, as all methods that take an object, if obj has no key; then nothing is
// changed. It fails with [ErrClosed] after Close.
func (f *FIFO[T]) Add(obj T) error { return f.add(obj, true) }

// Update is the same as Add.
func (f *FIFO[T]) Update(obj T) error { return f.add(obj, true) }

// AddIfNotPresent queues obj as Add does, unless its key is queued: then what is
// there stays as it is, delay included. It fails like Add.
func (f *FIFO[T]) AddIfNotPresent(obj T) error { return f.add(obj, false) }

func (f *FIFO[T]) add(obj T, replace bool) error {
	key, err := f.keyOf(obj)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.errClosed("add", key)
	}
	if !replace && f.queuedAt(key) != nil {
		f.stats.Merged++
		return nil
	}
	f.put(store.Meta{Key: key}, obj)
	return nil
}

// Delete removes what is queued under the key of obj, if there is anything. If the
// key is leased a Retry will not put it back. An Add that follows goes to the tail.
//
// It fails only if obj has no key: it may be called after Close.
func (f *FIFO[T]) Delete(obj T) error {
	key, err := f.keyOf(obj)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(key)
	return nil
}

// Replace makes objs all that is queued, in the given order, whatever was queued
// before and in which order: delays are over. Of several objects with one key it
// queues the last, at the place of the first. It returns what was queued before
// under other keys, in the order of the queue. Leases of other keys go on, but a
// Retry will not put them back.
//
// If one of objs has no key, or after Close (with [ErrClosed]), it fails, and
// nothing is changed. The slice stays with the caller.
func (f *FIFO[T]) Replace(objs []T) (dropped []T, err error) {
	order, last, err := f.ordered(objs)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("%s: replace: %w", f.name, ErrClosed)
	}
	for _, it := range f.queued() {
		if _, stays := last[it.meta.Key]; !stays {
			dropped = append(dropped, it.obj)
		}
	}
	for key := range f.byKey {
		if _, stays := last[key]; !stays {
			f.drop(key)
		}
	}
	f.stats.Merged += uint64(len(objs) - len(order))
	for _, key := range order {
		f.toTail(f.put(store.Meta{Key: key}, objs[last[key]]))
	}
	f.passed()
	return dropped, nil
}

// ordered returns the keys of objs, each once, and where in objs each was last.
func (f *FIFO[T]) ordered(objs []T) (order []store.Key, last map[store.Key]int, err error) {
	order, last = make([]store.Key, 0, len(objs)), make(map[store.Key]int, len(objs))
	for i, obj := range objs {
		key, err := f.keyOf(obj)
		if err != nil {
			return nil, nil, fmt.Errorf("object %d of %d: %w", i+1, len(objs), err)
		}
		if _, again := last[key]; !again {
			order = append(order, key)
		}
		last[key] = i
	}
	return order, last, nil
}

// Get returns what is queued under key. What is leased is not queued.
func (f *FIFO[T]) Get(key store.Key) (obj T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if it := f.queuedAt(key); it != nil {
		return it.obj, true
	}
	return obj, false
}

// List returns what is queued: first what can be handed out, then what waits for
// a lease of its key to end, both in their order, then what waits for the delay of
// a Retry, in the order in which that ends. The slice is the caller's.
func (f *FIFO[T]) List() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]T, 0, f.stats.Queued)
	for _, it := range f.queued() {
		list = append(list, it.obj)
	}
	return list
}

// Len returns how many objects are queued.
func (f *FIFO[T]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats.Queued
}

// HasSynced reports whether there was a Replace, or a whole pass of the [FIFO.Sink],
// and everything that the first of these left in the queue was handed out since,
// or was deleted. One that was empty counts. It stays true from then on.
func (f *FIFO[T]) HasSynced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole && f.initial == 0
}

// Stats returns the figures of the moment.
func (f *FIFO[T]) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats := f.stats
	stats.Delayed = len(f.delayed)
	return stats
}

func (f *FIFO[T]) keyOf(obj T) (store.Key, error) {
	key, err := f.key.Of(obj)
	if err != nil {
		return key, fmt.Errorf("%s: %w", f.name, err)
	}
	return key, nil
}

func (f *FIFO[T]) errClosed(what string, key store.Key) error {
	return fmt.Errorf("%s: %s %q: %w", f.name, what, key, ErrClosed)
}
