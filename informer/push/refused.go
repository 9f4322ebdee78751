// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/store"
)

// RefusedError refuses single objects of a call. A [BatchConsumer] can return it, or an error
// that wraps it, from OnBatch, SnapshotPage and EndSnapshot. The call then counts as accepted
// for all other objects.
//
// A refused object comes again in a batch after [MergerConfig.Backoff], merged with newer
// changes. After [MergerConfig.MaxTries] it is a dead letter: see [DeadLetterError].
//
// An error that names a key which is not in the call, or that wraps [store.ErrResync], refuses
// the whole call.
type RefusedError struct {
	// Keys has the error of each refused key. Without keys nothing is refused.
	Keys map[store.Key]error
}

// Error implements error. It has the first key and its error.
func (e *RefusedError) Error() string {
	if len(e.Keys) == 0 {
		return "no object was refused"
	}
	var first store.Key
	for key := range e.Keys {
		if first.Name == "" || key.Compare(first) < 0 {
			first = key
		}
	}
	if len(e.Keys) == 1 {
		return fmt.Sprintf("%s was refused: %v", first, reasonOf(e.Keys[first]))
	}
	return fmt.Sprintf("%d objects were refused, %s: %v", len(e.Keys), first, reasonOf(e.Keys[first]))
}

// DeadLetterError reports an object that the consumer refused [MergerConfig.MaxTries]
// times. Its change is no longer pending. The object is tried again when it changes, and in
// the next snapshot. Its deletion is delivered.
type DeadLetterError struct {
	// Name is the name of the Batcher or EventMerger.
	Name string

	// Meta is the state that was refused.
	Meta store.Meta

	// Tries is how often the consumer refused the object in a row.
	Tries int

	// Err is the last refusal.
	Err error
}

// Error implements error.
func (e *DeadLetterError) Error() string {
	return fmt.Sprintf("%s: %s was refused %d times, and is tried again when it changes or in the next snapshot: %v", e.Name, e.Meta, e.Tries, e.Err)
}

// Unwrap returns the last refusal.
func (e *DeadLetterError) Unwrap() error { return e.Err }

var errRefused = errors.New("the consumer gave no reason")

func reasonOf(err error) error {
	if err == nil {
		return errRefused
	}
	return err
}

// refusedKeys returns the keys that err refuses. Err is what a call returned, and has
// reports whether the call had a key. It returns an error if the whole call is refused.
func refusedKeys(err error, has func(store.Key) bool) (refused map[store.Key]error, whole error) {
	var r *RefusedError
	if err == nil || wantsSnapshot(err) || !errors.As(err, &r) {
		return nil, err
	}
	for key := range r.Keys {
		if !has(key) {
			return nil, fmt.Errorf("RefusedError names %s, which is not in the call: %w", key, err)
		}
	}
	return r.Keys, nil
}

// isOneOf returns a function that reports whether a key is one of n. It makes its set of
// keys when it is called first.
func isOneOf(n int, keyAt func(int) store.Key) func(store.Key) bool {
	var set map[store.Key]bool
	return func(key store.Key) bool {
		if set == nil {
			set = make(map[store.Key]bool, n)
			for i := range n {
				set[keyAt(i)] = true
			}
		}
		return set[key]
	}
}

// refusal is a key that the consumer refused, and has not accepted since.
type refusal struct {
	tries int        // in a row; 0 for a dead letter
	state store.Meta // that was refused last
	tried store.Meta // an older state, or the first one refused: the consumer may have it
	dead  bool
	since time.Time // the first refusal
	count int       // since then

	alone    bool // found without a RefusedError: it is delivered in a batch of its own
	withheld bool // found in a page: snapshots leave it out
}

// refusalOf returns the refusal of a key, a new one if there is none. The caller has the
// turn.
func (m *EventMerger[T]) refusalOf(key store.Key) *refusal {
	r := m.refusals[key]
	if r == nil {
		r = &refusal{}
		m.refusals[key] = r
	}
	return r
}

// addRefusal counts a refusal of state. The caller has the turn.
func (m *EventMerger[T]) addRefusal(state store.Meta, alone bool) *refusal {
	r := m.refusalOf(state.Key)
	m.setDead(r, false)
	if r.count++; r.count == 1 {
		r.since = time.Now()
	}
	r.tries++
	r.state, r.alone, r.withheld = state, alone, r.withheld && alone
	m.pending.SetAlone(state.Key, alone)
	m.count.refused.Add(1)
	return r
}

// setDead sets whether r is a dead letter.
func (m *EventMerger[T]) setDead(r *refusal, dead bool) {
	switch {
	case dead && !r.dead:
		r.tries = 0 // of a newer state
		m.count.dead.Add(1)
	case !dead && r.dead:
		m.count.dead.Add(-1)
	}
	r.dead = dead
}

// forget ends the refusal of a key, if there is one. The caller has the turn.
func (m *EventMerger[T]) forget(key store.Key) {
	if r := m.refusals[key]; r != nil {
		m.setDead(r, false)
		m.pending.SetAlone(key, false)
		delete(m.refusals, key)
		if r.count > 0 {
			m.observed.recovered(key, r.count, r.since)
		}
	}
}

// refuse holds a change that the consumer refused, or makes it a dead letter. The caller
// has the turn.
func (m *EventMerger[T]) refuse(t *pending.Taken[T], call string, err error, alone bool) {
	w, state := t.Work, t.Change.Meta
	wasTried(t)
	r := m.addRefusal(state, alone)
	if r.tried.Key.Name == "" && w.IsTried {
		r.tried = w.Tried
	}
	err = reasonOf(err)
	m.panics.Report(err)
	if tries := r.tries; m.cfg.MaxTries > 0 && tries >= m.cfg.MaxTries {
		m.setDead(r, true)
		m.pending.Acknowledged(w, false, 0)
		m.observed.deadLetter(state.Key, call, tries, r.since, err)
		m.report(&DeadLetterError{Name: m.name, Meta: state, Tries: tries, Err: err})
		return
	}
	delay := m.cfg.Backoff.Delay(r.tries, informer.CauseNone, err)
	m.pending.Hold(w, r.tries, delay)
	m.observed.failed(state.Key, call, r.tries, r.since, delay, err)
	m.report(&informer.HandlerError{Call: call, Meta: state, Failures: r.tries, RetryIn: delay, Err: err})
}

// offerAll has the next snapshot withhold nothing: the consumer may accept it by now. The
// caller has the turn.
func (m *EventMerger[T]) offerAll() {
	for _, r := range m.refusals {
		r.withheld = false
	}
}

// wasTried records that the consumer may have the object of t.
func wasTried[T any](t *pending.Taken[T]) {
	if !t.Change.Gone && !t.Work.IsTried { // the first one stands for all
		t.Work.Tried, t.Work.IsTried = t.Change.Meta, true
	}
}

// bisect finds which of n items the consumer refuses, after it refused all of them in one
// call. Offer offers the items from lo to hi in one call. Refused has the error of each
// item that was refused by itself. If the consumer accepted no call, the fault may not be
// the items'. It stops with err if no call must follow that.
//
// It makes 2n-2 calls at most, and 2*log2(n)+4 if the consumer accepts none of them: it
// takes parts from both ends until one is accepted.
func bisect(n int, offer func(lo, hi int) error, isFatal func(error) bool) (refused map[int]error, accepted bool, err error) {
	type span struct{ lo, hi int }
	parts := []span{{0, n / 2}, {n / 2, n}}
	refused = map[int]error{}
	for calls := 1; len(parts) > 0; calls++ {
		at := 0
		if !accepted && calls%2 == 0 {
			at = len(parts) - 1
		}
		p := parts[at]
		parts = slices.Delete(parts, at, at+1)
		switch err := offer(p.lo, p.hi); {
		case err == nil:
			accepted = true
		case isFatal(err):
			return refused, accepted, err
		case !accepted && calls >= 2*bits.Len(uint(n))+2:
			return refused, false, nil
		case p.hi-p.lo == 1:
			refused[p.lo] = err
		default:
			middle := (p.lo + p.hi) / 2
			parts = slices.Insert(parts, at, span{p.lo, middle}, span{middle, p.hi})
		}
	}
	return refused, accepted, nil
}
