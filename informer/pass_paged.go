// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

var errSamePage = errors.New("the server returned the continue token of the request: the list would never end")

// passPaged reads the collection page by page.
//
// The first request asks for the newest state, or for one that is not older than p.from. The
// others follow by token and are of the same state. Each has a limit. The server ignores the
// limit for version "0", so no request has it.
func (c *cycle[T]) passPaged(p *passing) error {
	limit := c.cfg.PageSize << c.pages
	opts := metav1.ListOptions{Limit: limit}
	if !p.consistent {
		opts.ResourceVersion = p.from
		opts.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
	}
	empty := 0
	for number := 1; ; number++ {
		before := p.objects
		page, err := c.pageTried(p, opts, number)
		if err == nil {
			err = c.belongs(p, page, number)
		}
		if err == nil {
			err = c.unreadable(p)
		}
		if err != nil {
			return err
		}
		if number == 1 {
			p.version, p.kind = known(page.Version), page.Kind
			if p.from != "" && c.older(p.version) {
				return errOlder // no need to read the others
			}
			p.continued = true
			if p.version != "" {
				c.listed = p.version
			}
		}
		info := store.PageInfo{Number: number, Objects: p.objects - before, Remaining: page.Remaining}
		if err := c.cfg.Sink.Page(c.ctx, info); err != nil {
			return c.sinkError("Page", store.Meta{}, err)
		}
		c.r.observe(PageRead{info})
		if empty++; p.objects > before {
			empty = 0
		}
		switch {
		case page.Continue == "":
			return c.commit(p)
		case page.Continue == opts.Continue:
			return &DecodingError{Err: errSamePage}
		case empty == emptyPages:
			return &DecodingError{Err: errEmptyPages}
		}
		opts = metav1.ListOptions{Limit: limit, Continue: page.Continue}
	}
}

// pageTries is how often a page is requested before the pass fails.
const pageTries = 5

// pageTried reads one page into the sink. A page that fails for a passing reason is requested
// again by its token, without the pages before it.
func (c *cycle[T]) pageTried(p *passing, opts metav1.ListOptions, number int) (Page, error) {
	before, left, failures, seen := p.objects, p.left, c.failures, p.repeats
	for try := 1; ; try++ {
		page, err := c.page(p, opts)
		if err == nil {
			if try > 1 {
				c.failures = failures
				c.r.update(func(i *ReflectorInfo) { i.Err, i.Cause = nil, CauseNone })
			}
			return page, nil
		}
		switch cause := c.causeOf(err); cause {
		case CauseThrottled, CauseServer, CauseTimeout, CauseConnection, CauseRefused, CauseSilent:
			if number == 1 || try == pageTries {
				return page, err
			}
			p.objects, p.left, p.repeats = before, left, seen
			c.fail(cause, c.errorOf(verbList, err))
			c.r.setState(StateListing)
		default:
			return page, err
		}
		if c.stopping() {
			return page, context.Cause(c.ctx)
		}
	}
}

// page reads one page into the sink.
func (c *cycle[T]) page(p *passing, opts metav1.ListOptions) (Page, error) {
	silence := c.cfg.Silence
	if silence > 0 {
		silence <<= c.silences
	}
	slot, err := c.cfg.ListBudget.acquire(c.ctx)
	if err != nil {
		return Page{}, err
	}
	defer slot.release()
	early := c.cfg.Sink.MayBlock() // release the slot before the sink
	ctx, cancel, g := c.request(silence, silence)
	defer cancel(nil)
	var lacks error // why the sink lacks an object
	before := p.objects
	page, err := c.list(ctx, p, opts, func(item Item[T]) error {
		switch {
		case lacks != nil: // the source should have ended the request
		case c.stopping():
			lacks = context.Cause(c.ctx)
		default:
			g.busy()
			if early {
				slot.release()
			}
			if key := item.Meta().Key; p.objects == before && key.Name != "" && p.repeats.add(key) {
				lacks = &DecodingError{Meta: item.Meta(), Err: errRepeats}
			} else {
				lacks = c.offer(p, item)
			}
			g.waiting()
		}
		return lacks
	})
	c.finish(g, err)
	switch {
	case lacks != nil:
		// The source can have changed it.
		return page, lacks
	case err != nil:
		return page, errorIn(ctx, err)
	}
	c.r.contacted(time.Since(c.r.base))
	return page, nil
}
