// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"cmp"
	"runtime"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// run emits events until the subscription ends.
func (s *subscriber[T]) run() {
	var t *token[T]
	defer func() {
		s.finish()
		runtime.KeepAlive(t) // not lost: the subscription has ended
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	tick, stop := s.metrics.ticker()
	defer stop()
	for received := true; ; {
		var event Event[T]
		var until time.Time
		event, t, until = s.take(t, received)
		ended := false
		switch {
		case t == nil:
			ended = s.idle(timer, until, tick)
		case s.next == nil:
			received, ended = s.offer(event, tick)
		default:
			received, ended = true, s.callNext(event)
		}
		if ended {
			return
		}
	}
}

// take returns the next event and its token, which is nil if there is none. until is the
// end of the next delay. If the previous event was not received, take withdraws it.
func (s *subscriber[T]) take(before *token[T], received bool) (event Event[T], t *token[T], until time.Time) {
	s.mu.Lock()
	defer s.unlock()
	s.awake = false
	if before != nil && !received {
		s.withdraw(before)
	}
	s.ackRecall()
	if event, t = s.pick(); t != nil && s.next == nil {
		s.offering = event.Kind
	}
	until = s.delayed.next()
	s.flushMetrics()
	return event, t, until
}

// offer waits until event is received, the subscription has ended, or a Sync is recalled.
// For a recalled Sync, received and ended are false.
//
// No event may be received after the end. A select that already waits is safe: the cancel
// function closes the channel of the context before it returns, which ends the select. A
// new select that finds both a closed channel and a receiver can choose either one. So
// offer checks for the end right before. A Done that ends the subscription waits, see
// awaitRecall. A cancel between check and select cannot wait.
func (s *subscriber[T]) offer(event Event[T], tick <-chan time.Time) (received, ended bool) {
	wake, canceled := s.wake, s.ctx.Done()
	if event.Kind != Sync {
		wake = nil // idle takes the token
	}
	for !s.ended() {
		select {
		case s.out <- event: // a receiver waits already; this costs less than the whole select
			return true, false
		default:
		}
		select {
		case s.out <- event:
			return true, false
		case <-wake:
			if s.recalled() {
				return false, false
			}
		case <-tick:
			s.measure()
		case <-canceled:
			return false, true
		case <-s.done:
			return false, true
		}
	}
	return false, true
}

// idle waits until there may be something to emit, or the subscription has ended.
func (s *subscriber[T]) idle(timer *time.Timer, until time.Time, tick <-chan time.Time) (ended bool) {
	if until.IsZero() && tick == nil { // the common case
		if s.ended() { // if it ends later, end wakes the goroutine
			return true
		}
		<-s.wake
		return s.ended()
	}
	var due <-chan time.Time
	if !until.IsZero() {
		timer.Reset(time.Until(until))
		due = timer.C
	}
	for {
		select {
		case <-s.wake:
			return false
		case <-due:
			return false
		case <-tick:
			s.measure()
		case <-s.done:
			return true
		}
	}
}

// recalled returns true if Sync must wait for a key. It also flushes the metrics, which
// can change while an event is offered.
func (s *subscriber[T]) recalled() bool {
	s.mu.Lock()
	defer s.unlock()
	s.awake = false
	s.flushMetrics()
	return s.recall != nil
}

// awaitRecall waits until the goroutine no longer offers a recalled event. The caller
// holds the mutex, which is unlocked meanwhile.
func (s *subscriber[T]) awaitRecall() {
	if s.ending && s.offering != "" && s.recall == nil {
		s.recall = make(chan struct{})
	}
	if recall := s.recall; recall != nil {
		s.unlocked(func() { <-recall })
	}
}

// ackRecall ends the recall of an event, if there is one.
func (s *subscriber[T]) ackRecall() {
	s.offering = ""
	if s.recall != nil {
		close(s.recall)
		s.recall = nil
	}
}

// ended returns true if the subscription has ended. It does not wait. It is called
// without the mutex, since the context can be user code.
func (s *subscriber[T]) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return s.ctx.Err() != nil
	}
}

// end ends the subscription. It returns false if the subscription had ended before. The
// caller holds the mutex.
func (s *subscriber[T]) end() bool {
	if s.ending {
		return false
	}
	s.ending = true
	close(s.done)
	s.wakeUp()
	return true
}

// quit ends the subscription from outside. The caller holds the mutex of the hub.
func (s *subscriber[T]) quit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end() && !s.launched {
		s.hub.wg.Go(s.finish)
	}
}

// isEnding returns true if the subscription has ended.
func (s *subscriber[T]) isEnding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// cancel ends the subscription because its context has ended.
func (s *subscriber[T]) cancel() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.canceled = true; s.entered {
		s.quit()
	}
}

// finish closes the channel, or calls complete. It runs once, on a goroutine of the
// subscriber, after the subscription has ended.
func (s *subscriber[T]) finish() {
	if s.unwatch != nil {
		_ = s.hub.panics.Call(ofContext, s.site.String(), store.Key{}, func() { s.unwatch() })
	}
	s.conclude()
	if s.entered { // set before there was a goroutine
		s.hub.leave(s)
		if d := s.view.demand; d != nil {
			d.release()
		}
	}
	if s.out != nil {
		close(s.out)
	}
}

// conclude makes the last calls of functions of the user.
func (s *subscriber[T]) conclude() {
	s.mu.Lock()
	defer s.unlock()
	s.end() // cancel may not have been called yet
	if s.next != nil {
		s.finishing = s.hub.now()
		s.guard("complete function", store.Key{}, func() { s.complete(cmp.Or(s.failure, s.ctx.Err())) })
	}
	if s.failures != nil && len(s.failures.keys) > 0 {
		s.report(informer.ConsumerEnded{Consumer: s.consumer(store.Key{})})
	}
	if s.metrics != nil {
		s.metrics.depth(0)
		s.metrics.measured(0, 0)
		s.flushMetrics()
	}
}

// callNext passes event to next, unless the subscription has ended.
func (s *subscriber[T]) callNext(event Event[T]) (ended bool) {
	if s.ended() {
		return true
	}
	s.mu.Lock()
	defer s.unlock()
	if !s.ending {
		s.guard("next function", event.Key, func() { s.next(event) })
	}
	return s.ending
}

// guard is like call, for functions that the subscription depends on. A panic ends it.
func (s *subscriber[T]) guard(function string, key store.Key, f func()) {
	if err := s.call(function, key, f); err != nil {
		s.failure = err
		s.end()
	}
}

// call calls a user function on a goroutine of the subscriber, without the mutex, which
// the caller holds. It reports and returns a panic.
func (s *subscriber[T]) call(function string, key store.Key, f func()) (err error) {
	s.calls = function
	defer func() { s.calls = "" }()
	s.unlocked(func() { err = s.hub.panics.Call(function, s.site.String(), key, f) })
	return err
}

// ofContext is the name of the methods of a user's context, in reports.
const ofContext = "context"
