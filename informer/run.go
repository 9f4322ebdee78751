// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apiary-go/apiary/store"
)

// How many watches in a row must fail, or be cut, without evidence before a pass. If the
// failure is not permanent they must also have failed for
// [Settings.MaxInternalErrorRetryDuration]. While the server cannot be reached none counts: a
// list would fail as well.
const (
	failingTries   = 2
	permanentTries = 5 // a response that makes no sense, a request that is rejected
)

// cycle is the state of one Run, owned by its goroutine.
type cycle[T any] struct {
	r   *Reflector[T]
	cfg *Config[T]
	ctx context.Context

	// version is the last one that the sink accepted. Want says that a pass is
	// needed, and why; empty: watch from version. Must: the watch cannot go on without
	// the pass.
	version   string
	want      store.Reason
	wantCause error
	must      bool

	asked     time.Duration // when the last pass began that was asked for, since Reflector.base
	postponed postponed
	proof     evidence
	absent    absence
	order     order
	form      string // of the objects of the last pass, see [Page.Form]
	kind      string // of the last list, see [Page.Kind]

	// listed is the version of the last list, or of the first page of one that broke off:
	// a list without a version does not follow one with a version.
	listed string
	anew   bool // the next pass is [store.Pass.Anew]

	// together: other Reflectors may need a pass at the same moment. Polls have their own
	// jitter.
	together bool

	// consistent: the next pass must ask for the newest state, and not for version at least.
	// The server does not have version, or the sink can have newer objects.
	consistent bool

	epoch    uint64
	failures int // in a row, for the backoff
	ends     endCounts
	pages    int // by how much pages are enlarged, as a power of 2
	suspect  bool
	silences int // lists in a row that fell silent
	streams  streamMemory

	// Failures and cuts of the watch since the last evidence. Times are durations since
	// Reflector.base.
	rewatches    int
	rewatchSince time.Duration // of the first
	round        time.Duration // when this round of run began
	unreached    bool          // the last request got no connection

	polls polls
	left  leftOut

	trouble trouble
	missing missing
	differs bool // a check of metadata found a difference, and no pass was committed since
}

// postponed is an optional pass that failed. It is tried again when it is due, in durations
// since Reflector.base.
type postponed struct {
	reason store.Reason // empty: none
	cause  error
	due    time.Duration
	tries  int
}

// endCounts counts ends of passes and watches by kind. After the first end of a kind the next
// request follows at once. A further one is a failure, until a watch has lived for
// Backoff.Reset.
type endCounts struct{ closed, expired, resync, full int }

// run makes passes and watches until ctx ends.
func (c *cycle[T]) run() {
	if c.version == "" {
		c.want = store.ReasonFirst
	}
	for c.ctx.Err() == nil {
		c.outage()
		if cause, asked := c.r.takeAsked(); asked {
			c.ask(cause)
		}
		c.takeDue()
		var open *opened[T]
		if c.want != "" {
			if open = c.pass(); open == nil {
				continue // with another pass, or with a watch
			}
		} else if c.polls.tried {
			c.polls.tried = false
			c.awaitPoll()
			continue
		}
		c.watch(open)
	}
}

// ask makes the next step the pass that Resync requested. It waits until the last one began
// Backoff.Initial ago, or until ctx ends.
func (c *cycle[T]) ask(cause error) {
	if left := c.asked + c.cfg.Backoff.Initial - c.now(); c.asked > 0 && left > 0 {
		c.sleep(c.ctx, left)
		c.r.takeAsked() // the pass serves later calls of Resync too
	}
	c.need(store.ReasonResync, cause)
}

// need makes the next step a pass. If one is needed already, its reason stays.
func (c *cycle[T]) need(reason store.Reason, cause error) {
	if c.want == "" {
		c.want, c.wantCause, c.together = reason, cause, reason != store.ReasonPoll
	}
}

// fail records a failure, and waits for the backoff or the end of ctx.
func (c *cycle[T]) fail(cause Cause, err error) {
	c.failures++
	delay := c.cfg.Backoff.Delay(c.failures, cause, err)
	repeated := c.trouble.add(cause, err)
	c.r.update(func(i *ReflectorInfo) {
		i.Err, i.Cause, i.State = err, cause, StateBackingOff
	})
	c.r.observe(BackingOff{For: delay, Failure: c.failures, Repeated: repeated, Cause: cause, Err: err})
	least := min(delay, c.cfg.Backoff.Initial)
	if c.sleep(c.ctx, least) {
		ctx, cancel := context.WithCancelCause(c.ctx)
		defer cancel(nil)
		c.r.onAsked(cancel)
		defer c.r.onAsked(nil)
		c.sleep(ctx, delay-least)
	}
}

// sleep waits for d. It reports false if ctx ended first.
func (c *cycle[T]) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// failIfRepeated counts an end of a kind. The first one is no failure, further ones are.
func (c *cycle[T]) failIfRepeated(count *int, cause Cause, err error) {
	*count++
	if *count > 1 {
		c.fail(cause, err)
	}
}

// handleSinkError handles a FullError and an ErrResync. It reports whether err is one.
func (c *cycle[T]) handleSinkError(err error) bool {
	var full *store.FullError
	switch {
	case errors.As(err, &full):
		if full.Drained == nil {
			c.fail(CauseSink, fmt.Errorf("%w: %w", errNoDrained, err))
			return true
		}
		c.r.setState(StateDraining)
		c.r.observe(Draining{Err: err})
		select {
		case <-full.Drained:
			c.failIfRepeated(&c.ends.full, CauseSink, err)
		case <-c.ctx.Done():
		}
		return true
	case errors.Is(err, store.ErrResync):
		c.must, c.missing.known = true, false // what the sink has lost, no watch has missed
		if c.want == "" {
			c.need(store.ReasonResync, err)
			c.r.observe(RelistNeeded{Reason: store.ReasonResync, Err: err})
		}
		c.failIfRepeated(&c.ends.resync, CauseSink, err)
		return true
	}
	return false
}

// stopping reports whether ctx has ended. An error after that is no failure.
func (c *cycle[T]) stopping() bool { return c.ctx.Err() != nil }

// causeOf is CauseOf, and CauseCanceled if ctx has ended.
func (c *cycle[T]) causeOf(err error) Cause {
	if err != nil && c.stopping() {
		return CauseCanceled
	}
	return CauseOf(err)
}

// answered records a response of the server, if a failure of this class is one.
func (c *cycle[T]) answered(cause Cause) {
	switch cause {
	case CauseForbidden, CauseUnauthorized, CauseNotInstalled, CauseNotSupported, CauseThrottled, CauseServer,
		CauseRejected, CauseClosed:
		c.r.contacted(time.Since(c.r.base))
	}
}

// errorOf adds the name of the request to err, unless it is an error of the sink.
func (c *cycle[T]) errorOf(verb string, err error) error {
	if sink := (*SinkError)(nil); err == nil || errors.As(err, &sink) {
		return err
	}
	return &requestError{verb: verb, resource: c.cfg.title(), err: err}
}

// request returns the context and the guard of one request. Its idle timeout is limit, and
// answers after the first byte of the response.
func (c *cycle[T]) request(limit, answers time.Duration) (context.Context, context.CancelCauseFunc, *guard) {
	ctx, cancel := context.WithCancelCause(c.ctx)
	g := newGuard(c.r.base, limit, answers, c.suspect, cancel)
	return g.trace(ctx), cancel, g
}

// finish ends a guard, and records whether the server was reached and the connection is
// suspect.
func (c *cycle[T]) finish(g *guard, err error) {
	answered := g.stop()
	c.unreached = err != nil && (g.unconnected() || CauseOf(err) == CauseRefused)
	var silence *IdleTimeoutError
	switch {
	case errors.As(err, &silence):
		// Initial events that are late say nothing of the connection.
		c.suspect = silence.Unanswered || silence.After >= c.cfg.IdleTimeout
	case answered, err == nil:
		c.suspect = false
	}
}
