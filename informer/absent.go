// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"time"

	"github.com/apiary-go/apiary/store"
)

// absentTries is how many answers in a row, each over a connection of its own, must lack
// the kind: API servers of different versions may stand behind one address.
const absentTries = 2

// absentTimeout bounds one of these requests.
const absentTimeout = 30 * time.Second

// AbsenceFinder is a [Source] that can find out whether the server has its kind. A
// [Reflector] needs it for [Settings.AbsentAfter].
type AbsenceFinder interface {
	// Absent asks the server, over a connection that no other request uses. It reports
	// true only if the server describes what it has, and the kind is not in it. An
	// error says nothing. It blocks until ctx ends at most.
	Absent(ctx context.Context) (bool, error)
}

// absence is what a cycle knows of a kind that lists do not find.
type absence struct {
	missing bool
	since   time.Duration // of the first such answer, since Reflector.base
	tries   int           // answers in a row of an AbsenceFinder that lack the kind
}

// vanished notes that a list found no such kind. It reports whether that has lasted for
// long enough, and is certain enough, to take the objects for deleted.
func (c *cycle[T]) vanished() bool {
	finder, ok := c.cfg.Source.(AbsenceFinder)
	if !ok || c.cfg.AbsentAfter < 0 || c.version == "" && c.proof.objects <= 0 {
		return false // nobody can say, or nothing is there
	}
	if !c.absent.missing {
		c.absent = absence{missing: true, since: c.now()}
	}
	if c.now()-c.absent.since < c.cfg.AbsentAfter {
		return false
	}
	ctx, cancel := context.WithTimeout(c.ctx, absentTimeout)
	defer cancel()
	switch absent, err := finder.Absent(ctx); {
	case err != nil:
		c.absent.tries = 0
	case !absent:
		c.absent = absence{}
	default:
		c.absent.tries++
	}
	return c.absent.tries >= absentTries
}

// forget commits a pass without objects, for a kind that is not there any more. What
// follows is a first pass.
func (c *cycle[T]) forget(cause error) {
	c.epoch++
	p := &passing{pass: store.Pass{Epoch: c.epoch, Reason: store.ReasonAbsent, Cause: cause}}
	c.r.update(func(i *ReflectorInfo) { i.Epoch = c.epoch })
	c.r.observe(ListStarted{Pass: p.pass})
	err := c.sinkError("Begin", store.Meta{}, c.cfg.Sink.Begin(c.ctx, p.pass))
	if err == nil {
		err = c.commit(p)
	}
	if err != nil {
		c.cfg.Sink.Abort(p.pass, err)
		c.r.observe(ListFailed{Pass: p.pass, Cause: c.causeOf(err), Err: err})
		return
	}
	c.absent, c.kind = absence{}, ""
	c.need(store.ReasonFirst, nil)
	c.r.observe(ListDone{Pass: p.pass})
}
