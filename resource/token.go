// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"runtime"
	"sync/atomic"
	"time"

	kruntime "k8s.io/apimachinery/pkg/runtime"
)

// token stands for an outstanding event. It is only reachable from the event's
// Done: when the garbage collector finds it, Done can no longer be called.
type token[T kruntime.Object] struct {
	receipt[T]
	used    atomic.Bool
	cleanup runtime.Cleanup
}

// receipt says which event a token stands for.
type receipt[T kruntime.Object] struct {
	sub  *subscriber[T]
	id   int32
	kind EventKind
	key  Key
}

func newToken[T kruntime.Object](s *subscriber[T], id int32, key Key, kind EventKind) *token[T] {
	t := &token[T]{receipt: receipt[T]{sub: s, id: id, kind: kind, key: key}}
	t.cleanup = runtime.AddCleanup(t, receipt[T].lost, t.receipt)
	return t
}

// drop is called when the subscriber did not take the event.
func (t *token[T]) drop() {
	t.used.Store(true)
	t.cleanup.Stop()
}

// finish is Event.Done.
func (t *token[T]) finish(err error) {
	if !t.used.CompareAndSwap(false, true) {
		return
	}
	t.cleanup.Stop()
	if err != nil {
		t.failed(err)
		return
	}
	t.settled("", func(c *EventCounts) { c.OK++ })
}

// failed asks the error handler. The key stays outstanding until it has answered.
func (r *receipt[T]) failed(err error) {
	s := r.sub
	retries, ok := s.numRetries(r.id)
	if !ok {
		return
	}
	switch action := s.onError(r.key, retries, err); action {
	case ErrorActionIgnore:
		r.settled(action, func(c *EventCounts) { c.Ignored++ })
	case ErrorActionStop:
		s.hub.count(func(c *EventCounts) { c.Stopped++ })
		s.dismiss()
	default:
		delay := s.limiter.When(r.key)
		s.answer(r.id, ErrorActionRetry, delay, func(c *EventCounts) { c.Retried++ })
	}
}

// settled ends the event without a retry.
func (r *receipt[T]) settled(action ErrorAction, count func(*EventCounts)) {
	s := r.sub
	retries, ok := s.numRetries(r.id)
	if !ok {
		return
	}
	if retries > 0 {
		s.limiter.Forget(r.key)
	}
	s.answer(r.id, action, 0, count)
}

// lost is called by the runtime when Done was not and cannot be called.
func (r receipt[T]) lost() {
	s := r.sub
	if _, ok := s.numRetries(r.id); !ok {
		return // the subscription ended before
	}
	report := ForgottenDone{Resource: s.hub.name, Kind: r.kind, Key: r.key, Site: s.site}
	if s.hub.forgotten == nil {
		panic(report.String())
	}
	r.settled("", func(c *EventCounts) { c.Forgotten++ })
	s.hub.forgotten(report)
}

// numRetries reports how often the key of an outstanding event was retried; ok is
// false if the subscription has ended.
func (s *subscriber[T]) numRetries(id int32) (retries int, ok bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.retries[id], !s.left
}

// answer hands the answer to an outstanding event in, unless the subscription has
// ended.
func (s *subscriber[T]) answer(id int32, action ErrorAction, delay time.Duration, count func(*EventCounts)) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.left {
		return
	}
	count(&s.hub.counts)
	s.answered(id, action, delay)
}
