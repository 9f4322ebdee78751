// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
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
			waiting, retry = append(waiting, f), time.Time{}
		case <-m.added:
		case <-timer.C:
			delay, err := m.deliverBatch(ctx)
			if ctx.Err() != nil {
				return waiting
			}
			retry = time.Time{}
			if err != nil {
				retry = time.Now().Add(delay)
				for _, f := range waiting {
					f.done <- err
				}
				waiting = nil
			}
		}
		waiting = m.answer(waiting)
	}
}

// answer answers those calls of Flush that have nothing to wait for any more.
func (m *EventMerger[T]) answer(waiting []flush) (rest []flush) {
	for _, f := range waiting {
		if m.pending.DeliveredUpTo(f.upTo) {
			f.done <- nil
		} else {
			rest = append(rest, f)
		}
	}
	return rest
}

// due returns how long to wait for the next delivery, if there is anything to
// deliver.
func (m *EventMerger[T]) due(retry time.Time, asked bool) (wait time.Duration, any bool) {
	objects, bytes, first, _ := m.pending.Waiting()
	if objects == 0 || m.fenced.Load() {
		return 0, false
	}
	if !retry.IsZero() {
		return time.Until(retry), true
	}
	if asked || objects >= m.cfg.MaxItems || bytes >= m.cfg.MaxBytes {
		return 0, true
	}
	last := m.base.Add(time.Duration(m.last.Load()))
	return min(time.Until(last.Add(m.cfg.Quiet)), time.Until(first.Add(m.cfg.MaxDelay))), true
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

// deliverBatch delivers a batch once it has its turn. If the consumer refuses it,
// delay is after what time to try again.
func (m *EventMerger[T]) deliverBatch(ctx context.Context) (delay time.Duration, err error) {
	if err := m.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer m.endTurn()
	if m.fenced.Load() {
		return 0, nil
	}
	batch := m.pending.TakeBatch(m.cfg.MaxItems, m.cfg.MaxBytes)
	told := Batch[T]{Epoch: m.epoch, Version: m.pending.VersionAfter(batch), Failures: m.failures}
	for i := range batch {
		if c, ok := m.changeOf(&batch[i]); ok {
			told.Changes = append(told.Changes, c)
		}
	}
	if len(told.Changes) > 0 {
		if err := m.consume(ctx, told); err != nil {
			return m.refused(ctx, batch, err), err
		}
		m.failures = 0
		m.count.batches.Add(1)
		m.count.changes.Add(uint64(len(told.Changes)))
	}
	m.count.vanished.Add(uint64(len(batch) - len(told.Changes)))
	versions := m.versions.Load()
	for i := range batch {
		t := &batch[i]
		if t.Change.Gone {
			_ = versions.Delete(t.Work.Key)
		} else {
			_ = versions.Set(t.Change.Meta, 0) // it has a name
		}
		t.Work.IsTried = false
		m.pending.Acknowledged(t.Work, false, 0)
	}
	return 0, nil
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

// report tells the error handler.
func (m *EventMerger[T]) report(err error) {
	_ = m.panics.Call("error handler", "", store.Key{}, func() { m.cfg.ErrorHandler(err) })
}

// changeOf returns what to tell of a change, if anything.
func (m *EventMerger[T]) changeOf(t *pending.Taken[T]) (told BatchChange[T], ok bool) {
	c, w := &t.Change, t.Work
	held, recorded, _ := m.versions.Load().Get(w.Key) // in memory: no error
	told = BatchChange[T]{Object: informer.Object[T]{Meta: c.Meta, Object: c.Obj}, Known: true}
	if recorded {
		told.Old = held
	} else if w.IsTried {
		held = w.Tried
	}
	has := recorded || w.IsTried
	switch {
	case c.Gone && !has && !c.Unknown:
		return told, false
	case c.Gone:
		told.Kind, told.Known = BatchDeleted, c.Known && (!has || held.SameObject(c.Meta))
		if has {
			told.Meta = held
		}
		if told.UID == "" {
			told.UID = c.Meta.UID
		}
		if !told.Known {
			told.Object = informer.Object[T]{Meta: told.Meta}
		}
	case has && !held.SameObject(c.Meta):
		told.Kind, told.Old = BatchReplaced, held
	case !recorded:
		told.Kind = BatchAdded
	case held == c.Meta && c.Meta.Version != "":
		return told, false
	default:
		told.Kind = BatchModified
	}
	return told, true
}

// refused puts back what the consumer refused, and gives up if that has been so for
// long. It returns after what time to try again.
func (m *EventMerger[T]) refused(ctx context.Context, batch []pending.Taken[T], err error) (delay time.Duration) {
	for _, t := range batch {
		if !t.Change.Gone && !t.Work.IsTried { // the first one stands for all
			t.Work.Tried, t.Work.IsTried = t.Change.Meta, true
		}
	}
	m.pending.PutBack(batch)
	m.panics.Report(err)
	if ctx.Err() != nil {
		return 0 // it broke off
	}
	if m.failures++; m.failures == 1 {
		m.failing = time.Now()
	}
	m.count.failures.Add(1)
	delay = m.cfg.Backoff.Delay(m.failures, informer.CauseNone, err)
	m.report(&informer.HandlerError{Call: "OnBatch", Failures: m.failures, RetryIn: delay, Err: err})
	forGood := wantsSnapshot(err) || m.failures >= m.cfg.MaxFailures || time.Since(m.failing) >= m.cfg.MaxFailing
	if forGood && m.giveUp != nil {
		m.giveUp(err)
	}
	return delay
}

// fence gives up what is pending in favour of a snapshot that is to come. Whoever
// calls it has the turn.
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
		for err == nil && !m.pending.DeliveredUpTo(^uint64(0)) && !m.fenced.Load() {
			_, err = m.deliverBatch(last)
		}
	}
	objects, _, _, _ := m.pending.Waiting()
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
