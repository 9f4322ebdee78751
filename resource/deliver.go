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
	for {
		s.hub.mu.Lock()
		event, picked, ok := s.pick()
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
			continue
		case ok:
			out = s.out
		case !until.IsZero():
			timer.Reset(time.Until(until))
			due = timer.C
		}
		if !s.await(out, event, due, tick) {
			return
		}
	}
}

// await waits until event was received from out, or, if there is none, until
// there may be something to emit. It reports false if the subscription ended.
func (s *subscriber[T]) await(out chan<- Event[T], event Event[T], due, tick <-chan time.Time) bool {
	wake := s.wake
	if out != nil {
		wake = nil
	}
	for {
		select {
		case out <- event:
			return true
		case <-wake:
			return true
		case <-due:
			return true
		case <-tick:
			s.measure()
		case <-s.ctx.Done():
			return false
		case <-s.hub.done:
			return false
		case <-s.quit:
			return false
		}
	}
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
