// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"time"

	"github.com/apiary-go/apiary/store"
)

// absentTries is how many answers in a row, each over a new connection, must lack the kind:
// API servers of different versions can share an address.
const absentTries = 2

// absentTimeout bounds one of these requests.
const absentTimeout = 30 * time.Second

// AbsenceFinder is an optional interface of a [Source] that can ask the server for its kinds.
// [Settings.AbsentAfter] requires it.
type AbsenceFinder interface {
	// Absent asks the server over a new connection. It returns true only if the server
	// describes its kinds, and the kind of the Source is not among them. After an error the
	// answer is unknown. It must return when ctx ends.
	Absent(ctx context.Context) (bool, error)
}

// absence is the state of a kind that lists do not find.
type absence struct {
	missing bool
	since   time.Duration // of the first such answer, since Reflector.base
	tries   int           // answers in a row of an AbsenceFinder that lack the kind
}

// vanished records that a list found no such kind. It reports whether the objects now count
// as deleted: long enough after the first such list, and confirmed by the server.
func (c *cycle[T]) vanished() bool {
	finder, ok := c.cfg.Source.(AbsenceFinder)
	if !ok || c.cfg.AbsentAfter < 0 || c.version == "" && c.proof.objects <= 0 {
		return false // the source cannot ask, or the sink has no objects
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

// forget commits a pass without objects, for a kind that is no longer installed. A first
// pass follows.
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
