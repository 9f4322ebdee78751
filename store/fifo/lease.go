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

// Lease is an object that a [FIFO] handed out, and the sole right to its key. It
// ends by the first call of Done or Retry; further ones do nothing, whatever became
// of the key. Both may be called by any goroutine, on any copy of the Lease, also
// after Close, and neither blocks. Those of the zero Lease do nothing.
//
// A lease that never ends keeps its key from being handed out, and [FIFO.Pop]
// from ending after Close; other keys do not notice.
type Lease[T any] struct {
	key  store.Key
	obj  T
	fifo *FIFO[T]
	item *item[T] // has served others since if its lease is another one
	nth  uint64
}

// Key is the key of the object.
func (l Lease[T]) Key() store.Key { return l.key }

// Object is the object, in the state that was last added before it was popped. It
// is shared and must not be modified.
func (l Lease[T]) Object() T { return l.obj }

// Done ends the lease: the object was processed, or given up. What was added to
// its key since it was popped goes to the tail of the queue.
func (l Lease[T]) Done() {
	if f := l.fifo; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if l.lasts() {
			f.end(l.item)
		}
	}
}

// Retry ends the lease and puts the object back, at the tail of the queue once
// after has passed; at once if that is not positive, or the queue is closed, so
// that nothing is lost. Nobody else is held up by the delay.
//
// What came later wins. If an object was added to the key since this one was
// popped, Retry is Done; if the key was deleted, or is since lacking in a Replace
// or a pass, the object is dropped. Until it is handed out again, an object that
// was put back is queued as others are: it can be listed, replaced and deleted.
func (l Lease[T]) Retry(after time.Duration) {
	if f := l.fifo; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if l.lasts() {
			f.retry(l.item, after)
		}
	}
}

// lasts reports whether the lease has not ended. The caller holds FIFO.mu.
func (l Lease[T]) lasts() bool { return l.item.state == isLeased && l.item.lease == l.nth }

// Pop waits for an object, takes it out of the queue and hands it out. The order
// is that of the queue, if there are several.
//
// It fails with the cause of ctx once that has ended, and with [ErrClosed] once
// the queue is closed and nothing can come any more: all objects were handed out,
// and all leases have ended. Until then it waits for leases, since they may put
// their objects back. So whoever pops again before it ends its lease must do so
// with a ctx that ends.
func (f *FIFO[T]) Pop(ctx context.Context) (Lease[T], error) {
	if ctx.Err() != nil {
		return Lease[T]{}, f.gaveUp(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.ready.first == nil {
		if f.drained() {
			f.wakeAll()
			return Lease[T]{}, fmt.Errorf("%s: pop: %w", f.name, ErrClosed)
		}
		if !f.wait(ctx) {
			return Lease[T]{}, f.gaveUp(ctx)
		}
	}
	it := f.ready.first
	f.ready.remove(it)
	f.handled(it)
	f.stats.Leased++
	f.stats.Popped++
	it.state, it.lease = isLeased, f.stats.Popped
	return Lease[T]{key: it.meta.Key, obj: it.obj, fifo: f, item: it, nth: it.lease}, nil
}

// Close makes the queue take nothing more: Add, Update, AddIfNotPresent and
// Replace fail with [ErrClosed] from now on. What is queued is still handed out,
// what is delayed at once; then Pop fails. It does not wait for that. Further
// calls do nothing.
func (f *FIFO[T]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	for len(f.delayed) > 0 {
		f.arrive(f.delayed[0])
	}
	f.wakeAll()
}

// end ends the lease of an item.
func (f *FIFO[T]) end(it *item[T]) {
	f.stats.Leased--
	if next := it.behind; next != nil {
		f.byKey[it.meta.Key] = next
		f.arrive(next)
	} else {
		f.forget(it.meta.Key)
	}
	f.recycle(it)
	if f.drained() {
		f.wakeAll()
	}
}

// retry ends the lease of an item by queueing it, unless it must not be.
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

// drained reports whether nothing can come any more.
func (f *FIFO[T]) drained() bool {
	return f.closed && f.stats.Queued == 0 && f.stats.Leased == 0
}

// wait releases the lock until there may be something to do, which is not certain.
// If ctx ends instead it returns false.
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
		} else { // it was woken as well: somebody else must go
			<-woken
			f.wake()
		}
	}
	f.idle = append(f.idle, woken)
	return !ended
}

// wake wakes the Pop that has waited longest. It is called for each object that
// becomes ready. Who is woken may find that another Pop was faster, and waits
// again.
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

func (f *FIFO[T]) gaveUp(ctx context.Context) error {
	return fmt.Errorf("%s: pop: %w", f.name, context.Cause(ctx))
}
