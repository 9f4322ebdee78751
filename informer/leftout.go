// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// mostLeftOut bounds the list of objects that are left out, because untrusted users can create
// any number of them.
const mostLeftOut = 100

// longestKey is longer than any key of an API server. An object with a longer key is recorded
// without a name.
const longestKey = 1000

// LeftOut is an object whose newest state is left out because it cannot be decoded. See
// "Objects that cannot be decoded" in the documentation of the package.
type LeftOut struct {
	// Meta identifies the object and the state. It is zero for objects without a name.
	Meta store.Meta

	// Err is a [*DecodingError] with the reason.
	Err error
}

// leftOut are the objects that are left out.
type leftOut struct {
	of map[store.Key]*leftOutAt

	// more is the last pass with more objects than mostLeftOut, or with several objects
	// without a name. 0: none.
	more uint64

	// A list at since+wait tries them again, in durations since Reflector.base.
	since, wait time.Duration
}

var errLeftOut = errors.New("objects are left out: a list tries them again")

type leftOutAt struct {
	LeftOut
	epoch uint64 // of the pass that had it last, or that it follows
}

// leaveOut leaves an object of a pass out, and the sink keeps its state of the object. It
// returns err if the pass must fail.
func (c *cycle[T]) leaveOut(p *passing, meta store.Meta, err error) error {
	err = AsDecodingError(meta, err)
	if c.r.strict || c.stopping() {
		return err
	}
	switch kept := store.Keep(c.ctx, c.cfg.Sink, meta); {
	case errors.Is(kept, errors.ErrUnsupported):
		return err
	case kept != nil:
		return c.sinkError("Keep", meta, kept)
	}
	p.left++
	p.leftErr = err
	c.noteLeftOut(meta, err)
	return nil
}

// unreadable returns an error if the first pass has brought several objects so far, and none
// can be decoded: the sink would be empty, and the type is probably wrong. A later pass can
// leave out all objects, because it does not delete them.
func (c *cycle[T]) unreadable(p *passing) error {
	if p.objects > 0 || p.left < 2 || c.r.HasInitializedSynced() {
		return nil
	}
	return fmt.Errorf("none of the %d objects in the list can be decoded, so none is left out: %w", p.left, p.leftErr)
}

// noteLeftOut records an object that is left out, and reports it if it is new.
func (c *cycle[T]) noteLeftOut(meta store.Meta, err error) {
	c.r.panics.Report(err)
	if len(meta.Key.Name)+len(meta.Key.Namespace) > longestKey {
		meta = store.Meta{}
	}
	if c.left.of == nil {
		c.left.of = map[store.Key]*leftOutAt{}
	}
	if len(c.left.of) == 0 {
		c.left.since, c.left.wait = c.now(), c.cfg.CheckInterval
	}
	at := c.left.of[meta.Key]
	known := at != nil
	switch {
	case known && meta.Key.Name == "" && at.epoch == c.epoch, !known && len(c.left.of) == mostLeftOut:
		known = known || c.left.more > 0
		c.left.more = c.epoch
	case !known:
		at = &leftOutAt{}
		c.left.of[meta.Key] = at
	}
	if at != nil { // as text: the error of a transform can refer to its object
		at.epoch, at.Meta = c.epoch, meta
		at.Err = &DecodingError{Meta: meta, Err: errors.New(reason(err))}
	}
	c.showLeftOut()
	if !known {
		c.r.observe(ObjectLeftOut{LeftOut{Meta: meta, Err: err}})
	}
}

// reason returns the text of a DecodingError without the key.
func reason(err error) string {
	if d := (*DecodingError)(nil); errors.As(err, &d) && d.Err != nil {
		err = d.Err
	}
	return redact.Text(fmt.Sprint(err))
}

// notLeftOut records that the sink has the newest state of an object. It reports whether the
// object was left out.
func (c *cycle[T]) notLeftOut(key store.Key) bool {
	if c.left.of[key] == nil {
		return false
	}
	delete(c.left.of, key)
	c.showLeftOut()
	c.r.observe(LeftOutEnded{Key: key})
	return true
}

// passedLeftOut forgets the objects that the committed pass did not leave out.
func (c *cycle[T]) passedLeftOut(pass store.Pass) {
	epoch := pass.Epoch
	if c.left.since = c.now(); pass.Reason == store.ReasonCheck {
		c.left.wait = min(2*c.left.wait, quietGrowth*c.cfg.CheckInterval)
	}
	if c.left.more != 0 && c.left.more != epoch {
		c.left.more = 0
		c.showLeftOut()
	}
	for key, at := range c.left.of {
		if at.epoch != epoch {
			c.notLeftOut(key)
		}
	}
}

// showLeftOut makes Info show what is left out.
func (c *cycle[T]) showLeftOut() {
	list := make([]LeftOut, 0, len(c.left.of))
	for _, at := range c.left.of {
		list = append(list, at.LeftOut)
	}
	slices.SortFunc(list, func(a, b LeftOut) int { return cmp.Compare(a.Meta.Key.String(), b.Meta.Key.String()) })
	more := c.left.more != 0
	c.r.update(func(i *ReflectorInfo) { i.LeftOut, i.MoreLeftOut = list, more })
}
