// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

// notice has the calls of onChange, onState and onIndexError for a change, or for several
// changes that were made at once.
type notice[T any] struct {
	number  uint64 // in the order of notices; 0: neither onChange nor onState is called
	change  Change[T]
	changes []Change[T] // in place of change
	state   Snapshot[T] // for onState, if there is one
	errs    []error     // of index functions
}

// upsert returns the change from held, which can be nil, to obj. The caller sets Record.
func upsert[T any](held *Record[T], meta Meta, obj T) Change[T] {
	c := Change[T]{Kind: Added, Meta: meta, New: obj}
	if held != nil {
		c.Kind, c.OldMeta, c.Old, c.replaced = Updated, held.Meta(), held.obj, held
		c.oldRefs = held.refs()
	}
	return c
}

// placed completes the change with the new record.
func (c *Change[T]) placed(rec *Record[T]) { c.Record, c.refs = rec, rec.refs() }

// deletion returns the deletion of held. meta is that of the deletion.
func deletion[T any](held *Record[T], meta Meta) Change[T] {
	return Change[T]{Kind: Deleted, Meta: meta, OldMeta: held.Meta(), Old: held.obj, Record: held, oldRefs: held.refs()}
}

// changed counts the change in n. The caller holds mu.
func (s *Store[T]) changed(n *notice[T]) {
	s.generation++
	n.change.Generation = s.generation
	for i := range n.changes {
		n.changes[i].Generation = s.generation
	}
	s.unpushed = true
	if s.unsettled == 0 {
		s.stated = true
		if s.onState != nil {
			s.capture(n)
		}
	}
	s.number(n)
}

// state marks the state as complete. It puts the state into n if onState has not got it.
// No part is unsettled. The caller holds mu.
func (s *Store[T]) state(n *notice[T]) {
	first := !s.stated
	s.stated = true
	if s.onState != nil && (first || s.unpushed) {
		s.capture(n)
		s.number(n)
	}
}

func (s *Store[T]) capture(n *notice[T]) {
	s.unpushed = false
	n.state = s.snapshot()
}

func (s *Store[T]) number(n *notice[T]) {
	if s.onChange == nil && s.onState == nil || n.number != 0 {
		return
	}
	s.notices++
	n.number = s.notices
}

// notify wakes waiting goroutines. It waits until all earlier notices are complete, and
// then calls onIndexError, onChange and onState.
func (s *Store[T]) notify(n *notice[T]) {
	s.changes.changed()
	if n.number != 0 {
		s.order.wait(n.number)
		defer s.order.end(n.number) // also if an observer panics
		n.passTags()
	}
	s.reportIndexErrors(n.errs)
	if s.onChange != nil {
		if n.change.Kind != 0 {
			s.onChange(n.change)
		}
		for i, c := range n.changes {
			s.onChange(c)
			n.changes[i].oldRefs, n.changes[i].refs = nil, nil // a kept change must not keep indexes in memory
		}
	}
	if n.state.state != nil {
		s.onState(n.state)
	}
}

// passTags copies the tags of the replaced records. onChange has set them by now.
func (n *notice[T]) passTags() {
	n.change.passTag()
	for i := range n.changes {
		n.changes[i].passTag()
	}
}

func (c *Change[T]) passTag() {
	if c.replaced != nil {
		c.Record.setTag(c.replaced.tag)
		c.replaced = nil
	}
}
