// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"fmt"
	"sync"
	"time"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// Observer gets what happens in a [Reflector] as typed values. Logs, metrics and health are
// observers.
//
// Calls do not overlap. The Reflector calls Observe on its goroutine, in order, and waits: it
// should return quickly. [ConsumerFailed], [ConsumerRecovered] and [ConsumerEnded] come on the
// goroutine of the consumer, such as the one that called Done. Observe must not call Done, or
// anything that waits for another call of Observe.
type Observer interface {
	Observe(info ReflectorInfo, occurrence ReflectorEvent)
}

// ObserverFunc is a function that is an [Observer].
type ObserverFunc func(ReflectorInfo, ReflectorEvent)

// Observe implements [Observer].
func (f ObserverFunc) Observe(info ReflectorInfo, o ReflectorEvent) { f(info, o) }

// Observers returns an observer that passes each occurrence to all observers of the list, in
// order. It skips nil. If one panics, the others still get the occurrence.
func Observers(list ...Observer) Observer {
	var all observers
	for _, o := range list {
		all = append(all, asObservers(o)...)
	}
	return all
}

// SerialObserver returns an observer for several Reflectors. It passes each occurrence to o.
// Calls do not overlap.
func SerialObserver(o Observer) Observer {
	var calling sync.Mutex
	var all observers
	for _, observer := range asObservers(o) {
		all = append(all, ObserverFunc(func(info ReflectorInfo, o ReflectorEvent) {
			calling.Lock()
			defer calling.Unlock()
			observer.Observe(info, o)
		}))
	}
	return all
}

// observers is a list that is an observer. A [Reflector] calls them one by one.
type observers []Observer

// Observe implements [Observer].
func (list observers) Observe(info ReflectorInfo, o ReflectorEvent) {
	for _, observer := range list {
		observer.Observe(info, o)
	}
}

// asObservers returns o as a list without nil.
func asObservers(o Observer) observers {
	if list, ok := o.(observers); ok {
		return list
	}
	if check.IsNil(o) {
		return nil
	}
	return observers{o}
}

// ReflectorEvent is something that happened in a Reflector: one of the types below. Observers
// must ignore unknown types, because the set grows.
type ReflectorEvent interface{ reflectorEvent() }

type (
	// ListStarted reports that a pass starts. Streamed is set for a watch with initial events, and not
	// for paged lists.
	ListStarted struct {
		Pass     store.Pass
		Streamed bool
	}

	// PageRead reports that a page was read, and the sink accepted it.
	PageRead struct{ store.PageInfo }

	// ListDone reports that the sink accepted the whole pass.
	ListDone struct {
		Pass     store.Pass
		Streamed bool
		Version  string
		Objects  int           // in the collection
		Decoded  int           // of these, how many the sink did not hold
		Took     time.Duration // waits for the sink and the ListBudget included
	}

	// ListFailed reports that the pass broke off. Another one follows, or the watch goes on.
	ListFailed struct {
		Pass     store.Pass
		Streamed bool
		Cause    Cause
		Err      error
	}

	// WatchOpened reports that the server accepted a watch from Version.
	WatchOpened struct{ Version string }

	// WatchEnded reports that a watch ended, or could not be opened. Cause is CauseClosed if the server
	// ended it in an orderly way, CauseSilent without Err after the idle timeout of an open
	// watch, and CauseCanceled without Err if a pass is due.
	WatchEnded struct {
		Version string // to resume from
		Events  int
		Lived   time.Duration
		Cause   Cause
		Err     error // nil if nothing was wrong: the server ended it, or it was quiet
	}

	// RelistNeeded reports that a pass follows the watch, for this reason.
	RelistNeeded struct {
		Reason store.Reason
		Err    error
	}

	// WatchListUnavailable reports that the server does not stream initial events. It answered a
	// streamed list with 400, 405 or 422, without an end, or with nothing over a connection
	// that works. Lists are paged until Retry. Other failures of a streamed list, such as
	// 403, are not reported here.
	WatchListUnavailable struct {
		Err   error
		Retry time.Time
	}

	// BackingOff reports that the Reflector sends no request for a while. After a pass of ReasonResync or
	// ReasonCheck only the next try of the pass waits, and the watch goes on.
	BackingOff struct {
		For      time.Duration
		Failure  int // the number of failures in a row, for the backoff
		Repeated int // how often the same failure came before, since the last success
		Cause    Cause
		Err      error
	}

	// Recovered reports that the request or sink that failed last has succeeded.
	Recovered struct {
		Failures int           // since the last success
		After    time.Duration // since the first of them
		Cause    Cause         // of the last of them
	}

	// Polling reports that passes follow each other, because there is no reliable watch. It is observed
	// at the start, and again if Cause changes.
	//
	//   - CauseForbidden, CauseNotInstalled, CauseNotSupported: the server lists and refuses
	//     to watch. WatchEnded comes for each further try, and WatchOpened at the end.
	//   - CauseSilent: a pass showed changes that the watches did not bring. WatchProved
	//     comes at the end.
	Polling struct {
		Every time.Duration
		Cause Cause
		Err   error
	}

	// CheckDiffers reports that a pass of [Settings.CheckMetadata] found an object that the sink does not
	// have, or has in another version. A pass that reads whole objects follows. It comes
	// instead of ListDone.
	CheckDiffers struct {
		Pass store.Pass
		Key  store.Key
	}

	// Missed reports that a pass found and brought changes that the watch, or the pass before, should
	// have brought: objects in a version that the watch had passed, and that the sink did not
	// have. It follows ListDone, once for a pass, with the number of objects and the key of
	// the first.
	//
	// Passes of [store.ReasonCheck] and [store.ReasonResync] look for such changes. They ignore
	// changes that can be newer than the watch. So only a pass at exactly the version of the
	// watch finds a missed deletion. The sink must have the methods GetMeta, Keys and Len of a
	// [store.Store]. An object that the program removes from the store counts as missed.
	Missed struct {
		Pass  store.Pass
		Count int
		Key   store.Key
	}

	// WatchProved reports that a watch brings changes again, after Polling with CauseSilent.
	WatchProved struct{ Version string }

	// VersionsUnordered reports that versions of the server cannot be compared. A watch from version From
	// brought an event about Meta that is not newer, or a list at From has an object that is
	// newer. From now on events are applied in order of arrival, and passes decide what is
	// true. It is observed once.
	VersionsUnordered struct {
		Meta store.Meta
		From string
	}

	// ObjectLeftOut reports that the newest state of an object cannot be decoded and is left out. It is
	// observed once for each object, until LeftOutEnded. Of the objects beyond the 100 of
	// [ReflectorInfo].LeftOut, only the first is observed.
	ObjectLeftOut struct{ LeftOut }

	// LeftOutEnded reports that an object that was left out is decoded again, or is gone. Key is empty
	// for objects without a name.
	LeftOutEnded struct{ Key store.Key }

	// NamespacesChanged reports that the set of package namespaces has changed. It is observed
	// once at the start, and then before the lists of added namespaces begin. Occurrences of
	// removed namespaces can follow.
	NamespacesChanged struct {
		Added, Removed []string // sorted
		Count          int      // of the set
	}

	// Draining reports that the sink is full. The Reflector sends no request until it has drained.
	Draining struct{ Err error }

	// StoppedUnused reports that the Reflector has ended, because its collection was not in use
	// since this time. Only resources stop so, see resource.WithStopUnused.
	StoppedUnused struct{ Since time.Time }

	// UsedAgain reports that a Reflector starts for a collection that was stopped, see
	// StoppedUnused. Its first pass follows, and its [ReflectorInfo] begins anew.
	UsedAgain struct{}

	// WentBackwards reports that the server has an older state than before, as after a restore from a
	// backup. The sink gets that state.
	WentBackwards struct{ From, To string }
)

// String returns what failed and why: "cannot list: forbidden", "the sink failed".
func (b BackingOff) String() string {
	what := whatFailed(b.Cause, b.Err)
	if b.Cause == CauseSink {
		return what
	}
	return fmt.Sprintf("%s: %s", what, b.Cause)
}

// String returns "not in use since 2006-01-02 15:04:05 UTC".
func (s StoppedUnused) String() string {
	return "not in use since " + s.Since.UTC().Format("2006-01-02 15:04:05 UTC")
}

// String returns the error, the interval and advice: "watch pods: pods is forbidden: …;
// polling every 30s; grant the client's identity the verb watch".
func (p Polling) String() string {
	return fmt.Sprintf("%v; polling every %v; %s", p.Err, p.Every, p.advice())
}

// advice returns what a person can do to get a watch.
func (p Polling) advice() string {
	switch p.Cause {
	case CauseForbidden:
		return "grant the client's identity the verb watch"
	case CauseNotInstalled:
		return "check the proxies before the server: the resource is found for a list, and not for a watch"
	case CauseSilent:
		return "check the proxies between the client and the server: they hold watches back or cut them"
	}
	return "the server does not offer a watch of this resource"
}

func (ListStarted) reflectorEvent()          {}
func (PageRead) reflectorEvent()             {}
func (ListDone) reflectorEvent()             {}
func (ListFailed) reflectorEvent()           {}
func (WatchOpened) reflectorEvent()          {}
func (WatchEnded) reflectorEvent()           {}
func (RelistNeeded) reflectorEvent()         {}
func (WatchListUnavailable) reflectorEvent() {}
func (BackingOff) reflectorEvent()           {}
func (Recovered) reflectorEvent()            {}
func (Polling) reflectorEvent()              {}
func (CheckDiffers) reflectorEvent()         {}
func (Missed) reflectorEvent()               {}
func (WatchProved) reflectorEvent()          {}
func (VersionsUnordered) reflectorEvent()    {}
func (ObjectLeftOut) reflectorEvent()        {}
func (LeftOutEnded) reflectorEvent()         {}
func (NamespacesChanged) reflectorEvent()    {}
func (Draining) reflectorEvent()             {}
func (StoppedUnused) reflectorEvent()        {}
func (UsedAgain) reflectorEvent()            {}
func (WentBackwards) reflectorEvent()        {}
