// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/apiary-go/apiary/store"
)

// How much longer an interval between checks becomes at most, as a multiple of
// the first one.
const (
	quietGrowth   = 6  // ten minutes become an hour
	failingGrowth = 10 // a minute becomes ten
)

// cutShort: a watch that ends in an orderly way before this time was cut, by a proxy. Servers
// do not end watches that early.
const cutShort = 30 * time.Second

// grace is how long an open watch may be silent beyond the time at which a pass is due.
// The server was asked to end it at the next full second.
const grace = 2 * time.Second

var (
	errCheck    = errors.New("a list is due")
	errQuiet    = errors.New("the watches have brought nothing for long: a list checks them")
	errInterval = errors.New("the resync interval has ended")
	errCut      = errors.New("the server closes each watch soon after it opens")
	errUnseen   = errors.New("a list shows changes that the watch did not bring")
)

// evidence decides when a pass checks what the watches bring.
//
// An open watch proves nothing: a proxy can hold its events back, and a server can lose them.
// Evidence is an event, or a bookmark that is newer than the version before. A pass checks
// watches without evidence: soon if they fail or are cut, later and with growing intervals if
// they are quiet. If it finds changes that no watch brought, passes follow after poll
// intervals until a watch brings something.
//
// Times are durations since Reflector.base.
type evidence struct {
	since  time.Duration // of the last evidence, or of the last pass that was tried
	passed time.Duration // of the last pass that was committed

	// How long watches can be quiet, or fail, before the next check. Grown: one of
	// them is not the configured one.
	quiet, failing time.Duration
	grown          bool

	// How many objects the last pass had; -1 if there was none, or a watch brought
	// changes since.
	objects int

	jitter float64 // of quiet and of the resync interval, as a share
	doubt  bool    // the last check found changes, and no watch has brought any since
}

// now is the time since Reflector.base.
func (c *cycle[T]) now() time.Duration { return time.Since(c.r.base) }

// resetEvidence makes the intervals those of the configuration.
func (c *cycle[T]) resetEvidence() {
	p := &c.proof
	p.quiet, p.failing, p.grown = c.cfg.CheckInterval, c.cfg.MaxInternalErrorRetryDuration, false
	p.jitter = rand.Float64() * max(0, min(pollJitter, c.cfg.Backoff.Jitter))
}

// proved records evidence at the given time.
func (c *cycle[T]) proved(at time.Duration) {
	p := &c.proof
	c.rewatches, p.since, p.objects = 0, at, -1
	if !p.grown {
		return
	}
	c.resetEvidence()
	if p.doubt {
		p.doubt = false
		c.r.update(func(i *ReflectorInfo) { i.Polling = nil })
		c.r.observe(WatchProved{Version: c.version})
	}
}

// checked records that a pass was committed.
func (c *cycle[T]) checked(p *passing) {
	now := c.now()
	objects := p.objects + p.left
	changed := p.changed || c.proof.objects >= 0 && c.proof.objects != objects
	c.proof.since, c.proof.passed, c.proof.objects = now, now, objects
	c.compared(p.pass, changed)
}

// compared makes the intervals longer after a pass without changes, and sets them to poll
// intervals after a pass with changes. Only passes of ReasonFailing and ReasonCheck count.
func (c *cycle[T]) compared(pass store.Pass, changed bool) {
	p := &c.proof
	if pass.Reason != store.ReasonFailing && pass.Reason != store.ReasonCheck || c.polls.on {
		return
	}
	p.grown = true
	if !changed {
		most := quietGrowth * c.cfg.CheckInterval
		if p.doubt {
			most = c.cfg.CheckInterval
		}
		p.quiet = min(2*p.quiet, most)
		p.failing = min(2*p.failing, failingGrowth*max(0, c.cfg.MaxInternalErrorRetryDuration))
		return
	}
	if c.cfg.PollInterval < 0 || c.cfg.CheckInterval < 0 || CauseOf(pass.Cause).explains() {
		return
	}
	p.quiet, p.failing = min(c.cfg.PollInterval, c.cfg.CheckInterval), min(c.cfg.PollInterval, p.failing)
	if !p.doubt {
		p.doubt = true
		polling := Polling{Every: p.quiet, Cause: CauseSilent, Err: c.errorOf(verbWatch, errUnseen)}
		c.r.update(func(i *ReflectorInfo) { i.Polling = &polling })
		c.r.observe(polling)
	}
}

// explains reports whether a failure of this class explains why the watch lacks changes that a
// list shows.
func (c Cause) explains() bool {
	return c.refuses() || c == CauseDecoding || c == CauseRejected || c == CauseExpired
}

// dueAt returns when a pass is due while the watch is open, and why. The reason is empty if
// none is due.
func (c *cycle[T]) dueAt() (at time.Duration, reason store.Reason, cause error) {
	sooner := func(t time.Duration, r store.Reason, why error) {
		if reason == "" || t < at {
			at, reason, cause = t, r, why
		}
	}
	if c.cfg.CheckInterval > 0 && !c.polls.on && c.rewatches == 0 { // else see failing
		sooner(c.proof.since+c.jittered(c.proof.quiet), store.ReasonCheck, errQuiet)
	}
	if len(c.left.of) > 0 && c.cfg.CheckInterval > 0 && !c.polls.on {
		sooner(c.left.since+c.left.wait+time.Duration(c.proof.jitter*float64(c.left.wait)), store.ReasonCheck, errLeftOut)
	}
	if c.cfg.ResyncInterval > 0 {
		sooner(c.proof.passed+c.jittered(c.cfg.ResyncInterval), store.ReasonCheck, errInterval)
	}
	if c.postponed.reason != "" {
		return c.postponed.due, c.postponed.reason, c.postponed.cause
	}
	return at, reason, cause
}

// jittered makes an interval longer by the share that this Reflector adds.
func (c *cycle[T]) jittered(d time.Duration) time.Duration {
	return d + time.Duration(c.proof.jitter*float64(d))
}

// due reports whether a pass is due at the given time.
func (c *cycle[T]) due(now time.Duration) bool {
	at, reason, _ := c.dueAt()
	return reason != "" && now >= at
}

// takeDue makes the next step a pass if one is due.
func (c *cycle[T]) takeDue() {
	if at, reason, cause := c.dueAt(); c.want == "" && reason != "" && c.now() >= at {
		c.relist(reason, cause)
		c.postponed.reason = ""
	}
}

// untilDue returns how long it is until a pass is due, a second at least; 0 if none is.
func (c *cycle[T]) untilDue() time.Duration {
	at, reason, _ := c.dueAt()
	if reason == "" {
		return 0
	}
	return max(time.Second, at-c.now())
}

// silence returns the idle timeout of a watch: not much longer than until a pass is due.
func (c *cycle[T]) silence(longer time.Duration) time.Duration {
	limit, left := c.cfg.Silence, c.untilDue()
	if left > 0 && (limit <= 0 || left+longer < limit) {
		limit = left + longer
	}
	return limit
}

// outage begins a round. If the server could not be reached in the last round, the time of that
// round does not count for evidence and failing watches.
func (c *cycle[T]) outage() {
	now := c.now()
	if c.unreached {
		c.proof.since = min(now, c.proof.since+now-c.round)
		c.rewatchSince = min(now, c.rewatchSince+now-c.round)
	}
	c.round = now
}

// wasQuiet reports whether an open watch ended with nothing wrong: the server ended it
// in its time, nothing came for as long as is allowed, or a pass is due.
func (c *cycle[T]) wasQuiet(e WatchEnded, err error) bool {
	var silence *SilenceError
	switch {
	case err == io.EOF:
		return e.Lived >= cutShort || c.due(c.now())
	case errors.As(err, &silence):
		return true
	}
	return errors.Is(err, errCheck)
}

// optional reports whether the watch can go on without the pass that is wanted.
func (c *cycle[T]) optional() bool {
	return c.version != "" && !c.must && c.want != store.ReasonFirst && c.want != store.ReasonExpired
}

// postpone goes back to the watch after an optional pass that failed. A pass of ReasonAsked or
// ReasonCheck is tried again with backoff while the watch goes on.
func (c *cycle[T]) postpone(cause Cause, err error) {
	c.proof.since = c.now()
	switch c.want {
	case store.ReasonAsked, store.ReasonCheck:
		c.postponed.tries++
		delay := c.cfg.Backoff.Delay(c.postponed.tries, cause, err)
		c.postponed.reason, c.postponed.cause, c.postponed.due = c.want, c.wantCause, c.now()+delay
		c.r.observe(BackingOff{For: delay, Failure: c.postponed.tries, Cause: cause, Err: err})
	default: // the watch fails as well
		c.compared(store.Pass{Reason: c.want}, false)
		c.fail(cause, err)
	}
	c.want, c.wantCause, c.together = "", nil, false
}
