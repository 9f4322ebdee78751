// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
)

// Part is the [Sink] for the objects of one namespace of a [Store], for a store that has a
// source for each of several namespaces. Make one with [Store.AddPart].
//
//   - Each part has passes and a version of its own. Commit deletes only objects of the
//     namespace. Each part can be called from another goroutine, at the same time.
//   - The version of the store is the oldest version of its parts. It is empty while a part
//     has none, and if two of them cannot be compared.
//   - Apply and Delete of an object in another namespace fail, and change nothing.
//   - The store has a whole state while each part has committed a pass and no part is within
//     one. [Store.Snapshots] and the push of an [UndeltaStore] wait for that.
//
// Only the methods of Sink and Remove are for the source. The others can be called from any
// goroutine, at any time.
type Part[T any] struct {
	store     *Store[T]
	namespace string // empty: the whole store

	// The writer lock of the store guards all fields below. objects, version and unsettled
	// are changed with both locks.
	pass      pass
	version   string
	objects   int
	closed    error // of all calls, if the part is not in use
	committed bool
	unsettled bool // the store has no whole state, because of this part
}

var errRemoved = errors.New("it was removed: use the one of a later AddPart")

// AddPart adds a part for the objects of a namespace. From then on, only parts fill the
// store: the methods of [Sink] of the store, and [Store.Replace], fail. [Store.Write] works
// as before.
//
// It fails if the namespace is empty or has a part, or if the store has had a pass of its
// own.
func (s *Store[T]) AddPart(namespace string) (*Part[T], error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case namespace == "":
		return nil, fmt.Errorf("store %s: add a part: the namespace is empty: give its name", s.name)
	case s.parts[namespace] != nil:
		return nil, fmt.Errorf("store %s: add a part: namespace %s has one: remove it first", s.name, namespace)
	case s.parts == nil && (s.all.pass.open || s.commits.Load()+s.aborts.Load() > 0):
		return nil, fmt.Errorf("store %s: add a part: the store has had a pass as a whole: use a new store", s.name)
	case s.parts == nil:
		s.parts = map[string]*Part[T]{}
		s.all.closed = fmt.Errorf("store %s has parts: use the part of the namespace", s.name)
	}
	p := &Part[T]{store: s, namespace: namespace}
	if s.all.objects > 0 { // of Write
		for range p.records() {
			p.objects++
		}
		s.all.objects -= p.objects
	}
	s.parts[namespace] = p
	p.settle()
	s.mergeVersions()
	return p, nil
}

// Remove removes the part from the store, and deletes its objects one by one. Its version no
// longer counts. Later calls of the part fail, and calls that are under way change nothing
// more. Remove can be called from any goroutine. A second call does nothing.
func (p *Part[T]) Remove() {
	records, ok := p.close()
	if !ok {
		return
	}
	p.sweepAll(records)
	var n notice[T]
	p.leave(&n)
	p.store.notify(&n)
}

// close ends the pass of the part and begins an empty one, which the source cannot end. It
// returns the records that this pass does not have, and false if the part was closed before.
func (p *Part[T]) close() ([]*Record[T], bool) {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.closed != nil {
		return nil, false
	}
	p.endPass(&s.aborts)
	p.closed = fmt.Errorf("store %s: the part of namespace %s: %w", s.name, p.namespace, errRemoved)
	p.pass = pass{open: true}
	p.settle()
	return p.missing(), true
}

// leave takes the part out of the store. Objects that a user wrote meanwhile stay.
func (p *Part[T]) leave(n *notice[T]) {
	s := p.store
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, p.namespace)
	s.all.objects += p.objects
	s.unsettled--
	s.mergeVersions()
	if s.unsettled == 0 {
		s.state(n)
	}
}

// partOf returns the part that has the objects with this key.
func (s *Store[T]) partOf(key Key) *Part[T] {
	if s.parts != nil {
		if p := s.parts[key.Namespace]; p != nil {
			return p
		}
	}
	return &s.all
}

// refuse returns an error if the source of the part must not write an object.
func (p *Part[T]) refuse(key Key) error {
	switch {
	case p.closed != nil:
		return p.closed
	case p.namespace != "" && key.Namespace != p.namespace:
		return fmt.Errorf("store %s: the source of namespace %s returned object %s of another one: fix the source", p.store.name, p.namespace, key)
	}
	return nil
}

// settle is called after a change of what makes the part unsettled. The caller holds both
// locks.
func (p *Part[T]) settle() {
	unsettled := p.pass.open || p.namespace != "" && !p.committed
	if unsettled == p.unsettled {
		return
	}
	p.unsettled = unsettled
	if unsettled {
		p.store.unsettled++
	} else {
		p.store.unsettled--
	}
}

// records iterates over the records of the part. The caller holds writing.
func (p *Part[T]) records() iter.Seq[*Record[T]] {
	all := p.store.records.all()
	if p.namespace == "" {
		return all
	}
	return func(yield func(*Record[T]) bool) {
		for rec := range all {
			if rec.Key().Namespace == p.namespace && !yield(rec) {
				return
			}
		}
	}
}

// advance sets the version of the part, unless version is empty or older. The caller holds
// both locks.
func (p *Part[T]) advance(version string) {
	if version == "" || version == p.version || p.closed != nil || !Supersedes(version, p.version) {
		return
	}
	p.setVersion(version)
}

// setVersion sets the version of the part, and that of the store.
func (p *Part[T]) setVersion(version string) {
	s, was := p.store, p.version
	p.version = version
	if p.namespace == "" {
		s.version = version
		return
	}
	order, ordered := CompareVersions(version, was)
	if s.version == "" || s.version == was || !ordered || order < 0 {
		s.mergeVersions() // otherwise another part is the oldest one
	}
}

// mergeVersions makes the oldest version of the parts the one of the store.
func (s *Store[T]) mergeVersions() {
	oldest := ""
	for _, p := range s.parts {
		order, ordered := CompareVersions(p.version, oldest)
		switch {
		case p.version == "" || oldest != "" && !ordered && p.version != oldest:
			s.version = ""
			return
		case oldest == "" || ordered && order < 0:
			oldest = p.version
		}
	}
	s.version = oldest
}

// endPass ends the current pass, if there is one, and counts it. The caller holds both
// locks.
func (p *Part[T]) endPass(count *atomic.Uint64) (was bool) {
	if was = p.pass.open; was {
		p.pass = pass{}
		count.Add(1)
		p.settle()
	}
	return was
}

// GetMeta returns the meta of the object with this key, and whether the part has it.
func (p *Part[T]) GetMeta(key Key) (Meta, bool) {
	if p.namespace != "" && key.Namespace != p.namespace {
		return Meta{}, false
	}
	return p.store.GetMeta(key)
}

// Keys iterates over the keys of the part, as [Store.Keys] does.
func (p *Part[T]) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for key := range p.store.Keys() {
			if (p.namespace == "" || key.Namespace == p.namespace) && !yield(key) {
				return
			}
		}
	}
}

// Len returns the number of objects of the part.
func (p *Part[T]) Len() int {
	rlock(&p.store.mu)
	defer p.store.mu.RUnlock()
	return p.objects
}
