// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/apiary-go/apiary/store"
)

// How many refusals of the watch in a row start polling. A 405 does not change from one
// request to the next. A 403 or 404 can come from a server that has not seen a new role or
// kind yet.
const (
	unsupportedTries = 1
	refusedTries     = 2
)

// pollJitter is the largest share of a poll interval that is added at random, if
// [Backoff.Jitter] is not less.
const pollJitter = 0.1

// polls is the state of polling.
type polls struct {
	on       bool
	refusals int  // of the watch, in a row
	listed   bool // a pass was committed since the last watch was open

	// due is when the next poll is. Tried: the watch was refused right before
	// the pass that is wanted or was just committed, and is not tried once more
	// before the next poll is due.
	due   time.Time
	tried bool
}

// refuses reports whether a failure of this class refuses the watch.
func (c Cause) refuses() bool {
	return c == CauseForbidden || c == CauseNotInstalled || c == CauseNotSupported
}

// refused reports whether the watch was refused, for this cause, often enough to poll. It
// returns false without polling.
func (c *cycle[T]) refused(cause Cause) bool {
	tries := refusedTries
	if cause == CauseNotSupported {
		tries = unsupportedTries
	}
	return c.cfg.PollInterval > 0 && c.polls.refusals >= tries
}

// passed records that a pass was committed.
func (c *cycle[T]) passed(reason store.Reason) {
	jitter := rand.Float64() * max(0, min(pollJitter, c.cfg.Backoff.Jitter))
	c.polls.listed = true
	c.polls.due = time.Now().Add(c.cfg.PollInterval + time.Duration(jitter*float64(c.cfg.PollInterval)))
	if reason != store.ReasonPoll {
		c.polls.tried = false
	} else {
		c.failures, c.ends = 0, endCounts{} // no watch will live long enough to reset them
	}
}

// watched records that a watch was opened, which ends polling.
func (c *cycle[T]) watched() {
	if c.polls.on {
		c.streams = streamMemory{} // it was the watch that was refused
		c.r.update(func(i *ReflectorInfo) { i.Polling = nil })
	}
	c.polls = polls{}
}

// polling decides whether polls follow a watch that ended, and waits for the next one. It
// returns false if none follows.
func (c *cycle[T]) polling(e WatchEnded, open bool) bool {
	if open || !e.Cause.refuses() {
		c.polls.refusals = 0
		if open || !c.polls.on {
			return false
		}
		c.fail(e.Cause, e.Err)
		c.nextPoll(e)
		return true
	}
	c.polls.refusals++
	if !c.polls.on && !(c.polls.listed && c.refused(e.Cause)) {
		return false // lists may be refused as well
	}
	if current := c.r.Info().Polling; current == nil || current.Cause != e.Cause {
		c.startPolling(e)
	}
	c.nextPoll(e)
	return true
}

// startPolling begins polling and reports it.
func (c *cycle[T]) startPolling(e WatchEnded) {
	c.polls.on = true
	c.rewatches, c.failures, c.proof.doubt = 0, 0, false
	c.trouble = trouble{} // there is an answer to it
	p := Polling{Every: c.cfg.PollInterval, Cause: e.Cause, Err: e.Err}
	c.r.update(func(i *ReflectorInfo) {
		i.Polling, i.Err, i.Cause = &p, nil, CauseNone
	})
	c.r.observe(p)
}

// nextPoll waits until a poll is due. The next step is then the watch, which may be allowed by
// now, from the last version. If it was refused just now, the next step is the poll. Without
// a version it is the poll too: such a watch does not show earlier deletions.
func (c *cycle[T]) nextPoll(e WatchEnded) {
	if time.Now().Before(c.polls.due) && (!c.awaitPoll() || c.version != "") {
		return
	}
	c.need(store.ReasonPoll, e.Err)
	c.polls.tried = e.Cause.refuses() && c.version != ""
}

// awaitPoll waits until a poll is due. It returns false if Resync or the end of ctx came
// first.
func (c *cycle[T]) awaitPoll() bool {
	c.r.setState(StatePolling)
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	c.r.onAsked(cancel)
	defer c.r.onAsked(nil)
	timer := time.NewTimer(time.Until(c.polls.due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
