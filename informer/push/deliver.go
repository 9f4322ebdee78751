// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// deliver delivers batches until ctx ends. It returns the calls of Flush that wait.
func (m *EventMerger[T]) deliver(ctx context.Context) (waiting []flush) {
	var retry time.Time // not before, after a failure
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		asked := len(waiting) > 0
		timer.Stop()
		if wait, any := m.due(retry, asked); any {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return waiting
		case f := <-m.flushes:
			m.pending.Release()
			waiting, retry = append(waiting, f), time.Time{}
		case <-m.added:
		case <-timer.C:
			result := m.deliverBatch(ctx)
			if ctx.Err() != nil {
				return waiting
			}
			retry = time.Time{}
			if result.whole {
				retry = time.Now().Add(result.delay)
			}
			for i := range waiting {
				waiting[i].fail(result)
			}
		}
		waiting = m.answer(waiting)
	}
}

// fail records what came of a batch. A refusal of a whole batch ends the wait.
func (f *flush) fail(r result) {
	if r.err != nil {
		f.err, f.failed = r.err, f.failed || r.whole
	}
}

// answer ends those calls of Flush that have nothing to wait for any more.
func (m *EventMerger[T]) answer(waiting []flush) (rest []flush) {
	for _, f := range waiting {
		delivered, held := m.pending.DeliveredUpTo(f.upTo)
		switch {
		case delivered && !f.failed:
			f.done <- nil
		case f.failed || held && f.err != nil:
			f.done <- f.err
		default:
			rest = append(rest, f)
		}
	}
	return rest
}

// due returns how long to wait for the next delivery, if there is anything to
// deliver.
func (m *EventMerger[T]) due(retry time.Time, asked bool) (wait time.Duration, any bool) {
	r := m.pending.Ready()
	switch {
	case m.fenced.Load() || r.Objects == 0 && r.Next.IsZero():
		return 0, false
	case !retry.IsZero():
		return time.Until(retry), true
	case r.Objects == 0:
		return time.Until(r.Next), true
	case asked || r.Objects >= m.cfg.MaxItems || r.Bytes >= m.cfg.MaxBytes:
		return 0, true
	}
	last := m.base.Add(time.Duration(m.last.Load()))
	return min(time.Until(last.Add(m.cfg.Quiet)), time.Until(r.First.Add(m.cfg.MaxDelay))), true
}

// takeTurn waits for the turn to call the consumer.
func (m *EventMerger[T]) takeTurn(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *EventMerger[T]) endTurn() { <-m.turn }

// result is what came of a batch.
type result struct {
	err   error         // the last refusal
	whole bool          // the batch was refused, not some of its keys
	delay time.Duration // after which to try again then
}

// deliverBatch delivers a batch once it has its turn.
func (m *EventMerger[T]) deliverBatch(ctx context.Context) result {
	if err := m.takeTurn(ctx); err != nil {
		return result{err: err, whole: true}
	}
	defer m.endTurn()
	if m.fenced.Load() {
		return result{}
	}
	batch := m.withoutVanished(m.pending.TakeBatch(m.cfg.MaxItems, m.cfg.MaxBytes))
	if len(batch) == 0 {
		return result{}
	}
	if err, whole := m.offer(ctx, batch); !whole {
		return result{err: err}
	} else {
		return m.refused(ctx, batch, err)
	}
}

// withoutVanished acknowledges the changes of which there is nothing to deliver, and
// returns the others.
func (m *EventMerger[T]) withoutVanished(batch []pending.Taken[T]) (rest []pending.Taken[T]) {
	for i := range batch {
		if _, ok := m.changeOf(&batch[i]); ok {
			rest = append(rest, batch[i])
		} else {
			m.count.vanished.Add(1)
			m.accept(&batch[i])
		}
	}
	return rest
}

// accept records that the consumer has the state of t.
func (m *EventMerger[T]) accept(t *pending.Taken[T]) {
	versions := m.versions.Load()
	if t.Change.Gone {
		_ = versions.Delete(t.Work.Key)
	} else {
		_ = versions.Set(t.Change.Meta, 0) // it has a name
	}
	m.forget(t.Work.Key)
	t.Work.IsTried = false
	m.pending.Acknowledged(t.Work, false, 0)
}

// offer delivers a batch, or a part of one. It ends the delivery of each of its changes,
// unless the consumer refuses the whole of it.
func (m *EventMerger[T]) offer(ctx context.Context, batch []pending.Taken[T]) (err error, whole bool) {
	call := Batch[T]{Epoch: m.epoch, Version: m.pending.VersionAfter(batch), Failures: m.failures}
	for i := range batch {
		c, _ := m.changeOf(&batch[i])
		call.Changes = append(call.Changes, c)
	}
	err = m.consume(ctx, call)
	refused, wholeErr := refusedKeys(err, isOneOf(len(batch), func(i int) store.Key { return batch[i].Work.Key }))
	if wholeErr != nil {
		if ctx.Err() == nil { // it did not just break off
			m.count.failures.Add(1)
		}
		return wholeErr, true
	}
	m.recovered()
	if accepted := len(batch) - len(refused); accepted > 0 {
		m.count.batches.Add(1)
		m.count.changes.Add(uint64(accepted))
	}
	for i := range batch {
		if why, ok := refused[batch[i].Work.Key]; ok {
			m.refuse(&batch[i], "OnBatch", why, false)
		} else {
			m.accept(&batch[i])
		}
	}
	if len(refused) == 0 {
		return nil, false
	}
	return err, false
}

// consume hands a batch to the consumer.
func (m *EventMerger[T]) consume(ctx context.Context, batch Batch[T]) (err error) {
	var key store.Key
	if len(batch.Changes) == 1 {
		key = batch.Changes[0].Key
	}
	defer usercode.Recover("OnBatch", key, &err)
	return m.consumer(ctx, batch)
}

// recovered ends a row of failed batches, if there is one.
func (m *EventMerger[T]) recovered() {
	if m.failures > 0 {
		m.observed.recovered(store.Key{}, m.failures, m.failing)
		m.failures = 0
	}
}

// report calls the error handler.
func (m *EventMerger[T]) report(err error) {
	_ = m.panics.Call("error handler", "", store.Key{}, func() { m.cfg.ErrorHandler(err) })
}

// changeOf returns the change to deliver, if there is one.
func (m *EventMerger[T]) changeOf(t *pending.Taken[T]) (change BatchChange[T], ok bool) {
	c, w := &t.Change, t.Work
	if r := m.refusals[w.Key]; r != nil && r.tried.Key.Name != "" {
		w.Tried, w.IsTried = r.tried, true
	}
	held, recorded, _ := m.versions.Load().Get(w.Key) // in memory: no error
	change = BatchChange[T]{Object: informer.Object[T]{Meta: c.Meta, Object: c.Obj}, Known: true}
	if recorded {
		change.Old = held
	} else if w.IsTried {
		held = w.Tried
	}
	has := recorded || w.IsTried
	switch {
	case c.Gone && !has && !c.Unknown:
		return change, false
	case c.Gone:
		change.Kind, change.Known = BatchDeleted, c.Known && (!has || held.SameObject(c.Meta))
		if has {
			change.Meta = held
		}
		if change.UID == "" {
			change.UID = c.Meta.UID
		}
		if !change.Known {
			change.Object = informer.Object[T]{Meta: change.Meta}
		}
	case has && !held.SameObject(c.Meta):
		change.Kind, change.Old = BatchReplaced, held
	case !recorded:
		change.Kind = BatchAdded
	case held == c.Meta && c.Meta.Version != "":
		return change, false
	default:
		change.Kind = BatchModified
	}
	return change, true
}

// refused is called with a batch that the consumer refused as a whole. After some
// failures it looks for the changes that are the cause. If there are none it gives up.
func (m *EventMerger[T]) refused(ctx context.Context, batch []pending.Taken[T], err error) result {
	for i := range batch {
		wasTried(&batch[i])
	}
	defer func() { m.pending.PutBack(batch) }()
	if ctx.Err() != nil {
		return result{err: err, whole: true} // it broke off
	}
	if r := m.refusals[batch[0].Work.Key]; r != nil && r.alone && !wantsSnapshot(err) {
		m.refuse(&batch[0], "OnBatch", err, true)
		return result{err: err}
	}
	m.panics.Report(err)
	if m.failures++; m.failures == 1 {
		m.failing = time.Now()
	}
	delay := m.cfg.Backoff.Delay(m.failures, informer.CauseNone, err)
	m.observed.failed(store.Key{}, "OnBatch", m.failures, m.failing, delay, err)
	m.report(&informer.HandlerError{Call: "OnBatch", Failures: m.failures, RetryIn: delay, Err: err})
	if !wantsSnapshot(err) {
		if m.failures < m.cfg.MaxFailures && time.Since(m.failing) < m.cfg.MaxFailing {
			return result{err, true, delay}
		}
		found, fatal := m.bisectBatch(ctx, batch, err)
		if found || ctx.Err() != nil {
			return result{err: err}
		}
		err = cmp.Or(fatal, err)
	}
	if m.giveUp != nil {
		m.pending.PutBack(batch)
		m.giveUp(err)
	}
	return result{err, true, delay}
}

// bisectBatch delivers a batch in parts, and refuses the changes that the consumer
// refuses by themselves. It reports whether the consumer accepted anything. If it
// accepted nothing, and there is no snapshot that follows, what comes next shows whether
// the batch is the cause.
func (m *EventMerger[T]) bisectBatch(ctx context.Context, batch []pending.Taken[T], whole error) (found bool, fatal error) {
	refused, accepted := map[int]error{}, false
	if len(batch) > 1 {
		refused, accepted, fatal = bisect(len(batch), func(lo, hi int) error {
			if err, whole := m.offer(ctx, batch[lo:hi]); whole {
				return err
			}
			return nil
		}, func(err error) bool { return ctx.Err() != nil || wantsSnapshot(err) })
	}
	if !accepted && fatal == nil && m.giveUp == nil {
		if next := m.withoutVanished(m.pending.TakeBatch(m.cfg.MaxItems, m.cfg.MaxBytes)); len(next) > 0 {
			_, failed := m.offer(ctx, next)
			m.pending.PutBack(next)
			for i := range batch {
				if accepted = !failed; accepted {
					refused[i] = cmp.Or(refused[i], whole)
				}
			}
		}
	}
	for i := range batch {
		if err := refused[i]; err != nil && accepted && fatal == nil {
			m.refuse(&batch[i], "OnBatch", err, true)
		}
	}
	return accepted && fatal == nil, fatal
}

// fence drops what is pending: a snapshot has it or will have it. The caller has the turn.
func (m *EventMerger[T]) fence() {
	m.fenced.Store(true)
	m.givenUp.Add(int64(m.pending.Drop()))
}

// deliverLast delivers what is pending when ctx has ended.
func (m *EventMerger[T]) deliverLast(ctx context.Context) error {
	cause := context.Cause(ctx)
	var err error
	if m.cfg.StopTimeout > 0 {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.StopTimeout)
		defer cancel()
		m.pending.Release()
		for m.pending.Ready().Objects > 0 && !m.fenced.Load() {
			r := m.deliverBatch(last)
			if r.err != nil {
				err = r.err
			}
			if r.whole || last.Err() != nil {
				break
			}
		}
	}
	objects, _, _ := m.pending.Waiting()
	if objects += int(m.givenUp.Load()); objects == 0 {
		return cause
	}
	if err != nil {
		err = &informer.HandlerError{Call: "OnBatch", Err: err}
	}
	undelivered := &UndeliveredError{Name: m.name, Changes: objects, Err: err}
	m.report(undelivered)
	return errors.Join(cause, undelivered)
}
