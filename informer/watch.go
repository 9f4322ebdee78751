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

// A watch is asked to end by itself after a random time in this range, so that
// the watches of many clients spread over the servers again.
const (
	watchShortest = 5 * time.Minute
	watchLongest  = 10 * time.Minute
)

// brief is how long a watch without events must have lived for its orderly end
// to be nothing of note.
const brief = time.Second

// oldBookmarks is how many bookmarks in a row may be older than what was
// delivered before: one may come from a server that lags behind another.
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

// open opens a watch. Silence for longer than limit ends it, and so does
// Resync, if it is askable. A source that was answered and has not opened it has
// been told to wait, and may do so for as long as any watch may be silent.
func (c *cycle[T]) open(opts metav1.ListOptions, limit time.Duration, askable bool) (*opened[T], error) {
	answers := c.cfg.Silence
	if answers > 0 {
		answers = max(answers, limit)
	}
	ctx, cancel, g := c.request(limit, answers)
	if askable {
		c.r.onAsked(cancel)
	}
	stream, err := c.cfg.Source.Watch(ctx, opts)
	if err == nil && stream == nil {
		err = fmt.Errorf("the source (%T) returned neither a watch nor an error", c.cfg.Source)
	}
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

// next returns the next event of a watch. The error is io.EOF only for the
// orderly end.
func (c *cycle[T]) next(o *opened[T]) (Event[T], error) {
	event, err := o.stream.Next()
	if err != nil {
		return event, errorIn(o.ctx, err)
	}
	if event.Item == nil && event.Type != watch.Bookmark {
		return event, &DecodingError{Err: fmt.Errorf("an event of type %q without an object", event.Type)}
	}
	return event, nil
}

// watch watches from the last version, over the given stream if a streamed pass
// left one, until that ends, and decides on what comes next.
func (c *cycle[T]) watch(o *opened[T]) {
	if o == nil {
		if c.version == "0" {
			c.version = "" // the same, but never sent
		}
		opts := watchOptions()
		opts.ResourceVersion = c.version
		var err error
		if o, err = c.open(opts, c.cfg.Silence, true); err != nil {
			c.watchEnded(WatchEnded{Version: c.version}, false, err)
			return
		}
	}
	opened := time.Now()
	c.r.setState(StateWatching)
	c.r.observe(WatchOpened{Version: c.version})
	c.watched()
	switch c.trouble.cause {
	case CauseSink, CauseDecoding, CauseClosed: // that it is open is not what failed
	default:
		c.recovered()
	}

	c.r.onAsked(o.cancel)
	events, err := c.follow(o)
	c.r.onAsked(nil)
	c.close(o, err)
	c.watchEnded(WatchEnded{Version: c.version, Events: events, Lived: time.Since(opened)}, true, err)
}

// follow hands the events of a watch to the sink until it ends.
func (c *cycle[T]) follow(o *opened[T]) (events int, err error) {
	var (
		sink = c.cfg.Sink
		g    = o.guard
		old  int
		// A watch from no version begins with an addition for each object, in
		// any order, whose versions say nothing of the collection.
		synthetic = c.version == ""
	)
	for {
		event, err := c.next(o)
		if err != nil {
			return events, err
		}
		at := g.busy()
		if event.Type != watch.Added {
			synthetic = false
		}
		version := event.Version
		if synthetic || version == "" {
			version = c.version
		} else if c.older(version) {
			if event.Type == watch.Bookmark {
				if old++; old >= oldBookmarks {
					return events, errOldBookmarks
				}
			}
			version = c.version
		} else {
			old = 0
		}

		switch event.Type {
		case watch.Added, watch.Modified:
			meta := event.Item.Meta()
			obj, err := event.Item.Decode()
			if err != nil {
				return events, AsDecodingError(meta, err)
			}
			if err := sink.Apply(c.ctx, meta, obj); err != nil {
				return events, c.sinkError("Apply", meta, err)
			}
			events++
		case watch.Deleted:
			if err := c.remove(event.Item); err != nil {
				return events, err
			}
			events++
		case watch.Bookmark:
			if version != "" && old == 0 {
				if err := sink.Progress(c.ctx, version); err != nil {
					return events, c.sinkError("Progress", store.Meta{}, err)
				}
			}
		default:
			return events, unknownEvent(event.Type)
		}
		c.version = version
		c.r.accepted(version, at)
		c.recovered()
		c.rewatches, c.calm.full = 0, 0
		g.waiting()
	}
}

func unknownEvent(t watch.EventType) error {
	return &DecodingError{Err: fmt.Errorf("an event of unknown type %q", t)}
}

// watchEnded decides on what comes after a watch that ended, or that could not
// be opened, with err.
func (c *cycle[T]) watchEnded(e WatchEnded, open bool, err error) {
	if err == io.EOF {
		e.Cause = CauseClosed
	} else {
		e.Err = c.errorOf(verbWatch, err)
		e.Cause = c.causeOf(err)
	}
	if e.Lived >= c.cfg.Backoff.Reset {
		c.failures, c.calm = 0, calm{}
		if e.Cause == CauseClosed {
			c.rewatches = 0 // nothing happened meanwhile, and nothing was wrong
		}
	}
	c.answered(e.Cause)
	c.trouble.reached = 0
	c.r.observe(e)
	if c.stopping() {
		return
	}

	switch {
	case errors.Is(err, errAsked) && e.Cause == CauseCanceled:
		// The request is taken up at the start of the next round.
	case c.sinkSaid(e.Err):
	case e.Cause == CauseExpired:
		if errors.Is(err, errOldBookmarks) {
			c.consistent = true
		}
		c.relist(store.ReasonExpired, e.Err)
		c.calmly(&c.calm.expired, e.Cause, e.Err)
	case c.version == "" && open:
		c.relist(store.ReasonExpired, errNoVersion)
		c.closedOrFailed(e)
	case c.polling(e, open):
	case e.Cause == CauseClosed:
		c.closedOrFailed(e)
	default:
		if c.failing(e.Cause) {
			c.relist(store.ReasonFailing, e.Err)
			if c.refused(e.Cause) && e.Cause != CauseNotInstalled {
				return // a list is not what was refused
			}
		}
		c.fail(e.Cause, e.Err)
	}
}

// closedOrFailed resumes at once after an orderly end, unless such ends come
// thick and fast.
func (c *cycle[T]) closedOrFailed(e WatchEnded) {
	switch {
	case e.Cause != CauseClosed:
		c.fail(e.Cause, e.Err)
	case e.Lived < brief:
		c.calmly(&c.calm.closed, CauseClosed,
			c.errorOf(verbWatch, fmt.Errorf("the server closes it as soon as it is open (%d events in %v)", e.Events, e.Lived)))
	case c.trouble.cause == CauseClosed:
		c.recovered()
	}
}

// relist makes the next step a pass and says so.
func (c *cycle[T]) relist(reason store.Reason, err error) {
	c.need(reason, err)
	c.r.observe(RelistNeeded{Reason: reason, Err: err})
}

// failing counts a failure of the watch and reports whether it is time to try a
// pass. What the server will answer again for as long as it is asked the same
// needs fewer failures than what may pass by itself. Fewest are needed if the
// kind is not installed: the collection that the version was of is gone, and
// should the kind be installed again, its versions may be those of another one.
// A watch that is refused has the time of a poll interval, where polling may be
// what comes of it.
func (c *cycle[T]) failing(cause Cause) bool {
	tries, lasting := failingTries, c.cfg.MaxInternalErrorRetryDuration
	switch cause {
	case CauseNotInstalled:
		tries, lasting = missingTries, 0
	case CauseNotSupported:
		lasting = 0
		if c.refused(cause) {
			tries = unsupportedTries
		}
	case CauseForbidden:
		if c.refused(cause) {
			tries, lasting = refusedTries, min(lasting, c.cfg.PollInterval)
		}
	case CauseDecoding, CauseRejected:
		lasting = 0
	case CauseServer, CauseUnauthorized, CauseUnknown:
	default:
		return false
	}
	if c.cfg.MaxInternalErrorRetryDuration < 0 {
		tries, lasting = 1, 0
	}
	if c.rewatches == 0 {
		c.rewatchSince = time.Now()
	}
	c.rewatches++
	if c.rewatches < tries || time.Since(c.rewatchSince) < lasting {
		return false
	}
	c.rewatches = 0
	return true
}
