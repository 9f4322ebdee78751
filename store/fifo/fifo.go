// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package fifo is a queue of objects for several consumers. It holds the latest state of
// each key, in the order in which the keys were added, and leases a key to one consumer at
// a time. Use it to share the objects of a source between workers.
//
//	queue, err := fifo.New(store.MetaNamespaceKeyFunc[*corev1.Pod])
//	...
//	for { // in each worker
//		lease, err := queue.Pop(ctx)
//		if err != nil {
//			return err
//		}
//		if err := process(lease.Object()); err != nil {
//			lease.Retry(time.Second)
//			continue
//		}
//		lease.Done()
//	}
//
// [FIFO.Add] adds an object, and the sink of [FIFO.Sink] all objects of a source.
package fifo

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/apiary-go/apiary/store"
)

// ErrClosed is wrapped by the errors of a closed queue: it accepts no objects, or there
// is nothing left to pop.
var ErrClosed = errors.New("the queue is closed")

// FIFO is a queue of objects, at most one for each key, for any number of producers and
// consumers. A slow consumer misses states of an object, but never the latest one.
//
//   - Keys are popped in the order in which they were queued. An object that is added
//     while its key is queued replaces the queued object, at the same place.
//   - [FIFO.Pop] returns a [Lease]. A leased key is not popped again until the lease ends.
//     An object that is added meanwhile is queued, and moves to the tail when the lease
//     ends.
//   - A deleted object is removed from the queue. A lease of its key continues.
//   - Memory is bounded by the number of queued and leased objects.
//   - Each object that becomes available wakes one consumer, not all.
//
// All methods can be called from any goroutine, at any time. Only Pop blocks. The KeyFunc
// runs under no lock. Objects are shared with their producer and must not be modified.
//
// Create a FIFO with [New]. It must not be copied. It can be garbage collected without
// Close, when no delay of [Lease.Retry] is pending.
type FIFO[T any] struct {
	key  store.KeyFunc[T]
	name string
	base time.Time // of item.due

	mu sync.Mutex

	// byKey holds the leased item of a key, or else its queued item.
	byKey map[store.Key]*item[T]
	most  int // the largest size of byKey since it was made

	// Each queued item is in one of these. kept has the items of leased keys.
	ready, kept line[T]
	delayed     delays[T]
	timer       *time.Timer // runs while delayed is not empty
	retries     uint64      // orders items that are due at the same time
	spare       []*item[T]

	waiting []chan struct{} // one for each waiting Pop, the longest first
	idle    []chan struct{} // for later Pops

	closed bool
	open   bool   // a pass has begun and not ended
	mark   uint32 // counts the passes

	// whole is set after the first pass. initial is the number of its objects that
	// are still queued.
	whole   bool
	initial int

	stats Stats // except Delayed, which is computed
}

// Stats are the figures of a [FIFO]. Counters start at its construction.
type Stats struct {
	// Queued is the number of queued objects. Delayed is the number of those that wait
	// for the delay of a Retry.
	Queued, Delayed int

	// Leased is the number of leases that have not ended.
	Leased int

	// Popped counts popped objects. Retried counts objects that Retry queued again.
	Popped, Retried uint64

	// Merged counts objects that were replaced in the queue, or not queued again, in
	// favor of a later object of their key, and objects that AddIfNotPresent did not
	// add.
	Merged uint64

	// Dropped counts objects that were removed from the queue, or not queued again,
	// because their key was deleted, or was missing in a Replace or a pass.
	Dropped uint64

	// Stale counts changes of a source, between passes, that were older than the queued
	// or leased object.
	Stale uint64
}

// New returns an empty FIFO. It returns an error if key is nil.
func New[T any](key store.KeyFunc[T]) (*FIFO[T], error) {
	if key == nil {
		return nil, errors.New("fifo.New: KeyFunc is nil: set one, for example store.MetaNamespaceKeyFunc")
	}
	return &FIFO[T]{
		key:   key,
		name:  "queue of " + reflect.TypeFor[T]().String(),
		base:  time.Now(),
		byKey: map[store.Key]*item[T]{},
	}, nil
}

// Add queues obj. If its key is queued, obj replaces the queued object at the same place.
// Otherwise, or if the queued object waits for the delay of a Retry, obj goes to the tail,
// without a delay.
//
// Like all methods that take an object, it returns an error, and changes nothing, if obj
// has no key. After Close it returns [ErrClosed].
func (f *FIFO[T]) Add(obj T) error { return f.add(obj, true) }

// Update is the same as Add.
func (f *FIFO[T]) Update(obj T) error { return f.add(obj, true) }

// AddIfNotPresent is like Add if the key of obj is not queued. Otherwise it changes
// nothing, not even a delay. It returns the same errors as Add.
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

// Delete removes the queued object of obj's key, if there is one. If the key is leased,
// Retry does not queue it again. A later Add goes to the tail.
//
// It returns an error only if obj has no key. It can be called after Close.
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

// Replace replaces the content of the queue with objs, in this order and without delays.
// If several objects have the same key, the last one is queued at the place of the first.
// Replace returns the removed objects of other keys, in the order of the queue. Leases of
// other keys continue, but Retry does not queue them again.
//
// If one of objs has no key, or after Close ([ErrClosed]), it returns an error and changes
// nothing. The caller keeps the slice.
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
	f.setSynced()
	return dropped, nil
}

// ordered returns the distinct keys of objs, and the last index of each key in objs.
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

// Get returns the queued object of key. Leased objects are not queued.
func (f *FIFO[T]) Get(key store.Key) (obj T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if it := f.queuedAt(key); it != nil {
		return it.obj, true
	}
	return obj, false
}

// List returns the queued objects: first those that can be popped, then those that wait
// for a lease of their key, both in queue order, then those that wait for the delay of a
// Retry, in the order in which the delays end. The caller owns the slice.
func (f *FIFO[T]) List() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]T, 0, f.stats.Queued)
	for _, it := range f.queued() {
		list = append(list, it.obj)
	}
	return list
}

// Len returns the number of queued objects.
func (f *FIFO[T]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats.Queued
}

// HasSynced returns true if there was a Replace, or a complete pass of the [FIFO.Sink],
// and all objects of the first one have been popped or deleted. The first one can be
// empty. Once true, the result stays true.
func (f *FIFO[T]) HasSynced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole && f.initial == 0
}

// Stats returns the current figures.
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
