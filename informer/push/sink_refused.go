// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/store"
)

// unaccepted is an object of a pass that the consumer refused by name, or that was withheld
// because it was found to be refused before.
type unaccepted[T any] struct {
	meta   store.Meta
	change *pending.Change[T] // nil: it stays a dead letter
	err    error              // nil if it was withheld
}

// isNamed reports whether the consumer refused the object in this pass.
func (u *unaccepted[T]) isNamed() bool { return u.err != nil }

// withhold has the next snapshot leave out an object that the consumer refused.
func (s *batchSink[T]) withhold(meta store.Meta, err error) {
	r := s.merger.addRefusal(meta, true)
	r.withheld = true
	s.merger.observed.failed(meta.Key, "SnapshotPage", r.tries, r.since, 0, err)
	s.merger.report(&informer.HandlerError{Call: "SnapshotPage", Meta: meta, Failures: r.tries, Err: err})
}

// errTooMany: the refused objects of a snapshot have no room in what can be pending.
var errTooMany = errors.New("the consumer refused more objects of the snapshot than can be pending")

// isFatal reports whether err of a page must not be followed by a part of it.
func isFatal(ctx context.Context, err error) bool {
	return ctx.Err() != nil || wantsSnapshot(err) || errors.Is(err, errTooMany)
}

// leave records an object that the consumer did not accept in this pass. It keeps the
// object, within the bounds of what may be pending.
func (s *batchSink[T]) leave(obj informer.Object[T], why error) error {
	s.unleave(obj.Key)
	m := s.merger
	r := m.refusals[obj.Key]
	isDead := r != nil && r.dead && r.state == obj.Meta && obj.Version != ""
	left := &unaccepted[T]{meta: obj.Meta, err: why}
	size := int64(m.cfg.SizeOf(obj.Object))
	hasRoom := s.leftObjects < m.cfg.MaxPending && (s.leftBytes+size <= m.cfg.MaxPendingBytes || s.leftObjects == 0)
	switch {
	case isDead && (left.isNamed() || !hasRoom): // tried, or to be tried after another snapshot
	case !hasRoom:
		m.offerAll()
		return fmt.Errorf("%w: %d", errTooMany, s.leftObjects)
	default:
		left.change = &pending.Change[T]{Meta: obj.Meta, Obj: obj.Object, Size: size}
		s.leftObjects++
		s.leftBytes += size
	}
	s.left[obj.Key] = left
	return nil
}

// unleave forgets that an object was left out.
func (s *batchSink[T]) unleave(key store.Key) {
	if left := s.left[key]; left != nil && left.change != nil {
		s.leftObjects--
		s.leftBytes -= left.change.Size
	}
	delete(s.left, key)
}

// bisectPage finds the objects for which the consumer refused a page, for the next
// snapshot to leave them out. It reports whether to go on with this one, which can only
// find more. If the consumer accepted no part of the page, all of the page is left out,
// provided that the consumer accepts something before it or right after it.
func (s *batchSink[T]) bisectPage(ctx context.Context, page []informer.Object[T], whole error) (goOn bool, fatal error) {
	before := s.accepted.Len() > 0
	refused, found := map[int]error{}, false
	if len(page) > 1 {
		refused, found, fatal = bisect(len(page), func(lo, hi int) error { return s.offer(ctx, page[lo:hi]) },
			func(err error) bool { return isFatal(ctx, err) })
	}
	switch {
	case fatal != nil:
		return false, fatal
	case !found && !before:
		goOn = s.doomed == nil
		s.doubted = page
		return goOn, nil
	}
	for i := range page {
		if err := refused[i]; err != nil || !found {
			s.withhold(page[i].Meta, cmp.Or(err, whole))
		}
	}
	return found && len(refused) > 0, nil
}

// keepLeft keeps what the consumer did not accept in a snapshot that is complete: named
// keys are tried again after a while, and those that were withheld are tried now. AtEnd
// are those that EndSnapshot refused. Their objects are not known any more.
func (s *batchSink[T]) keepLeft(atEnd map[store.Key]error) {
	m, before := s.merger, s.merger.versions.Load()
	for key, err := range atEnd {
		if meta, ok, _ := s.accepted.Get(key); ok && s.left[key] == nil { // in memory: no error
			s.left[key] = &unaccepted[T]{meta: meta, err: reasonOf(err)}
			_ = s.accepted.Delete(key)
		}
	}
	for key := range m.refusals {
		if s.left[key] == nil && !s.kept[key] && !s.all {
			m.forget(key) // it is gone
		}
	}
	m.versions.Store(s.accepted)
	var withheld []*pending.Change[T]
	for _, key := range slices.SortedFunc(maps.Keys(s.left), store.Key.Compare) {
		left, r := s.left[key], m.refusalOf(key)
		if held, ok, _ := before.Get(key); ok { // in memory: no error
			r.tried = held
		} else if r.tried.Key.Name == "" {
			r.tried = left.meta
		}
		switch isDead := r.dead && r.state == left.meta; {
		case left.change == nil && !isDead: // at the end
			tries := m.addRefusal(left.meta, false).tries
			m.setDead(r, true)
			m.observed.deadLetter(key, "EndSnapshot", tries, r.since, left.err)
			m.report(&DeadLetterError{Name: m.name, Meta: left.meta, Tries: tries, Err: left.err})
		case left.change == nil:
		case left.isNamed():
			m.pending.SetAlone(key, false)
			m.put(left.change)
		default:
			if isDead {
				m.setDead(r, false)
				r.tries = m.cfg.MaxTries - 1
			}
			withheld = append(withheld, left.change)
		}
	}
	named := m.pending.TakeBatch(math.MaxInt, math.MaxInt64)
	for i := range named {
		m.refuse(&named[i], "SnapshotPage", s.left[named[i].Work.Key].err, false)
	}
	for _, c := range withheld {
		m.put(c)
	}
}
