// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
)

// Sink receives a collection of objects and its changes from a source, such as an
// informer.Reflector or a poller.Poller.
//
// A pass is one complete read of the collection: Begin, then Apply for each object (or
// a Holds that returns true), Page after each page, and Commit. Outside of a pass, Apply,
// Delete and Progress are changes of the collection.
//
//		Begin (Holds | Apply | Keep | Delete | Page)* (Commit | Abort)
//		      (Apply | Delete | Progress)*
//		Begin …
//
//	  - All calls come from one goroutine at a time, in order.
//	  - Objects arrive as they are read, before the pass is known to be complete.
//	  - A sink can conclude a deletion from Delete, and from Commit for each object that
//	    was not applied since Begin. It must not conclude one from a pass that is
//	    aborted, or followed by another Begin.
//	  - The first call is Begin, unless the source is configured to resume from a
//	    version, which must belong to the objects that the sink already has.
//	  - An error ends the pass or the watch. The source reports it, backs off and
//	    continues after the last call that the sink accepted, so the sink gets the
//	    refused object again. [ErrResync] requests a new pass, and [FullError] a pause.
//	    After an error within a pass comes Abort, as after any other failure.
//	  - ctx ends when the source is stopped. A sink that blocks must return then.
//	  - For an object that it cannot decode, the source calls neither Holds nor Apply.
//	    See [Keeper].
//	  - The source does not use an object after the call. The sink must not modify
//	    objects that it passes on.
//
// Embed [SinkDefaults] for the methods that a sink does not need.
type Sink[T any] interface {
	// Begin starts a pass.
	Begin(ctx context.Context, pass Pass) error

	// Holds returns true if the sink has exactly this version of the object. It is
	// called only within a pass. The object then counts as applied: it is not decoded,
	// and Apply is not called. A sink that needs unchanged objects returns false.
	//
	// The UIDs must be equal, and the version must not be empty. Unlike in
	// [Meta.SameObject], an empty UID equals only an empty one. If in doubt, return
	// false: it only costs a decoding.
	Holds(meta Meta) bool

	// Apply passes the current state of an object. Within a pass, a version that differs
	// from that in the sink is newer, even if its number is lower. Outside of a pass, the
	// sink may already have this state or a newer one, see [Stale]. It then ignores and
	// counts the call.
	Apply(ctx context.Context, meta Meta, obj T) error

	// Page ends a page of a pass. A sink can block here to slow the source down.
	Page(ctx context.Context, page PageInfo) error

	// Delete reports that the object was deleted. last is its last state, if known. The
	// version is that of the deletion, or of the last state if the server does not send
	// the former. The sink may already have a newer object with this key, see
	// [Superseded]. It then ignores and counts the call.
	Delete(ctx context.Context, meta Meta, last T, known bool) error

	// Commit completes the pass. The collection is at version, and objects that were not
	// applied since Begin are deleted. The version is authoritative even if it is older
	// than the previous one, as after a restore of the server. It is empty if the source
	// has no versions. The collection then has no version, even if it had one before.
	Commit(ctx context.Context, version string) error

	// Abort ends an incomplete pass, because of cause. Applied objects stay, and missing
	// objects are not deleted. It is also called if Begin or Commit returned an error.
	Abort(pass Pass, cause error)

	// Progress reports that there are no further changes up to version, which is never
	// empty. It is not called within a pass, where objects are still missing.
	Progress(ctx context.Context, version string) error

	// MayBlock returns true if calls can block for long. An API server drops a watcher
	// that does not read for a fraction of a second. So such a sink gets its passes as
	// paged lists, and can block between pages for any time.
	MayBlock() bool
}

// Keeper is an optional interface of a [Sink]. It keeps the previous state of an object
// whose new state the source cannot decode. Without it, a pass with such an object fails.
type Keeper interface {
	// Keep is called within a pass, in place of Holds and Apply, for an object whose state
	// is not known. The state that the sink has of the same object ([Meta.SameObject])
	// stays, and Commit does not remove it.
	//
	// If the object is not known, meta has no name. Each object that the pass lacks can
	// then be the one, so Commit removes nothing.
	//
	// A sink that cannot do this returns errors.ErrUnsupported.
	Keep(ctx context.Context, meta Meta) error
}

// Keep calls the Keep of a sink that is a [Keeper]. For other sinks it returns
// errors.ErrUnsupported. A sink that wraps another one can implement Keeper with it.
func Keep[T any](ctx context.Context, sink Sink[T], meta Meta) error {
	if k, ok := sink.(Keeper); ok {
		return k.Keep(ctx, meta)
	}
	return errors.ErrUnsupported
}

// Pass describes one pass over a collection.
type Pass struct {
	// Epoch counts the passes of one source, from 1. A retry after Abort is a new pass.
	Epoch uint64

	// Reason is why the source reads the collection.
	Reason Reason

	// Cause is the error or reason that made the pass necessary, nil for a first pass.
	Cause error

	// Anew is true if versions do not identify states: the objects have another API
	// version than before, or the server does not change versions as it must. Holds is
	// then not called. Each object is a new state, even in a version that the sink has.
	Anew bool
}

// Reason is why a pass was started. The set is closed: reasons are labels of metrics.
type Reason string

const (
	// ReasonFirst: there is no version to resume from.
	ReasonFirst Reason = "first"

	// ReasonExpired: the server no longer has the version to watch from.
	ReasonExpired Reason = "expired"

	// ReasonAsked: the sink returned ErrResync, or a user asked.
	ReasonAsked Reason = "asked"

	// ReasonFailing: watches failed for so long that the source lists.
	ReasonFailing Reason = "failing"

	// ReasonPoll: the source polls; each poll is a pass.
	ReasonPoll Reason = "poll"

	// ReasonAbsent: the kind is no longer installed. The pass has no objects.
	ReasonAbsent Reason = "absent"

	// ReasonCheck: watches brought nothing for a long time, or a resync interval ended.
	ReasonCheck Reason = "check"
)

// PageInfo describes a page of a pass that was just read.
type PageInfo struct {
	// Number counts the pages of the pass, from 1.
	Number int

	// Objects is the number of objects of this page.
	Objects int

	// Remaining is the number of objects that will follow, as reported by the server; -1
	// if the server does not report it.
	Remaining int64
}

// ErrResync is returned or wrapped by a sink to request a new pass. It ends the current
// pass or watch.
var ErrResync = errors.New("the sink requests a new pass")

// FullError is returned by a sink that is full. The source closes its watch, waits until
// Drained is closed, and resumes from the last version that the sink accepted. If that
// version has expired, it starts a new pass. There is no backoff, as this is no failure.
type FullError struct {
	Drained <-chan struct{}
}

// Error implements error.
func (*FullError) Error() string { return "sink is full" }

// Stale returns true if a sink that has held must ignore an Apply of next outside of a
// pass. Both have the same key. next is then the same state of the object or an older one,
// or an older object.
func Stale(next, held Meta) bool {
	if next.SameObject(held) {
		return !Supersedes(next.Version, held.Version)
	}
	order, ordered := CompareVersions(next.Version, held.Version)
	return ordered && order < 0
}

// Superseded returns true if a sink that has held must ignore the deletion of gone. Both
// have the same key. gone is then another object than held, and not newer.
func Superseded(gone, held Meta) bool {
	if gone.SameObject(held) {
		return false
	}
	order, ordered := CompareVersions(gone.Version, held.Version)
	return ordered && order <= 0
}

// SinkDefaults implements the methods of [Sink] that not every sink needs. It holds no
// objects, ignores pages and progress, and never blocks.
type SinkDefaults struct{}

// Holds implements [Sink]; it returns false.
func (SinkDefaults) Holds(Meta) bool { return false }

// Page implements [Sink]; it does nothing.
func (SinkDefaults) Page(context.Context, PageInfo) error { return nil }

// Progress implements [Sink]; it does nothing.
func (SinkDefaults) Progress(context.Context, string) error { return nil }

// MayBlock implements [Sink]; it returns false.
func (SinkDefaults) MayBlock() bool { return false }
