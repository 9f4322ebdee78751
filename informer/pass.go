// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/store"
)

// largest is the most by which repeated expiry may enlarge pages, as a power
// of 2.
const largest = 3

// passing is the state of one pass.
type passing struct {
	pass     store.Pass
	streamed bool
	metadata bool      // of the objects, and no more, is read
	lacks    store.Key // the object that differs, which ends a pass of metadata
	// from is the version that the pass must not be older than, "" for any. A request with it
	// can be answered from the server's watch cache. Consistent: the request is without it,
	// for the newest state. Continued: the first page is complete.
	from       string
	consistent bool
	continued  bool

	version   string // of the collection, once known
	objects   int
	decoded   int
	delivered bool       // the sink accepted something that it did not hold
	blind     bool       // a deletion came within the pass, so what the sink lacks proves nothing
	changed   bool       // and one that is newer than what the watches brought
	newest    store.Meta // of the objects
	missed    findings
	left      int    // objects that are left out, besides
	leftErr   error  // why, of the last one
	kind      string // of the list
	form      string

	repeats repeats // of the first key of each page, or of the keys of additions
}

// pass tries one pass. After the commit of a streamed pass it returns the stream, which goes
// on as the watch.
func (c *cycle[T]) pass() *opened[T] {
	if c.spread(); c.stopping() {
		return nil
	}
	if c.epoch++; c.want == store.ReasonResync {
		c.asked = c.now()
	}
	p := &passing{
		pass:     store.Pass{Epoch: c.epoch, Reason: c.want, Cause: c.wantCause, Anew: c.anew || c.order.constant},
		metadata: c.byMetadata(),
	}
	p.streamed = !p.metadata && c.mayStream()
	if !c.consistent {
		p.from = c.version
	}
	p.consistent = p.from == "" || c.want == store.ReasonCheck || c.want == store.ReasonResync
	c.r.update(func(i *ReflectorInfo) { i.State, i.Epoch = StateListing, p.pass.Epoch })
	c.r.observe(ListStarted{Pass: p.pass, Streamed: p.streamed})
	start := time.Now()

	var open *opened[T]
	err := c.sinkError("Begin", store.Meta{}, c.cfg.Sink.Begin(c.ctx, p.pass))
	if err == nil {
		if p.streamed {
			open, err = c.passStreamed(p)
		} else {
			err = c.passPaged(p)
		}
	}
	if errors.Is(err, errDiffers) {
		c.foundDifference(p, err)
		return nil
	}
	if err != nil {
		verb := verbList
		if p.streamed {
			verb = verbStream
		}
		c.passFailed(p, c.errorOf(verb, err))
		return nil
	}
	done := ListDone{
		Pass: p.pass, Streamed: p.streamed, Version: p.version,
		Objects: p.objects, Decoded: p.decoded, Took: time.Since(start),
	}
	c.r.observe(done)
	c.reportMissed(p)
	c.recovered()
	return open
}

// commit completes the pass at p.version.
func (c *cycle[T]) commit(p *passing) error {
	p.version = known(p.version)
	if c.older(p.version) {
		if p.from != "" {
			return errOlder
		}
		c.r.observe(WentBackwards{From: c.version, To: p.version})
	}
	keys := c.beforeSweep(p)
	if err := c.cfg.Sink.Commit(c.ctx, p.version); err != nil {
		return c.sinkError("Commit", store.Meta{}, err)
	}
	c.swept(p, keys)
	c.keepFindings(p)
	c.missing.known, c.missing.through, c.differs = true, true, false
	if order, ordered := store.CompareVersions(p.newest.Version, p.version); ordered && order > 0 {
		c.disorder(true, p.newest, p.version)
	}
	c.passedLeftOut(p.pass)
	c.version = p.version
	c.want, c.wantCause, c.must = "", nil, false
	c.consistent, c.anew, c.form = false, false, p.form
	if c.listed = p.version; p.kind != "" {
		c.kind = p.kind
	}
	c.pages, c.silences = 0, 0
	c.rewatches = 0
	c.streams.paged = false
	c.postponed, c.absent = postponed{}, absence{}
	c.passed(p.pass.Reason)
	c.r.update(func(i *ReflectorInfo) { i.Version = p.version; i.Passes++ })
	c.checked(p)
	return nil
}

// belongs returns an error if a page belongs to another list or collection: its commit would
// delete objects.
func (c *cycle[T]) belongs(p *passing, page Page, number int) error {
	version := known(page.Version)
	var err error
	switch {
	case number > 1 && version != p.version:
		err = fmt.Errorf("page %d of the list has version %q, the first one %q", number, version, p.version)
	case version == "" && c.listed != "":
		err = fmt.Errorf("the list has no version, the one before had %q", c.listed)
	case number > 1 && page.Kind != p.kind:
		err = fmt.Errorf("page %d of the list is a %q, the first one a %q", number, page.Kind, p.kind)
	case c.kind != "" && page.Kind != c.kind:
		err = fmt.Errorf("the list is a %q, the one before was a %q", page.Kind, c.kind)
	default:
		return c.formed(p, page.Form)
	}
	return &DecodingError{Err: err}
}

// formed records the API version of the objects of a pass. If it has changed, it returns an
// error that requests another pass, because the sink can hold objects in the old one.
func (c *cycle[T]) formed(p *passing, form string) error {
	if form != "" && c.form != "" && form != c.form && !p.pass.Anew {
		return errForm
	}
	if form != "" {
		p.form = form
	}
	return nil
}

// older reports whether version is known to be older than the last accepted.
func (c *cycle[T]) older(version string) bool {
	order, ordered := store.CompareVersions(version, c.version)
	return ordered && order < 0
}

// newer reports whether version is known to be newer than the last accepted.
func (c *cycle[T]) newer(version string) bool {
	order, ordered := store.CompareVersions(version, c.version)
	return ordered && order > 0
}

// passFailed aborts the pass and decides what comes next.
func (c *cycle[T]) passFailed(p *passing, err error) {
	c.r.panics.Report(err)
	cause := c.causeOf(err)
	c.polls.tried = false
	c.streams.paged = p.streamed && cause == CauseNotInstalled
	c.cfg.Sink.Abort(p.pass, err)
	c.keepFindings(p)
	c.answered(cause)
	further := p.objects+1 > c.trouble.reached
	c.trouble.reached = p.objects + 1
	c.r.observe(ListFailed{Pass: p.pass, Streamed: p.streamed, Cause: cause, Err: err})
	if c.stopping() {
		return
	}
	if cause == CauseSilent {
		c.silences = min(c.silences+1, 4)
	} else {
		c.silences = 0
	}

	if cause == CauseNotInstalled && c.vanished() {
		c.forget(err)
		c.fail(cause, err)
		return
	}
	if p.delivered {
		// The sink is ahead of c.version. Only the newest state is known to have all of
		// its objects.
		c.consistent = true
		if further {
			c.ends.full = 0
		}
	}
	switch {
	case c.handleSinkError(err):
	case errors.Is(err, errForm):
		c.anew = true
	case p.from != "" && !p.continued && (cause == CauseExpired || cause == CauseRejected && apierrors.IsBadRequest(err)):
		// The server has no state that is new enough, as after a restore. Accept its
		// newest one.
		c.consistent = true
	case cause == CauseExpired:
		// The rest of the pages is gone. The next pass is faster: Has is true for the
		// objects that the sink has by now.
		if p.continued && c.ends.expired > 0 {
			c.pages = min(c.pages+1, largest)
		}
		c.failIfRepeated(&c.ends.expired, cause, err)
	case p.streamed && c.fallBack(cause, err):
	case cause == CauseNotInstalled && CauseOf(c.wantCause) == cause:
		// Lists confirm that the collection of the version is gone.
		c.must = true
		c.fail(cause, err)
	case c.optional():
		c.postpone(cause, err)
	default:
		c.fail(cause, err)
	}
}

// sinkError wraps an error of the sink.
func (c *cycle[T]) sinkError(call string, meta store.Meta, err error) error {
	if err == nil {
		return nil
	}
	return &SinkError{Call: call, Meta: meta, Err: err, resource: c.cfg.title()}
}

// offer hands an object of a pass to the sink, unless the sink holds it.
func (c *cycle[T]) offer(p *passing, item Item[T]) error {
	meta := metaOf(item)
	if order, ordered := store.CompareVersions(meta.Version, p.newest.Version); ordered && order > 0 || p.newest.Version == "" {
		p.newest = meta
	}
	if !p.pass.Anew && meta.Key.Name != "" && c.cfg.Sink.Has(meta) {
		c.taken(p)
		return nil
	}
	if p.metadata {
		p.lacks = meta.Key
		return errDiffers
	}
	lacks := c.lacks(p, meta)
	obj, err := item.Decode()
	if err != nil {
		return c.leaveOut(p, meta, err)
	}
	addSize(&c.r.sizes, item, obj)
	if err := c.cfg.Sink.Apply(c.ctx, meta, obj); err != nil {
		return c.sinkError("Apply", meta, err)
	}
	if lacks {
		c.mended(p, meta)
	}
	c.taken(p)
	c.notLeftOut(meta.Key)
	p.decoded++
	p.delivered = true
	p.changed = p.changed || c.newer(meta.Version)
	return nil
}

// errorIn returns the cause of ctx if ctx has ended, and otherwise err. It always returns
// errors of the sink and of decoding.
func errorIn(ctx context.Context, err error) error {
	var (
		sink     *SinkError
		decoding *DecodingError
	)
	if ctx.Err() == nil || errors.As(err, &decoding) || errors.As(err, &sink) {
		return err
	}
	return context.Cause(ctx)
}
