// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// deliver takes keys, one at a time, until the informer ends.
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
			return // the call ended with its context: no failure, and the change stays pending
		}
		delay := i.retryIn(w.Key)
		failures := w.Failures + 1
		i.count.failures.Add(1)
		i.failed(informer.ConsumerFailed{Consumer: informer.Consumer{Key: w.Key}, Change: call,
			Retries: w.Failures, Since: cmp.Or(w.Since, time.Now()), Next: delay, Err: err}) // before the key can be taken again
		i.pending.Failed(w, err, delay)
		i.report(&informer.HandlerError{Call: call, Meta: c.Meta, Failures: failures, RetryIn: delay, Err: err})
	}
}

// failed reports a failure of the handler to the observer.
func (i *ResourceVersionInformer[T]) failed(o informer.ConsumerFailed) {
	i.thin.Lock()
	shown, omitted := i.thin.Shown(time.Now())
	i.thin.Unlock()
	o.Action, o.Quiet, o.Omitted = informer.ActionRetry, !shown, omitted
	i.reflector.Report(o)
}

// retryIn returns the delay of the rate limiter for a failed key.
func (i *ResourceVersionInformer[T]) retryIn(key store.Key) time.Duration {
	delay := defaultRetryMost
	_ = i.panics.Call("rate limiter", "", key, func() { delay = i.cfg.RateLimiter.When(key) })
	return delay
}

// handle calls the handler for c, the change of w, and records what the handler
// acknowledges. It returns the name of the call that failed or panicked.
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
	default: // the object changed and changed back: the record is right
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

// record stores the version of an acknowledged change.
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

// forget deletes the record of an object that the handler does not keep. If unasked, a
// filter rejected the object without a call of the handler. An earlier OnAdd can have
// failed and left something behind: the handler then gets an OnDelete.
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

// remove calls OnDelete for the recorded object, or for one whose OnAdd failed. The
// object is gone, or a filter rejected its new state c.
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

// settled ends the delivery of w. It returns false, and does not end it, if the change
// was recorded for the given pass and a later pass has had it since.
func (i *ResourceVersionInformer[T]) settled(w *pending.Work[T], recorded bool, pass uint64) bool {
	failed, key := w.Failures > 0, w.Key
	w.IsTried = false
	if failed && !w.Since.IsZero() { // once, and before the key can be taken again
		i.reflector.Report(informer.ConsumerRecovered{Consumer: informer.Consumer{Key: key}, Retries: w.Failures, After: time.Since(w.Since)})
		w.Since = time.Time{}
	}
	if !i.pending.Acknowledged(w, recorded, pass) {
		return false
	}
	if failed {
		_ = i.panics.Call("rate limiter", "", key, func() { i.cfg.RateLimiter.Forget(key) })
	}
	return true
}
