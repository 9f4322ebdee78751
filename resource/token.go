// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"runtime"
	"time"

	kruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// token stands for an outstanding event. While it does, only the event's Done
// refers to it: when the garbage collector finds it, Done can no longer be called.
//
// Attaching a cleanup to an object costs more than all the rest of an event, so
// tokens are used again, and Done knows which use is its own.
type token[T kruntime.Object] struct {
	receipt *receipt[T]
	use     uint64 // counts the events that are over; guarded by hub.mu
}

// receipt says which event a token stands for. It is what the cleanup has, so it
// must not refer to the token. It is guarded by hub.mu.
type receipt[T kruntime.Object] struct {
	sub         *subscriber[T]
	id          int32
	kind        EventKind
	key         store.Key
	outstanding bool
}

// spareTokens is how many tokens a subscriber keeps for later.
const spareTokens = 64

// token returns the token of an event that is being emitted, and its Done.
func (s *subscriber[T]) token(id int32, key store.Key, kind EventKind) (*token[T], func(error)) {
	var t *token[T]
	if last := len(s.spare) - 1; last >= 0 {
		t = s.spare[last]
		s.spare[last] = nil
		s.spare = s.spare[:last]
	} else {
		t = &token[T]{receipt: &receipt[T]{sub: s}}
		runtime.AddCleanup(t, (*receipt[T]).lost, t.receipt)
	}
	r := t.receipt
	r.id, r.kind, r.key, r.outstanding = id, kind, key, true
	use := t.use
	return t, func(err error) { t.done(use, err) }
}

// done is Event.Done.
func (t *token[T]) done(use uint64, err error) {
	s := t.receipt.sub
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.ending || t.use != use {
		return
	}
	defer s.awaitRecall() // also if user code panics
	t.use++
	if err == nil {
		t.receipt.complete("", &s.hub.counts.OK)
	} else {
		t.receipt.failed(err)
	}
	if !s.ending && len(s.spare) < spareTokens {
		s.spare = append(s.spare, t)
	}
	runtime.KeepAlive(t)
}

// failed asks the error handler, without the mutex. The key stays outstanding
// until it has answered.
func (r *receipt[T]) failed(err error) {
	s := r.sub
	h := s.hub
	retries := s.retries[r.id]
	var action ErrorAction
	s.ask(func() { action = s.onError(r.key, retries, err) })
	switch {
	case s.ending:
	case action == ErrorActionIgnore:
		r.complete(action, &h.counts.Ignored)
	case action == ErrorActionStop:
		h.counts.Stopped++
		s.end()
	default:
		var delay time.Duration
		s.ask(func() { delay = s.limiter.When(r.key) })
		if !s.ending {
			h.counts.Retried++
			r.outstanding = false
			s.answered(r.id, ErrorActionRetry, delay)
		}
	}
}

// complete ends the event without a retry. It unlocks the mutex if the limiter has
// something to forget.
func (r *receipt[T]) complete(action ErrorAction, count *uint64) {
	s := r.sub
	if s.retries[r.id] > 0 {
		s.ask(func() { s.limiter.Forget(r.key) })
		if s.ending {
			return
		}
	}
	*count++
	r.outstanding = false
	s.answered(r.id, action, 0)
}

// ask calls the error handler or the rate limiter, without the mutex. If it panics
// the subscription ends: the event has had its Done, and what becomes of the key is
// not known. The caller of Done gets the panic.
func (s *subscriber[T]) ask(f func()) {
	returned := false
	defer func() {
		if !returned {
			s.hub.panics.Add()
			s.end()
		}
	}()
	s.hub.unlocked(f)
	returned = true
}

// lost is called by the runtime when Done can no longer be called.
func (r *receipt[T]) lost() {
	s := r.sub
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.ending || !r.outstanding {
		return
	}
	report := ForgottenDone{Resource: h.name, Kind: r.kind, Key: r.key, Site: s.site}
	if h.forgotten == nil {
		panic(report.String())
	}
	r.complete("", &h.counts.Forgotten)
	h.unlocked(func() {
		_ = h.panics.Call("function of WithForgottenDone", s.site, report.Key, func() { h.forgotten(report) })
	})
}
