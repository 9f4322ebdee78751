// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"cmp"
	"runtime"
	"time"

	kruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// run emits events until the subscription ends, or until it has had nothing to do for a
// while.
func (s *subscriber[T]) run() {
	defer s.hub.wg.Done()
	tick, stop := s.metrics.ticker()
	defer stop()
	var timer *time.Timer // of delays
	received := true
	var next step[T]
	for {
		next = s.take(next.token, received)
		ended := false
		switch {
		case next.parked:
			return
		case next.token == nil:
			if !next.until.IsZero() {
				if timer == nil {
					timer = time.NewTimer(time.Hour)
					defer timer.Stop()
				}
				timer.Reset(time.Until(next.until))
			}
			ended = s.await(timer, !next.until.IsZero(), tick)
		case s.next == nil:
			received, ended = s.offer(next.event, tick)
		default:
			received, ended = true, s.callNext(next.event)
		}
		if ended {
			s.finish()
			runtime.KeepAlive(next.token) // not lost: the subscription has ended
			return
		}
	}
}

// step is what the goroutine of a subscriber does next.
type step[T kruntime.Object] struct {
	event  Event[T]
	token  *token[T] // of event; nil: there is none
	until  time.Time // if there is no event, the end of the next delay
	parked bool      // the goroutine must end
}

// take returns the next step. If the previous event was not received, take withdraws it.
func (s *subscriber[T]) take(before *token[T], received bool) (next step[T]) {
	s.mu.Lock()
	defer s.unlock()
	s.awake, s.waiting, s.idle = false, false, s.idle && s.retiring
	if before != nil && !received {
		s.withdraw(before)
	}
	s.ackRecall()
	if next.event, next.token = s.pick(); next.token != nil && s.next == nil {
		s.offering = next.event.Kind
	}
	s.flushMetrics()
	if next.token == nil && !s.ending {
		next.until = s.delayed.next()
		if next.parked = s.retiring && !s.awake; next.parked {
			s.park()
		}
		s.waiting = true
	}
	s.retiring = false
	return next
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

// await waits until there may be something to emit, or the subscription has ended. timer is
// used if delayed is true.
func (s *subscriber[T]) await(timer *time.Timer, delayed bool, tick <-chan time.Time) (ended bool) {
	if !delayed && tick == nil { // the common case
		if s.ended() { // if it ends later, end wakes the goroutine
			return true
		}
		<-s.wake
		return s.ended()
	}
	var due <-chan time.Time
	if delayed {
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

// end ends the subscription. Its goroutine finishes it, which is started if there is none.
// The caller holds the mutex.
func (s *subscriber[T]) end() {
	if s.ending {
		return
	}
	s.ending = true
	close(s.done)
	if s.running {
		s.wakeUp()
	} else {
		s.start()
	}
}

// quit ends the subscription from outside. The caller holds the mutex of the hub.
func (s *subscriber[T]) quit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
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
		s.hub.parking.end(s)
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
	if !s.ending { // cancel was not called yet
		s.ending = true
		close(s.done)
	}
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
