// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/apiary-go/apiary/store"
)

// Lease is a popped object and the exclusive right to its key. The first call of Done or
// Retry ends the lease; further calls do nothing. Both can be called from any goroutine, on
// any copy of the Lease, also after Close. They do not block. On the zero Lease they do
// nothing.
//
// Every lease must end: until then its key is not popped again, and [FIFO.Pop] does not
// return after Close. Other keys are not affected.
type Lease[T any] struct {
	key  store.Key
	obj  T
	fifo *FIFO[T]
	item *item[T] // reused by a later lease if item.lease differs from nth
	nth  uint64
}

// Key returns the key of the object.
func (l Lease[T]) Key() store.Key { return l.key }

// Object returns the latest state of the object when it was popped. The object is shared
// and must not be modified.
func (l Lease[T]) Object() T { return l.obj }

// Done ends the lease: the object was processed, or given up. If an object was added to
// the key meanwhile, it goes to the tail of the queue.
func (l Lease[T]) Done() {
	if f := l.fifo; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if l.active() {
			f.end(l.item)
		}
	}
}

// Retry ends the lease and queues the object again, at the tail, when after has passed. It
// queues the object at once if after is not positive, or if the queue is closed. The delay
// does not affect other objects. Until it is popped, the object can be listed, replaced
// and deleted like other queued objects.
//
// Later changes of the key take precedence. If an object was added since the Pop, Retry is
// the same as Done. If the key was deleted, or was missing in a Replace or a pass, the
// object is dropped.
func (l Lease[T]) Retry(after time.Duration) {
	if f := l.fifo; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if l.active() {
			f.retry(l.item, after)
		}
	}
}

// active returns true if the lease has not ended. It requires FIFO.mu.
func (l Lease[T]) active() bool { return l.item.state == isLeased && l.item.lease == l.nth }

// Pop waits for an object, removes it from the queue and leases it to the caller. Objects
// come in the order of the queue.
//
// It returns the cause of ctx when ctx has ended. It returns [ErrClosed] when the queue is
// closed and empty and all leases have ended. Until then it waits, because Retry can queue
// an object again. A caller that pops while it holds a lease must use a ctx that ends.
func (f *FIFO[T]) Pop(ctx context.Context) (Lease[T], error) {
	if ctx.Err() != nil {
		return Lease[T]{}, f.popError(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.ready.first == nil {
		if f.drained() {
			f.wakeAll()
			return Lease[T]{}, fmt.Errorf("%s: pop: %w", f.name, ErrClosed)
		}
		if !f.wait(ctx) {
			return Lease[T]{}, f.popError(ctx)
		}
	}
	it := f.ready.first
	f.ready.remove(it)
	f.uncount(it)
	f.stats.Leased++
	f.stats.Popped++
	it.state, it.lease = isLeased, f.stats.Popped
	return Lease[T]{key: it.meta.Key, obj: it.obj, fifo: f, item: it, nth: it.lease}, nil
}

// Close closes the queue for new objects: Add, Update, AddIfNotPresent and Replace return
// [ErrClosed] from now on. Queued objects can still be popped, delayed ones at once. Pop
// then returns [ErrClosed]. Close does not wait for that. Further calls do nothing.
func (f *FIFO[T]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	for len(f.delayed) > 0 {
		f.moveToReady(f.delayed[0])
	}
	f.wakeAll()
}

// end ends the lease of an item.
func (f *FIFO[T]) end(it *item[T]) {
	f.stats.Leased--
	if next := it.behind; next != nil {
		f.byKey[it.meta.Key] = next
		f.moveToReady(next)
	} else {
		f.removeKey(it.meta.Key)
	}
	f.recycle(it)
	if f.drained() {
		f.wakeAll()
	}
}

// retry ends the lease of an item, and queues it again if it is still the latest.
func (f *FIFO[T]) retry(it *item[T], after time.Duration) {
	switch {
	case it.behind != nil:
		f.stats.Merged++
		f.end(it)
	case it.gone:
		f.stats.Dropped++
		f.end(it)
	default:
		f.stats.Leased--
		f.stats.Queued++
		f.stats.Retried++
		if after > 0 && !f.closed {
			f.delay(it, after)
		} else {
			f.makeReady(it)
		}
	}
}

// drained returns true if no object can become available any more.
func (f *FIFO[T]) drained() bool {
	return f.closed && f.stats.Queued == 0 && f.stats.Leased == 0
}

// wait releases the lock until the caller is woken, possibly without need. It returns
// false if ctx ends first.
func (f *FIFO[T]) wait(ctx context.Context) bool {
	var woken chan struct{}
	if n := len(f.idle); n > 0 {
		woken, f.idle = f.idle[n-1], f.idle[:n-1]
	} else {
		woken = make(chan struct{}, 1)
	}
	f.waiting = append(f.waiting, woken)
	f.mu.Unlock()

	ended := false
	select {
	case <-woken:
	case <-ctx.Done():
		ended = true
	}

	f.mu.Lock()
	if ended {
		if i := slices.Index(f.waiting, woken); i >= 0 {
			f.waiting = slices.Delete(f.waiting, i, i+1)
		} else { // it was woken as well: wake another Pop instead
			<-woken
			f.wake()
		}
	}
	f.idle = append(f.idle, woken)
	return !ended
}

// wake wakes the Pop that has waited longest. It is called for each object that becomes
// ready. If another Pop was faster, the woken Pop waits again.
func (f *FIFO[T]) wake() {
	if len(f.waiting) > 0 {
		f.waiting[0] <- struct{}{}
		f.waiting = slices.Delete(f.waiting, 0, 1)
	}
}

func (f *FIFO[T]) wakeAll() {
	for len(f.waiting) > 0 {
		f.wake()
	}
}

func (f *FIFO[T]) popError(ctx context.Context) error {
	return fmt.Errorf("%s: pop: %w", f.name, context.Cause(ctx))
}
