// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"runtime"
	"time"

	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

// token represents an outstanding event. Only the Done of the event refers to it. When
// the garbage collector finds the token, Done can no longer be called.
//
// Tokens are used again, since attaching a cleanup costs more than the rest of an event.
// Each Done has the number of its use.
type token[T kruntime.Object] struct {
	receipt *receipt[T]
	use     uint64 // number of earlier events of this token; guarded by sub.mu
}

// receipt identifies the event of a token. The cleanup refers to it, so it must not refer
// to the token. sub.mu guards it.
type receipt[T kruntime.Object] struct {
	sub  *subscriber[T]
	slot *slot[T] // nil: the event is not outstanding
	kind EventKind
	key  store.Key
}

// spareTokens is the maximum number of tokens that a subscriber keeps for further events.
const spareTokens = 64

// token returns a token for an event, and the Done of the event.
func (s *subscriber[T]) token(sl *slot[T], key store.Key, kind EventKind) (*token[T], func(error)) {
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
	r.slot, r.kind, r.key = sl, kind, key
	use := t.use
	return t, func(err error) { t.done(use, err) }
}

// done is Event.Done.
func (t *token[T]) done(use uint64, err error) {
	s := t.receipt.sub
	s.mu.Lock()
	defer s.unlock()
	if s.ending || t.use != use {
		return
	}
	defer s.awaitRecall() // also if user code panics
	t.use++
	if err == nil {
		t.receipt.complete("", &s.counts.OK)
	} else {
		t.receipt.failed(err)
	}
	if !s.ending && len(s.spare) < spareTokens {
		s.spare = append(s.spare, t)
	}
	runtime.KeepAlive(t)
}

// failed calls the error handler, without the mutex, and applies its decision. The key
// stays outstanding until the handler has returned.
func (r *receipt[T]) failed(err error) {
	s := r.sub
	retries := s.retriesOf(r.slot.id)
	var action ErrorAction
	s.callOnDone(func() { action = s.onError(r.key, retries, err) })
	if s.ending {
		return
	}
	var delay time.Duration
	if action != ErrorActionIgnore && action != ErrorActionStop {
		action = ErrorActionRetry
		if s.limiter == nil {
			s.limiter = workqueue.DefaultTypedControllerRateLimiter[store.Key]()
		}
		if s.callOnDone(func() { delay = s.limiter.When(r.key) }); s.ending {
			return
		}
	}
	// The key is outstanding until the observer has returned, so that it gets what
	// happens to a key in order.
	if s.report(s.failed(r, action, delay, err)); s.ending {
		return
	}
	switch action {
	case ErrorActionIgnore:
		r.complete(action, &s.counts.Ignored)
	case ErrorActionStop:
		s.counts.Stopped++
		s.end()
	default:
		s.counts.Retried++
		s.afterDone(r.take(), ErrorActionRetry, delay)
	}
}

// complete ends the event without a retry. If the key was retried, it calls the limiter,
// without the mutex.
func (r *receipt[T]) complete(action ErrorAction, count *uint64) {
	s := r.sub
	if s.retriesOf(r.slot.id) > 0 {
		if s.callOnDone(func() { s.limiter.Forget(r.key) }); s.ending {
			return
		}
		if s.report(s.recovered(r)); s.ending {
			return
		}
	}
	*count++
	s.afterDone(r.take(), action, 0)
}

// take returns the slot. From then on, the event is not outstanding.
func (r *receipt[T]) take() *slot[T] {
	sl := r.slot
	r.slot = nil
	return sl
}

// callOnDone calls the error handler or the rate limiter, without the mutex. A panic
// ends the subscription, since the event had its Done and has no decision. The caller of
// Done gets the panic.
func (s *subscriber[T]) callOnDone(f func()) {
	returned := false
	defer func() {
		if !returned {
			s.hub.panics.Add()
			s.end()
		}
	}()
	s.unlocked(f)
	returned = true
}

// lost reports an event whose Done can no longer be called. The runtime calls it.
func (r *receipt[T]) lost() {
	s := r.sub
	h := s.hub
	s.mu.Lock()
	defer s.unlock()
	if s.ending || r.slot == nil {
		return
	}
	report := ForgottenDone{Resource: h.name, Kind: r.kind, Key: r.key, Site: s.site.String()}
	if h.forgotten == nil {
		panic(report.String())
	}
	r.complete("", &s.counts.Forgotten)
	s.unlocked(func() {
		_ = h.panics.Call("function of WithForgottenDone", s.site.String(), report.Key, func() { h.forgotten(report) })
	})
}
