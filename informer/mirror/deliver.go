// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// deliver takes one key after the other until the informer ends.
func (i *ResourceVersionInformer[T]) deliver(ctx context.Context) {
	for {
		w, c := i.pending.Take()
		if w == nil {
			return
		}
		call, err := i.handle(ctx, w, &c)
		if err == nil {
			i.checkSynced()
			continue
		}
		i.panics.Report(err)
		if ctx.Err() != nil {
			return // what it was told broke off; that is no failure, and it stays pending
		}
		delay := i.retryIn(w.Key)
		failures := w.Failures + 1
		i.count.failures.Add(1)
		i.pending.Failed(w, err, delay)
		i.report(&informer.HandlerError{Call: call, Meta: c.Meta, Failures: failures, RetryIn: delay, Err: err})
	}
}

// retryIn asks the rate limiter after what time a key is tried again.
func (i *ResourceVersionInformer[T]) retryIn(key store.Key) time.Duration {
	delay := defaultRetryMost
	_ = i.panics.Call("rate limiter", "", key, func() { delay = i.cfg.RateLimiter.When(key) })
	return delay
}

// handle tells the handler of c, which is the change of w, and records what it
// acknowledges. It returns which call failed, or panicked.
func (i *ResourceVersionInformer[T]) handle(ctx context.Context, w *pending.Work[T], c *pending.Change[T]) (call string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = usercode.Error(call, w.Key, v)
		}
	}()
	h := i.cfg.Handler
	call = "storage"
	held, recorded, err := i.storage.Get(w.Key)
	if err != nil {
		return call, err
	}
	if !recorded && w.IsTried {
		held = w.Tried
	}
	if (recorded || w.IsTried) && (c.Gone || !held.SameObject(c.Meta)) {
		call = "OnDelete"
		if err := i.remove(ctx, w, c, held); err != nil {
			return call, err
		}
		recorded = false
	}
	if c.Gone {
		i.settled(w, false, 0)
		return "", nil
	}

	obj := informer.Object[T]{Meta: c.Meta, Object: c.Obj, IsInInitialList: c.Initial}
	counter, isTried := &i.count.shown, w.IsTried
	switch {
	case !recorded:
		w.Tried, w.IsTried = c.Meta, true
		call, counter = "OnAdd", &i.count.added
		err = h.OnAdd(ctx, obj)
	case held != c.Meta || c.Meta.Version == "" || c.Anew:
		call, counter = "OnUpdate", &i.count.updated
		err = h.OnUpdate(ctx, held, obj)
	case c.Listed && !i.skipSync:
		call = "OnSync"
		err = h.OnSync(ctx, obj)
	default: // another change came and was taken back
		counter = nil
	}
	if errors.Is(err, ErrNotKept) {
		if call = "storage"; isTried {
			call = "OnDelete"
		}
		return i.forget(ctx, w, c, held, isTried && errors.Is(err, errFiltered))
	}
	if err != nil {
		return call, err
	}
	if counter != nil {
		counter.Add(1)
	}
	call = "storage"
	return call, i.record(w, c)
}

// record notes in the storage that the handler has a change.
func (i *ResourceVersionInformer[T]) record(w *pending.Work[T], c *pending.Change[T]) error {
	for {
		pass := i.pending.PassOf(w)
		if err := i.storage.Set(c.Meta, pass); err != nil {
			return fmt.Errorf("record version %s: %w", c.Meta.Version, err)
		}
		if i.settled(w, true, pass) {
			return nil
		}
	}
}

// forget records that the handler does not keep the object. If unasked, a filter said
// so and the handler may have something of an OnAdd that failed: it gets an OnDelete.
func (i *ResourceVersionInformer[T]) forget(ctx context.Context, w *pending.Work[T], c *pending.Change[T], held store.Meta, unasked bool) (call string, err error) {
	if unasked {
		if err := i.remove(ctx, w, c, held); err != nil {
			return "OnDelete", err
		}
	} else {
		w.Tried, w.IsTried = store.Meta{}, false
		if err := i.storage.Delete(w.Key); err != nil {
			return "storage", err
		}
	}
	i.count.notKept.Add(1)
	i.settled(w, false, 0)
	return "", nil
}

// remove calls OnDelete for what is recorded, or was tried to be: it is gone, or c is
// what a filter does not keep.
func (i *ResourceVersionInformer[T]) remove(ctx context.Context, w *pending.Work[T], c *pending.Change[T], held store.Meta) error {
	gone := Deletion[T]{Meta: held, IsInInitialList: c.Initial}
	if (c.Known || !c.Gone) && held.SameObject(c.Meta) {
		gone.Object, gone.Known = c.Obj, true
	}
	if held.UID == "" && c.Gone {
		gone.UID = c.Meta.UID
	}
	if err := i.cfg.Handler.OnDelete(ctx, gone); err != nil {
		return err
	}
	if err := i.storage.Delete(w.Key); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	i.count.deleted.Add(1)
	w.Tried, w.IsTried = store.Meta{}, false
	return nil
}

// settled ends the delivery of w, unless its change was recorded for the given pass
// and another one has seen it since.
func (i *ResourceVersionInformer[T]) settled(w *pending.Work[T], recorded bool, pass uint64) bool {
	failed := w.Failures > 0
	w.IsTried = false
	key := w.Key
	if !i.pending.Acknowledged(w, recorded, pass) {
		return false
	}
	if failed {
		_ = i.panics.Call("rate limiter", "", key, func() { i.cfg.RateLimiter.Forget(key) })
	}
	return true
}
