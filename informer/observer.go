// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"fmt"
	"time"

	"github.com/apiary-go/apiary/internal/check"
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
// in order; nil ones are skipped. If one panics, the others get the occurrence all the
// same.
func Observers(list ...Observer) Observer {
	var all observers
	for _, o := range list {
		all = append(all, asObservers(o)...)
	}
	return all
}

// observers is one observer made of others, which a [Reflector] calls one by one.
type observers []Observer

// Observe implements [Observer].
func (list observers) Observe(info ReflectorInfo, o Occurrence) {
	for _, observer := range list {
		observer.Observe(info, o)
	}
}

// asObservers returns those that o is made of.
func asObservers(o Observer) observers {
	if list, ok := o.(observers); ok {
		return list
	}
	if check.IsNil(o) {
		return nil
	}
	return observers{o}
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

	// ListFailed says that the pass broke off. Another one follows, or the watch goes on.
	ListFailed struct {
		Pass     store.Pass
		Streamed bool
		Cause    Cause
		Err      error
	}

	// WatchOpened says that the server accepted a watch from Version.
	WatchOpened struct{ Version string }

	// WatchEnded says that a watch ended, or could not be opened. Cause is CauseClosed
	// if the server ended it in an orderly way, CauseSilent without Err if it was open
	// and brought nothing for as long as is allowed, and CauseCanceled without Err if a
	// pass is due.
	WatchEnded struct {
		Version string // to resume from
		Events  int
		Lived   time.Duration
		Cause   Cause
		Err     error // nil if nothing was wrong: the server ended it, or there was nothing to bring
	}

	// RelistNeeded says that a pass follows the watch, and why.
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

	// BackingOff says that nothing is requested for a while or, after a pass that the watch
	// can do without, that this is tried again after a while.
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

	// Polling says that passes follow each other, since there is no watch that can be
	// relied on. It is observed when that begins, and once more if Cause changes. With
	// CauseForbidden, CauseNotInstalled and CauseNotSupported the server lists and
	// refuses to watch: WatchOpened ends it, and WatchEnded comes for each watch that
	// was tried in between. With CauseSilent a pass showed changes that the watches did
	// not bring: WatchProved ends it.
	Polling struct {
		Every time.Duration
		Cause Cause
		Err   error
	}

	// CheckDiffers says that a check of [Settings.CheckMetadata] found an object that the sink
	// lacks, or has in another version. A pass that reads whole objects follows. It comes in
	// place of ListDone.
	CheckDiffers struct {
		Pass store.Pass
		Key  store.Key
	}

	// Missed says that a pass found changes that the watch, or the pass before, should have
	// brought: objects in a version that the watch had passed, and that the sink lacked. The
	// pass has mended it. It follows ListDone, once for a pass, with the number of objects
	// and the key of the first.
	//
	// Passes of [store.ReasonCheck] and [store.ReasonAsked] look for such changes. They find
	// nothing that might be newer than what the watch had come to: so a missed deletion is
	// found only by a pass at the very version that the watch had come to. The sink must be
	// able to say what it holds, as a [store.Store] is. What something else than the
	// Reflector removes from the store counts as missed.
	Missed struct {
		Pass  store.Pass
		Count int
		Key   store.Key
	}

	// WatchProved says that a watch brings changes again, after Polling with
	// CauseSilent.
	WatchProved struct{ Version string }

	// VersionsUnordered says that the server sent an event about Meta that is not newer
	// than From, where the watch began, or a list at From with an object that is newer.
	// Its versions are not compared any more: events are applied in the order in which
	// they come, and passes decide what is true. It is observed once.
	VersionsUnordered struct {
		Meta store.Meta
		From string
	}

	// ObjectLeftOut says that the newest state of an object cannot be decoded and is left
	// out. It is observed once for each object, until LeftOutEnded. Of those for which
	// [ReflectorInfo.LeftOut] has no room, the first is observed.
	ObjectLeftOut struct{ LeftOut }

	// LeftOutEnded says that the object that was left out is decoded again, or is gone. Key
	// is empty for objects without a name.
	LeftOutEnded struct{ Key store.Key }

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
	case CauseSilent:
		return "look at what stands between the client and the server: it holds watches back, or cuts them"
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
func (CheckDiffers) occurrence()         {}
func (Missed) occurrence()               {}
func (WatchProved) occurrence()          {}
func (VersionsUnordered) occurrence()    {}
func (ObjectLeftOut) occurrence()        {}
func (LeftOutEnded) occurrence()         {}
func (Draining) occurrence()             {}
func (WentBackwards) occurrence()        {}
