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

// How long streamed passes are not tried after a failure: at first, and at most.
const (
	unavailableFirst = 10 * time.Minute
	unavailableMost  = 4 * time.Hour
)

// overdue times InitialSilence is how long the end of the initial events can take after the
// first event that is no addition. A server that ignores the option never sends the end.
const overdue = 3

// slowest is the time that is allowed for each addition besides. A slower stream counts as one
// without an end, because pages can be read at any speed.
const slowest = 10 * time.Millisecond

// streamMemory is the state of failures of streamed passes.
type streamMemory struct {
	retry  time.Time     // no streamed pass before
	memory time.Duration // how long the last failure prevented streamed passes
	broken int           // streamed passes in a row that broke off

	// paged: only the next pass is in pages. The kind was not found, and perhaps only watches
	// do not find it.
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

// fallBack decides whether a paged pass follows at once a streamed pass that failed. Streamed
// passes are then not tried for a while.
func (c *cycle[T]) fallBack(cause Cause, err error) bool {
	switch cause {
	case CauseForbidden, CauseNotSupported, CauseRejected,
		CauseServer, CauseConnection, CauseTimeout, CauseClosed, CauseDecoding, CauseUnknown:
	case CauseSilent:
		if silence := (*SilenceError)(nil); errors.As(err, &silence) && silence.unconnected {
			return false // a list would fail as well
		}
	default:
		// A list would fail as well.
		return false
	}
	if c.streams.broken++; !pagesFollow(cause, err) && c.streams.broken < 2 {
		return false
	}
	c.streams.memory = min(max(2*c.streams.memory, unavailableFirst), unavailableMost)
	c.streams.retry = time.Now().Add(c.streams.memory)
	c.streams.broken = 0
	if ignoresStreams(cause, err) { // otherwise the paged pass shows the failure
		c.r.observe(WatchListUnavailable{Err: err, Retry: c.streams.retry})
	}
	return true
}

// pagesFollow reports whether a paged pass follows at once a streamed pass with this error.
// The error is then no failure.
func pagesFollow(cause Cause, err error) bool {
	switch cause {
	case CauseForbidden, CauseNotSupported, CauseRejected:
		return true // the server does not know the option or forbids the watch: a list can work
	case CauseSilent:
		var silence *SilenceError
		return errors.As(err, &silence) && !silence.unconnected && !silence.Unanswered // else the connection may be to blame
	}
	return false
}

// ignoresStreams reports whether the error means that the server does not stream initial
// events: it rejects the request, sends nothing, or sends no end.
func ignoresStreams(cause Cause, err error) bool {
	switch cause {
	case CauseRejected:
		return apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
	case CauseForbidden:
		return false
	}
	return cause == CauseClosed || pagesFollow(cause, err)
}

// passStreamed reads the initial events of a watch. The returned stream goes on as the watch.
//
// The bookmark that ends the initial events has the version of the pass. Events before it do
// not advance the version, because additions come in any order.
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

// initialSilence returns errNoEvents as the reason of a silence, if the connection works.
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
				p.delivered, p.blind = true, true
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

// repeated reports whether the object of an addition is known to be added before.
func repeated(p *passing, key store.Key) bool { return key.Name != "" && p.repeats.add(key) }

// remove hands a deletion to the sink. It needs the name, and not the last state.
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
