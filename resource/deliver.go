// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"runtime"
	"time"
)

// run emits events until the subscription ends.
func (s *subscriber[T]) run() {
	var t *token[T]
	defer func() {
		s.finish()
		runtime.KeepAlive(t) // not lost, but no longer wanted
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	tick, stop := s.metrics.ticker()
	defer stop()
	for received := true; ; {
		s.hub.mu.Lock()
		if !received && t != nil && !s.left {
			s.withdraw(t, s.hub.now())
		}
		s.heed()
		event, picked, ok := s.pick()
		s.offering = ok && event.Kind == Sync && s.next == nil
		t = picked
		until := s.delayed.next()
		s.hub.mu.Unlock()

		var out chan<- Event[T]
		var due <-chan time.Time
		switch {
		case ok && s.next != nil:
			if s.ended() {
				return
			}
			s.next(event)
			received = true
			continue
		case ok:
			out = s.out
		case !until.IsZero():
			timer.Reset(time.Until(until))
			due = timer.C
		}
		var ended bool
		if received, ended = s.await(out, event, due, tick); ended {
			return
		}
	}
}

// await waits until event was received from out or, if there is none, until there
// may be something to do. A Sync that was not received must be withdrawn if await
// returns without the subscription having ended.
func (s *subscriber[T]) await(out chan<- Event[T], event Event[T], due, tick <-chan time.Time) (received, ended bool) {
	wake := s.wake
	if out != nil && event.Kind != Sync {
		wake = nil
	}
	for {
		select {
		case out <- event:
			return true, false
		case <-wake:
			if out == nil || s.recalled() {
				return false, false
			}
		case <-due:
			return false, false
		case <-tick:
			s.measure()
		case <-s.ctx.Done():
			return false, true
		case <-s.hub.done:
			return false, true
		case <-s.quit:
			return false, true
		}
	}
}

// recalled reports whether Sync must wait for a key that is owed.
func (s *subscriber[T]) recalled() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.recall != nil
}

// ended reports whether the subscription ended, without waiting.
func (s *subscriber[T]) ended() bool {
	select {
	case <-s.ctx.Done():
	case <-s.hub.done:
	case <-s.quit:
	default:
		return false
	}
	return true
}

// finish leaves the hub and tells the subscriber that nothing more will come.
func (s *subscriber[T]) finish() {
	s.hub.leave(s)
	if s.out != nil {
		close(s.out)
		return
	}
	s.complete(s.ctx.Err())
}

// dismiss ends the subscription because the error handler said so.
func (s *subscriber[T]) dismiss() {
	if s.hub.leave(s) {
		close(s.quit)
	}
}
