// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// How long it is remembered that a server does not stream initial events: at
// first, and at most.
const (
	unavailableFirst = 10 * time.Minute
	unavailableMost  = 4 * time.Hour
)

// overdue is how often InitialSilence fits into the time that the end of the
// initial events may take once other events than additions have come. A server
// that ignores the request for initial events never sends their end.
const overdue = 3

// slowest is the time that an addition may take on average beyond that. A slower
// stream is taken for one that sends no end: pages can be read at any speed.
const slowest = 10 * time.Millisecond

// streamMemory remembers how streamed passes fared.
type streamMemory struct {
	retry  time.Time     // not before
	memory time.Duration // how long the last failure was remembered
	broken int           // streamed passes in a row that broke off

	// paged: the next attempt is in pages, without that being remembered: the
	// kind was not found, and it may be that only watches do not find it.
	paged bool
}

// mayStream reports whether the next pass is streamed.
func (c *cycle[T]) mayStream() bool {
	switch c.cfg.Lists {
	case ListPaged:
		return false
	case ListAuto:
		if c.cfg.Sink.MayBlock() {
			return false
		}
	}
	return c.cfg.Source.WatchList() && !c.polls.on && !c.streams.paged && !time.Now().Before(c.streams.retry)
}

// fallBack decides whether the failure of a streamed pass means that the server
// does not stream initial events. If so it is remembered, and the next pass, in
// pages, follows at once.
func (c *cycle[T]) fallBack(cause Cause, err error) bool {
	switch cause {
	case CauseForbidden, CauseNotSupported, CauseRejected,
		CauseServer, CauseConnection, CauseTimeout, CauseClosed, CauseDecoding, CauseUnknown:
	case CauseSilent:
		if silence := (*SilenceError)(nil); errors.As(err, &silence) && silence.unconnected {
			return false // and nor would a list get through
		}
	default:
		// Whatever it is, a list would meet it as well.
		return false
	}
	if c.streams.broken++; !pagesFollow(cause, err) && c.streams.broken < 2 {
		return false
	}
	c.streams.memory = min(max(2*c.streams.memory, unavailableFirst), unavailableMost)
	c.streams.retry = time.Now().Add(c.streams.memory)
	c.streams.broken = 0
	if ignoresStreams(cause, err) { // else what follows says what is wrong
		c.r.observe(WatchListUnavailable{Err: err, Retry: c.streams.retry})
	}
	return true
}

// pagesFollow reports whether a streamed pass that failed so is followed by one in
// pages at once. It is then no failure.
func pagesFollow(cause Cause, err error) bool {
	switch cause {
	case CauseForbidden, CauseNotSupported, CauseRejected:
		return true // not known to the server, or watching is not allowed: a list may be
	case CauseSilent:
		var silence *SilenceError
		return errors.As(err, &silence) && !silence.unconnected && !silence.Unanswered // else the connection may be to blame
	}
	return false
}

// ignoresStreams reports whether the failure of a streamed pass means that the server
// does not stream initial events: it rejects the request, answers with nothing, or does
// not come to an end.
func ignoresStreams(cause Cause, err error) bool {
	switch cause {
	case CauseRejected:
		return apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
	case CauseForbidden:
		return false
	}
	return cause == CauseClosed || pagesFollow(cause, err)
}

// passStreamed reads the initial events of a watch. The stream that it returns
// goes on as the watch.
//
// The version of the pass is that of the bookmark that ends the initial events.
// No event before it moves the version: additions come in any order.
func (c *cycle[T]) passStreamed(p *passing) (*opened[T], error) {
	slot, err := c.cfg.ListBudget.acquire(c.ctx)
	if err != nil {
		return nil, err
	}
	defer slot.release()
	opts := watchOptions()
	if !p.consistent {
		opts.ResourceVersion = p.from
	}
	opts.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
	yes := true
	opts.SendInitialEvents = &yes
	open, err := c.open(opts, c.cfg.InitialSilence, false)
	if err != nil {
		return nil, initialSilence(err)
	}
	if err := c.initialEvents(p, open, slot); err != nil {
		c.close(open, err)
		return nil, initialSilence(err)
	}
	c.streams = streamMemory{}
	return open, nil
}

// initialSilence says what a silence means that is none of the connection.
func initialSilence(err error) error {
	var silence *SilenceError
	if pagesFollow(CauseOf(err), err) && errors.As(err, &silence) && silence.err == nil {
		return &SilenceError{After: silence.After, err: errNoEvents}
	}
	return err
}

// initialEvents reads up to the end of the initial events and commits.
func (c *cycle[T]) initialEvents(p *passing, open *opened[T], slot *listSlot) error {
	early := c.cfg.Sink.MayBlock()
	var (
		late   bool          // an event came that is no addition of something new,
		since  time.Duration // at that time since base
		waited time.Duration // for the server
	)
	for {
		began := c.now()
		event, err := c.next(open)
		if err != nil {
			if err == io.EOF {
				return errClosedEarly
			}
			return err
		}
		at := open.guard.busy()
		waited += at - began
		if early || event.InitialEventsEnd {
			slot.release()
		}
		switch event.Type {
		case watch.Added, watch.Modified:
			if err = c.formed(p, event.Form); err != nil {
				break
			}
			before := p.objects
			err = c.offer(p, event.Item)
			if event.Type == watch.Modified {
				p.objects = before // it was added before
			}
		case watch.Deleted:
			left := c.left.of[event.Item.Meta().Key] != nil
			if err = c.remove(event.Item, metaOf(event.Item)); err == nil {
				if !left {
					p.objects = max(0, p.objects-1)
				}
				p.told, p.blind = true, true
				c.must = true // a watch from c.version would bring the object back
			}
		case watch.Bookmark:
			if event.InitialEventsEnd {
				p.version = event.Version
				if known(p.version) == "" && c.listed != "" {
					return &DecodingError{Err: fmt.Errorf("the initial events have no version, the list before had %q", c.listed)}
				}
				c.r.contacted(at)
				if err := c.unreadable(p); err != nil {
					return err
				}
				if err := c.commit(p); err != nil {
					return err
				}
				open.guard.waiting()
				return nil
			}
		default:
			err = unknownEvent(event.Type)
		}
		if err != nil {
			return err
		}
		c.r.contacted(at)
		allowed := overdue * c.cfg.InitialSilence
		switch {
		case !late && (event.Type != watch.Added || repeated(p, event.Item.Meta().Key)):
			late, since = true, at
		case late && at-since > allowed, waited > allowed+time.Duration(p.objects)*slowest:
			return &SilenceError{After: waited, err: errNoEnd}
		}
		open.guard.waiting()
	}
}

// repeated reports whether an addition is known to be one of an object that was added before.
func repeated(p *passing, key store.Key) bool { return key.Name != "" && p.repeats.add(key) }

// remove hands a deletion to the sink. It needs no last state, but a name.
func (c *cycle[T]) remove(item Item[T], meta store.Meta) error {
	last, err := item.Decode()
	if err != nil && meta.Key.Name == "" {
		return AsDecodingError(meta, err)
	}
	if err != nil {
		c.r.panics.Report(err)
	}
	if err := c.cfg.Sink.Delete(c.ctx, meta, last, err == nil); err != nil {
		return c.sinkError("Delete", meta, err)
	}
	c.notLeftOut(meta.Key)
	return nil
}
