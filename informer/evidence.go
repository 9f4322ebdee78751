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

// cutShort is the life of a watch below which its orderly end is a cut: no server
// ends its watches that early, proxies do.
const cutShort = 30 * time.Second

// grace is how long an open watch may be silent beyond the time at which a pass is due.
// The server was asked to end it at the next full second.
const grace = 2 * time.Second

var (
	errCheck    = errors.New("it is time for a list")
	errQuiet    = errors.New("the watches have brought nothing for long, a list shows whether there was nothing to bring")
	errInterval = errors.New("the resync interval has ended")
	errCut      = errors.New("the watches are closed as soon as they are open")
	errUnseen   = errors.New("a list shows changes that no watch has brought")
)

// evidence decides when a pass checks what the watches bring.
//
// An open watch proves nothing: a proxy can hold its events back, and a server can
// lose them. Evidence is an event, or a bookmark that is newer than the version
// before. Watches that bring none are checked with a pass: soon if they fail or are
// cut, late and ever more rarely if they are only quiet. If a pass finds changes
// that no watch brought, the next ones follow in poll intervals, until a watch
// brings something.
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

// proved notes evidence that came at the given time.
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

// checked notes that a pass was committed.
func (c *cycle[T]) checked(p *passing) {
	now := c.now()
	objects := p.objects + p.left
	news := p.news || c.proof.objects >= 0 && c.proof.objects != objects
	c.proof.since, c.proof.passed, c.proof.objects = now, now, objects
	c.compared(p.pass, news)
}

// compared makes the intervals longer after a pass without news, and those of polls
// after one with news. Only passes count that were made for want of evidence.
func (c *cycle[T]) compared(pass store.Pass, news bool) {
	p := &c.proof
	if pass.Reason != store.ReasonFailing && pass.Reason != store.ReasonCheck || c.polls.on {
		return
	}
	p.grown = true
	if !news {
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

// explains reports whether an answer of this class to a watch says why it does not bring
// what a list shows.
func (c Cause) explains() bool {
	return c.refuses() || c == CauseDecoding || c == CauseRejected || c == CauseExpired
}

// dueAt returns when a pass is due although the watches are well, and why; no reason
// if never.
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
	if c.owed.reason != "" {
		return c.owed.due, c.owed.reason, c.owed.cause
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
		c.owed.reason = ""
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

// silence returns for how long a watch may be silent: not much longer than until a pass is
// due.
func (c *cycle[T]) silence(longer time.Duration) time.Duration {
	limit, left := c.cfg.Silence, c.untilDue()
	if left > 0 && (limit <= 0 || left+longer < limit) {
		limit = left + longer
	}
	return limit
}

// outage begins a round. It takes the time of the last one out of all that is measured,
// if the server could not be reached in it: nothing could have come, and a list would not
// have got through.
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

// postpone goes back to the watch after an optional pass that failed. What was asked for
// is tried again with backoff, while the watch goes on.
func (c *cycle[T]) postpone(cause Cause, err error) {
	c.proof.since = c.now()
	switch c.want {
	case store.ReasonAsked, store.ReasonCheck:
		c.owed.tries++
		delay := c.cfg.Backoff.Delay(c.owed.tries, cause, err)
		c.owed.reason, c.owed.cause, c.owed.due = c.want, c.wantCause, c.now()+delay
		c.r.observe(BackingOff{For: delay, Failure: c.owed.tries, Cause: cause, Err: err})
	default: // the watch fails as well
		c.compared(store.Pass{Reason: c.want}, false)
		c.fail(cause, err)
	}
	c.want, c.wantCause, c.together = "", nil, false
}
