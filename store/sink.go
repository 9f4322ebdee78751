// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
)

// Sink receives a collection of objects and its changes from a source such as
// informer.Reflector or a Poller.
//
// A pass is one complete statement of the collection: Begin, then Apply (or a
// true answer from Holds) for each object with Page at the boundaries, then
// Commit. What happens to the collection between passes are changes: Apply,
// Delete and Progress outside of a pass.
//
//		Begin (Holds | Apply | Keep | Delete | Page)* (Commit | Abort)
//		      (Apply | Delete | Progress)*
//		Begin …
//
//	  - All calls come from one goroutine at a time, in order.
//	  - Objects arrive as they are read, before the pass is known to be complete.
//	  - A deletion may be concluded from Delete, and from Commit for what was not
//	    applied since Begin. Never from anything else: a pass that is aborted, or
//	    that is followed by another Begin, says nothing about what it lacks.
//	  - The first call is Begin, unless the source was told to resume from a
//	    version that belongs to what the sink already holds.
//	  - An error ends the pass or the watch. The source reports it, backs off and
//	    goes on after the last call that the sink accepted, so a sink sees the
//	    refused object again. [ErrResync] asks for a new pass, [FullError] for a
//	    pause. Abort follows an error inside a pass as it does every other failure.
//	  - ctx ends when the source is stopped. A sink that blocks must heed it.
//	  - An object that the source cannot decode comes neither by Holds nor by Apply. See
//	    [Keeper].
//	  - Objects are handed over: the source does not touch them again, and neither
//	    may the sink change what it passes on to others.
//
// Embed [SinkDefaults] for the methods that a sink has no use for.
type Sink[T any] interface {
	// Begin starts a pass.
	Begin(ctx context.Context, pass Pass) error

	// Holds is asked within a pass whether the sink has exactly this object in
	// exactly this version. If it says so the object counts as applied, is not
	// decoded, and Apply is not called. A sink that must be shown unchanged
	// objects answers false.
	//
	// Exactly means that the UIDs are equal, where [Meta.SameObject] takes one
	// that is not known for any, and that the version is not empty. If in
	// doubt the answer is false: that costs a decoding, not an object.
	Holds(meta Meta) bool

	// Apply says that the object is as given. Within a pass a version that
	// differs from the held one is the newer one, whatever the numbers say.
	// Outside of a pass the object may be one that the sink already has, or an
	// older state of it ([Stale] tells): the sink ignores and counts it.
	Apply(ctx context.Context, meta Meta, obj T) error

	// Page ends a page of a pass. A sink that must not be flooded blocks here.
	Page(ctx context.Context, page PageInfo) error

	// Delete says that the object is gone. last is its last state if known.
	// The version is that of the deletion, or of the last state if the server
	// does not tell. The sink may hold another incarnation of the object, if
	// the news is old ([Superseded] tells): it ignores and counts that.
	Delete(ctx context.Context, meta Meta, last T, known bool) error

	// Commit completes the pass: the collection is at version, and what was
	// not applied since Begin is gone. The version may be older than what was
	// told before: it is then the truth, as after a restore of the server. It
	// is empty if the source knows no versions, and says then only that no
	// version belongs to the collection, whatever was told before.
	Commit(ctx context.Context, version string) error

	// Abort says that the pass broke off because of cause. Nothing may be
	// concluded from what is missing; what was applied stays applied. It comes
	// as well if the sink refused Begin or Commit.
	Abort(pass Pass, cause error)

	// Progress says that there is nothing new up to version, which is never
	// empty. It does not come within a pass: what a source hears of versions
	// there says nothing of the objects that are still to come.
	Progress(ctx context.Context, version string) error

	// MayBlock reports whether calls may block for long. An API server drops
	// a watcher that does not read for a fraction of a second, so such a sink
	// gets its passes as paged lists; between pages it may block at will.
	MayBlock() bool
}

// Keeper can be implemented by a [Sink] that keeps what it has of an object whose new state
// the source cannot decode. Without it a pass with such an object fails.
type Keeper interface {
	// Keep comes within a pass, in place of Holds and Apply: the collection has this object,
	// and its state is not known. What the sink holds of the same object, as
	// [Meta.SameObject] has it, stays as it is, and Commit does not remove it.
	//
	// Meta has no name if nobody knows which object it is. Each object that the pass lacks
	// can be that one, so Commit then removes nothing.
	//
	// An error that is errors.ErrUnsupported says that the sink cannot do it.
	Keep(ctx context.Context, meta Meta) error
}

// Keep calls the Keep of a sink that is a [Keeper]. The error of any other sink is
// errors.ErrUnsupported. A sink that wraps another one can implement Keeper by it.
func Keep[T any](ctx context.Context, sink Sink[T], meta Meta) error {
	if k, ok := sink.(Keeper); ok {
		return k.Keep(ctx, meta)
	}
	return errors.ErrUnsupported
}

// Pass describes one pass over a collection.
type Pass struct {
	// Epoch counts the passes of one source, from 1. A pass that is tried
	// again after Abort has an epoch of its own.
	Epoch uint64

	// Reason says why there is a pass.
	Reason Reason

	// Cause is what made the pass necessary, nil for a first pass.
	Cause error

	// Anew says that versions do not identify states: the objects come in another
	// API version than before, or the server does not change versions as it must.
	// Holds is not called, and the sink must take each object as a new state, also
	// in a version that it has.
	Anew bool
}

// Reason says why a pass was started. The set is closed: reasons serve as
// labels of metrics.
type Reason string

const (
	// ReasonFirst: nothing is known yet.
	ReasonFirst Reason = "first"

	// ReasonExpired: the server no longer has the version to watch from.
	ReasonExpired Reason = "expired"

	// ReasonAsked: the sink returned ErrResync, or a user asked.
	ReasonAsked Reason = "asked"

	// ReasonFailing: watching failed for so long that listing is tried.
	ReasonFailing Reason = "failing"

	// ReasonPoll: the source polls; each poll is a pass.
	ReasonPoll Reason = "poll"

	// ReasonAbsent: the kind is not installed any more. The pass has no objects.
	ReasonAbsent Reason = "absent"

	// ReasonCheck: the watches brought nothing for long, or a resync interval
	// ended.
	ReasonCheck Reason = "check"
)

// PageInfo describes a page of a pass that was just read.
type PageInfo struct {
	// Number counts the pages of the pass, from 1.
	Number int

	// Objects is how many objects this page had.
	Objects int

	// Remaining is how many objects the server says will follow; -1 if it
	// does not say.
	Remaining int64
}

// ErrResync is returned (or wrapped) by a sink to ask for a new pass. It ends
// the pass or the watch that is under way.
var ErrResync = errors.New("sink asks for a new pass")

// FullError is returned by a sink that cannot take more for now. The source
// closes its watch, waits until Drained is closed, and resumes from the last
// version that the sink accepted, by a new pass if that has expired. It is no
// failure: no backoff follows.
type FullError struct {
	Drained <-chan struct{}
}

// Error implements error.
func (*FullError) Error() string { return "sink is full" }

// Stale reports whether an Apply of next, outside of a pass, is old news to a
// sink that holds held under the same key: next is the same state of the object
// or an older one, or an older incarnation.
func Stale(next, held Meta) bool {
	if next.SameObject(held) {
		return !Supersedes(next.Version, held.Version)
	}
	order, ordered := CompareVersions(next.Version, held.Version)
	return ordered && order < 0
}

// Superseded reports whether the deletion that gone describes is old news to a
// sink that holds held under the same key: it is the deletion of another
// incarnation, and no newer than what is held.
func Superseded(gone, held Meta) bool {
	if gone.SameObject(held) {
		return false
	}
	order, ordered := CompareVersions(gone.Version, held.Version)
	return ordered && order <= 0
}

// SinkDefaults implements the parts of [Sink] that not every sink needs: it
// holds nothing, ignores pages and progress, and never blocks.
type SinkDefaults struct{}

// Holds implements [Sink]; it returns false.
func (SinkDefaults) Holds(Meta) bool { return false }

// Page implements [Sink]; it does nothing.
func (SinkDefaults) Page(context.Context, PageInfo) error { return nil }

// Progress implements [Sink]; it does nothing.
func (SinkDefaults) Progress(context.Context, string) error { return nil }

// MayBlock implements [Sink]; it returns false.
func (SinkDefaults) MayBlock() bool { return false }
