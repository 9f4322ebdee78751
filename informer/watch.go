// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// A watch requests a random timeout in this range, so that the watches of many clients spread
// over the servers again.
const (
	watchShortest = 5 * time.Minute
	watchLongest  = 10 * time.Minute
)

// brief: a watch that ends in an orderly way before this time can be a failure.
const brief = time.Second

// oldBookmarks in a row that are older than the last version end the watch. A single one can
// come from a server that is behind another one.
const oldBookmarks = 2

func watchOptions() metav1.ListOptions {
	seconds := int64((watchShortest + rand.N(watchLongest-watchShortest)) / time.Second)
	return metav1.ListOptions{AllowWatchBookmarks: true, TimeoutSeconds: &seconds}
}

// opened is an open watch.
type opened[T any] struct {
	stream Stream[T]
	guard  *guard
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// open opens a watch. limit is its idle timeout. Resync ends it if it is askable. After the
// first byte of a response, IdleTimeout is the timeout until it is open: the client can wait for
// a Retry-After.
func (c *cycle[T]) open(opts metav1.ListOptions, limit time.Duration, askable bool) (*opened[T], error) {
	answers := c.cfg.IdleTimeout
	if answers > 0 {
		answers = max(answers, limit)
	}
	ctx, cancel, g := c.request(limit, answers)
	if askable {
		c.r.onAsked(cancel)
	}
	stream, err := c.cfg.Source.Watch(ctx, opts)
	if err == nil && ctx.Err() != nil {
		stream.Stop()
		err = context.Cause(ctx)
	}
	if err != nil {
		c.r.onAsked(nil)
		err = errorIn(ctx, err)
		c.finish(g, err)
		cancel(nil)
		return nil, err
	}
	g.allow(limit)
	c.r.contacted(time.Since(c.r.base))
	return &opened[T]{stream: stream, guard: g, ctx: ctx, cancel: cancel}, nil
}

// close ends a watch that ended with err.
func (c *cycle[T]) close(o *opened[T], err error) {
	o.stream.Stop()
	c.finish(o.guard, err)
	o.cancel(nil)
}

// next returns the next event of a watch. It returns io.EOF only at an orderly end.
func (c *cycle[T]) next(o *opened[T]) (WatchEvent[T], error) {
	event, err := o.stream.Next()
	if err != nil {
		return event, errorIn(o.ctx, err)
	}
	if event.Item == nil && event.Type != watch.Bookmark {
		return event, &DecodingError{Err: fmt.Errorf("an event of type %q without an object", event.Type)}
	}
	return event, nil
}

// watch watches from the last version until the watch ends, and decides what comes next. It
// uses the stream of a streamed pass if there is one.
func (c *cycle[T]) watch(o *opened[T]) {
	if o == nil {
		opts := watchOptions()
		opts.ResourceVersion = c.version
		if left := c.untilDue(); left > 0 {
			*opts.TimeoutSeconds = min(*opts.TimeoutSeconds, int64((left+time.Second-1)/time.Second))
		}
		var err error
		if o, err = c.open(opts, c.silence(c.cfg.InitialIdleTimeout), true); err != nil {
			c.watchEnded(WatchEnded{Version: c.version}, false, err)
			return
		}
	}
	o.guard.allow(c.silence(grace))
	opened := time.Now()
	c.absent = absence{}
	c.r.setState(StateWatching)
	c.r.observe(WatchOpened{Version: c.version})
	c.watched()
	switch c.trouble.cause {
	case CauseSink, CauseDecoding, CauseClosed: // an open watch does not end these failures
	default:
		c.recovered()
	}

	c.r.onAsked(o.cancel)
	events, err := c.follow(o)
	c.r.onAsked(nil)
	c.close(o, err)
	c.watchEnded(WatchEnded{Version: c.version, Events: events, Lived: time.Since(opened)}, true, err)
}

// following is the state of a watch that is followed.
type following struct {
	// floor is the version that the watch began at. Its events are newer. A watch without a
	// version has no floor before the first bookmark.
	floor string

	// synthetic: additions of the first state can follow. A watch without a version begins
	// with an addition for each object, in any order.
	synthetic bool

	events int
	old    int // bookmarks in a row that are older than the last version
}

// follow hands the events of a watch to the sink until it ends.
func (c *cycle[T]) follow(o *opened[T]) (events int, err error) {
	w := &following{floor: c.version, synthetic: c.version == ""}
	for {
		event, err := c.next(o)
		if err != nil {
			return w.events, err
		}
		at := o.guard.busy()
		before := c.version
		switch event.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			w.synthetic = w.synthetic && event.Type == watch.Added
			err = c.change(event, w)
		case watch.Bookmark:
			err = c.bookmark(known(event.Version), w)
		default:
			err = unknownEvent(event.Type)
		}
		if err != nil {
			return w.events, err
		}
		c.r.accepted(c.version, at, event.Type)
		c.recovered()
		c.ends.full = 0
		if event.Type != watch.Bookmark || c.version != before {
			c.proved(at)
		}
		if c.due(at) {
			return w.events, errCheck
		}
		o.guard.waiting()
	}
}

// change hands an event about an object to the sink.
func (c *cycle[T]) change(e WatchEvent[T], w *following) error {
	if c.form == "" {
		c.form = e.Form
	} else if now := c.now(); e.Form != "" && e.Form != c.form && now >= c.order.formed {
		c.order.formed = now + disorderFirst // the server can go on mixing them
		return errForm
	}
	version := known(e.Version)
	older := c.older(version)
	meta, again := metaOf(e.Item), error(nil)
	if older || version == w.floor || w.floor == "" || c.order.broken {
		meta, again = c.inOrder(e.Type, version, meta, w)
	}
	left, err := c.apply(e, meta)
	if err != nil {
		return err
	}
	w.events++
	w.old = 0
	if !w.synthetic && version != "" && !older {
		if left {
			if err := c.cfg.Sink.Progress(c.ctx, version); err != nil {
				return c.sinkError("Progress", store.Meta{}, err)
			}
		}
		c.version, c.missing.through = version, false
	}
	c.missing.mixed = c.missing.mixed || older && !w.synthetic
	return again
}

// apply hands an event to the sink. It reports whether the object is left out. An object
// without a name fails the watch: only a list shows which one it is.
func (c *cycle[T]) apply(e WatchEvent[T], meta store.Meta) (left bool, err error) {
	if e.Type == watch.Deleted {
		return false, c.remove(e.Item, meta)
	}
	obj, err := e.Item.Decode()
	if err != nil {
		err = AsDecodingError(meta, err)
		if c.r.strict || meta.Key.Name == "" || c.stopping() {
			return false, err
		}
		c.noteLeftOut(meta, err)
		return true, nil
	}
	addSize(&c.r.sizes, e.Item, obj)
	if err := c.cfg.Sink.Apply(c.ctx, meta, obj); err != nil {
		return false, c.sinkError("Apply", meta, err)
	}
	c.notLeftOut(meta.Key)
	return false, nil
}

// bookmark brings the sink to version.
func (c *cycle[T]) bookmark(version string, w *following) error {
	switch {
	case version == "":
		return nil
	case c.older(version):
		if w.old++; w.old >= oldBookmarks {
			return errOldBookmarks
		}
		return nil
	}
	w.old = 0
	if err := c.cfg.Sink.Progress(c.ctx, version); err != nil {
		return c.sinkError("Progress", store.Meta{}, err)
	}
	c.version, c.missing.through = version, true
	if w.floor == "" {
		w.floor, w.synthetic = version, false // later events are newer
	}
	return nil
}

func unknownEvent(t watch.EventType) error {
	return &DecodingError{Err: fmt.Errorf("an event of unknown type %q", t)}
}

// watchEnded decides what follows a watch that ended with err, or could not be opened.
func (c *cycle[T]) watchEnded(e WatchEnded, open bool, err error) {
	quiet := open && c.wasQuiet(e, err)
	if err == io.EOF {
		e.Cause = CauseClosed
	} else {
		e.Cause = c.causeOf(err)
		if !quiet {
			e.Err = c.errorOf(verbWatch, err)
			c.r.panics.Report(e.Err)
		}
	}
	if e.Lived >= c.cfg.Backoff.Reset {
		c.failures, c.ends = 0, endCounts{}
	}
	c.answered(e.Cause)
	c.trouble.reached = 0
	c.r.observe(e)
	if c.stopping() {
		return
	}

	switch {
	case errors.Is(err, errAsked) && e.Cause == CauseCanceled:
		// The next round takes the request of Resync.
	case c.handleSinkError(e.Err):
	case e.Cause == CauseExpired:
		c.consistent = c.consistent || errors.Is(err, errOldBookmarks) || errors.Is(err, errDisorder)
		c.anew = c.anew || errors.Is(err, errForm) || errors.Is(err, errDisorder)
		c.relist(store.ReasonExpired, e.Err)
		c.failIfRepeated(&c.ends.expired, e.Cause, e.Err)
	case c.version == "" && open:
		c.relist(store.ReasonExpired, errNoVersion)
		if !quiet {
			c.closedOrFailed(e)
		}
	case c.polling(e, open):
	case quiet:
		c.rewatches = 0 // nothing was wrong
	default:
		if c.failing(e) {
			cause := e.Err
			if cause == nil {
				cause = errCut
			}
			c.relist(store.ReasonFailing, cause)
			if c.refused(e.Cause) && e.Cause != CauseNotInstalled {
				return // only the watch was refused: list at once
			}
		}
		c.closedOrFailed(e)
	}
}

// closedOrFailed resumes at once after an orderly end, unless such ends repeat at a high rate.
func (c *cycle[T]) closedOrFailed(e WatchEnded) {
	switch {
	case e.Cause != CauseClosed:
		c.fail(e.Cause, e.Err)
	case e.Lived < brief:
		c.failIfRepeated(&c.ends.closed, CauseClosed,
			c.errorOf(verbWatch, fmt.Errorf("the server closed the watch at once (%d events in %v)", e.Events, e.Lived)))
	case c.trouble.cause == CauseClosed:
		c.recovered()
	}
}

// relist makes the next step a pass and reports it.
func (c *cycle[T]) relist(reason store.Reason, err error) {
	c.need(reason, err)
	c.r.observe(RelistNeeded{Reason: reason, Err: err})
}

// failing counts a watch that failed or was cut, and reports whether to try a pass. A failure
// that can pass must have lasted. A permanent failure must not, nor one of a kind that is not
// installed: its collection is gone, and a new one can have other versions. A watch that is
// forbidden must have failed for a poll interval at most, because polling can follow.
func (c *cycle[T]) failing(e WatchEnded) bool {
	tries, lasting := failingTries, c.proof.failing
	switch e.Cause {
	case CauseNotInstalled:
		if !c.proof.grown {
			lasting = 0
		}
	case CauseNotSupported, CauseDecoding, CauseRejected:
		if tries = permanentTries; !c.proof.grown {
			lasting = 0
		}
		if c.refused(e.Cause) {
			tries, lasting = unsupportedTries, 0
		}
	case CauseForbidden:
		if c.refused(e.Cause) {
			tries, lasting = refusedTries, min(lasting, c.cfg.PollInterval)
		}
	case CauseSink, CauseCanceled, CauseExpired:
		return false
	default:
		if c.unreached {
			return false
		}
	}
	if c.cfg.MaxInternalErrorRetryDuration < 0 {
		tries, lasting = 1, 0
	}
	if c.rewatches == 0 {
		c.rewatchSince = c.now()
	}
	c.rewatches++
	if c.rewatches < tries || c.now()-c.rewatchSince < lasting {
		return false
	}
	c.rewatches = 0
	return true
}
