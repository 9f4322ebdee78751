// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"fmt"
	"time"

	"github.com/apiary-go/apiary/store"
)

// Observer is told what a [Reflector] does, as typed values: logs, metrics and
// health are made of these.
//
// Observe is called from the goroutine of the Reflector, in order, and should
// return quickly: the Reflector waits for it.
type Observer interface {
	Observe(info ReflectorInfo, occurrence Occurrence)
}

// ObserverFunc is a function that is an [Observer].
type ObserverFunc func(ReflectorInfo, Occurrence)

// Observe implements [Observer].
func (f ObserverFunc) Observe(info ReflectorInfo, o Occurrence) { f(info, o) }

// Observers returns an observer that passes everything to each of those given,
// in order; nil ones are skipped.
func Observers(observers ...Observer) Observer {
	var list []Observer
	for _, o := range observers {
		if o != nil {
			list = append(list, o)
		}
	}
	return ObserverFunc(func(info ReflectorInfo, o Occurrence) {
		for _, observer := range list {
			observer.Observe(info, o)
		}
	})
}

// Occurrence is something that happened in a Reflector: one of the types
// below. The set grows; ignore what you do not know.
type Occurrence interface{ occurrence() }

type (
	// ListStarted says that a pass starts. Streamed tells a watch with initial events
	// from paged lists.
	ListStarted struct {
		Pass     store.Pass
		Streamed bool
	}

	// PageRead says that a page was read and that the sink accepted it.
	PageRead struct{ store.PageInfo }

	// ListDone says that the sink accepted the whole pass.
	ListDone struct {
		Pass     store.Pass
		Streamed bool
		Version  string
		Objects  int           // in the collection
		Decoded  int           // of these, how many the sink did not hold
		Took     time.Duration // waits for the sink and the ListBudget included
	}

	// ListFailed says that the pass broke off. Another one follows.
	ListFailed struct {
		Pass     store.Pass
		Streamed bool
		Cause    Cause
		Err      error
	}

	// WatchOpened says that the server accepted a watch from Version.
	WatchOpened struct{ Version string }

	// WatchEnded says that a watch ended, or could not be opened. Cause is CauseClosed
	// if the server ended it in an orderly way.
	WatchEnded struct {
		Version string // to resume from
		Events  int
		Lived   time.Duration
		Cause   Cause
		Err     error // nil for CauseClosed
	}

	// RelistNeeded says that watching cannot go on from the last version.
	RelistNeeded struct {
		Reason store.Reason
		Err    error
	}

	// WatchListUnavailable says that the server answered a streamed list in a way that
	// means that it does not stream initial events: with 400, 405 or 422, without an
	// end, or with nothing over a connection that answers. Paged lists are used until
	// Retry. One that is forbidden, or fails otherwise, is not reported so.
	WatchListUnavailable struct {
		Err   error
		Retry time.Time
	}

	// BackingOff says that something failed and that nothing is requested for a while.
	BackingOff struct {
		For      time.Duration
		Failure  int // how many in a row, for the backoff
		Repeated int // how often this failure came before, since the last success
		Cause    Cause
		Err      error
	}

	// Recovered says that what failed last has succeeded.
	Recovered struct {
		Failures int           // how many there were since the last success
		After    time.Duration // since the first of them
		Cause    Cause         // of the last of them
	}

	// Polling says that the server lists and refuses to watch, so there is a pass now and
	// then instead. It is told when that begins, and once more if the server comes
	// to refuse for another Cause. WatchOpened ends it. In between, WatchEnded tells
	// of each watch that was tried and refused.
	Polling struct {
		Every time.Duration // Config.PollInterval
		Cause Cause         // CauseForbidden, CauseNotInstalled or CauseNotSupported
		Err   error
	}

	// Draining says that the sink is full: nothing is requested until it has drained.
	Draining struct{ Err error }

	// WentBackwards says that the server gave an older version than it gave before, as
	// after a restore from a backup. Its state is taken as the truth.
	WentBackwards struct{ From, To string }
)

// String says what failed and why: "cannot list: forbidden", "the sink failed".
func (b BackingOff) String() string {
	what := whatFailed(b.Cause, b.Err)
	if b.Cause == CauseSink {
		return what
	}
	return fmt.Sprintf("%s: %s", what, b.Cause)
}

// String says what it means and what to do about it: "watch pods: pods is
// forbidden: …; polling every 30s; grant the client's identity the verb watch".
func (p Polling) String() string {
	return fmt.Sprintf("%v; polling every %v; %s", p.Err, p.Every, p.advice())
}

// advice says how there can be a watch.
func (p Polling) advice() string {
	switch p.Cause {
	case CauseForbidden:
		return "grant the client's identity the verb watch"
	case CauseNotInstalled:
		return "have the server, or what stands before it, find the resource for a watch as it does for a list"
	}
	return "the server does not offer a watch of this resource"
}

func (ListStarted) occurrence()          {}
func (PageRead) occurrence()             {}
func (ListDone) occurrence()             {}
func (ListFailed) occurrence()           {}
func (WatchOpened) occurrence()          {}
func (WatchEnded) occurrence()           {}
func (RelistNeeded) occurrence()         {}
func (WatchListUnavailable) occurrence() {}
func (BackingOff) occurrence()           {}
func (Recovered) occurrence()            {}
func (Polling) occurrence()              {}
func (Draining) occurrence()             {}
func (WentBackwards) occurrence()        {}
