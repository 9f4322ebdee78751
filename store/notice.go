// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

// notice is what the observers get of a change, or of several that were made at once.
type notice[T any] struct {
	number  uint64 // in the order of notices; 0: there is nothing for an observer
	change  Change[T]
	changes []Change[T] // in place of change
	state   Snapshot[T] // for onState, if there is one
	errs    []error     // of index functions
}

// upsert is the change from held, nil if there was nothing, to obj. The Record is yet
// to be set.
func upsert[T any](held *Record[T], meta Meta, obj T) Change[T] {
	c := Change[T]{Kind: Added, Meta: meta, New: obj}
	if held != nil {
		c.Kind, c.OldMeta, c.Old, c.replaced = Updated, held.Meta(), held.obj, held
	}
	return c
}

// deletion is the change from held to nothing, which meta describes.
func deletion[T any](held *Record[T], meta Meta) Change[T] {
	return Change[T]{Kind: Deleted, Meta: meta, OldMeta: held.Meta(), Old: held.obj, Record: held}
}

// changed counts the change in n. The caller holds mu.
func (s *Store[T]) changed(n *notice[T]) {
	s.generation++
	n.change.Generation = s.generation
	for i := range n.changes {
		n.changes[i].Generation = s.generation
	}
	s.unpushed = true
	if !s.pass.open {
		s.stated = true
		if s.onState != nil {
			s.capture(n)
		}
	}
	s.number(n)
}

// state notes that a whole state is complete. It puts the state into n if an observer
// has not got it. There is no pass any more. The caller holds mu.
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

// notify wakes what waits for a change, and calls the observers when they have got
// everything before n.
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
		for _, c := range n.changes {
			s.onChange(c)
		}
	}
	if n.state.state != nil {
		s.onState(n.state)
	}
}

// passTags copies the tags of the records that were replaced: the observer has set
// them by now.
func (n *notice[T]) passTags() {
	n.change.passTag()
	for i := range n.changes {
		n.changes[i].passTag()
	}
}

func (c *Change[T]) passTag() {
	if c.replaced != nil {
		c.Record.tag = c.replaced.tag
		c.replaced = nil
	}
}
