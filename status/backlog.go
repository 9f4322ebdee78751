// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// maxBehind is how many states a watch keeps until they are evaluated, and how many
// statuses until Events or Wait takes them. Beyond that it keeps only the two oldest
// states of an object, of which one is being evaluated, and its newest status.
const maxBehind = 4096

// backlog holds the states of an object that a scope has received and that were not
// evaluated yet. The mutex of the watch guards it.
type backlog struct {
	next  []state                    // the oldest first
	known bool                       // last or next holds the state of the object
	last  *unstructured.Unstructured // was evaluated last; nil: the scope does not have the object
}

// state is a state of an object.
type state struct {
	obj *unstructured.Unstructured // nil: the object does not exist

	// received is true if the server sent the state after the watch began. A state that
	// was in the store before can be out of date.
	received bool
}

// received handles a change of the store of l. It adds the states of tracked objects to
// their backlogs, and marks each object whose status can depend on the change.
func (w *Watch) received(l *lease, c store.Change[*unstructured.Unstructured]) {
	obj := c.New
	if obj == nil {
		obj = c.Old
	}
	owner, _ := indexByOwner(obj) // never fails
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := range w.byKey[place{l.kind, c.Meta.Key}] {
		if b := l.backlogs[t]; b != nil && t.has(c.Meta.Key) {
			w.append(b, l.store != nil, c)
		}
		w.mark(t)
	}
	for _, uid := range owner {
		for t := range w.byOwner[uid] {
			w.mark(t)
		}
	}
}

// append adds the states of a change. synced is true if the store was complete before
// the change.
func (w *Watch) append(b *backlog, synced bool, c store.Change[*unstructured.Unstructured]) {
	if !b.known && (synced || c.Old != nil) {
		w.push(b, state{obj: c.Old})
	}
	b.known = true
	if c.Kind == store.Updated && !c.Meta.SameObject(c.OldMeta) {
		w.push(b, state{received: true}) // the deletion was not received
	}
	if c.New != nil {
		w.push(b, state{c.New, true})
	}
	if c.Kind == store.Deleted {
		w.push(b, state{received: true})
	}
}

// push adds a state. If the watch is too far behind, the state replaces the newest one.
// It does not replace the oldest one, which can be in evaluation.
func (w *Watch) push(b *backlog, s state) {
	if n := len(b.next); n > 1 && w.behind >= maxBehind {
		b.next[n-1] = s
		return
	}
	b.next = append(b.next, s)
	w.behind++
}

// pop removes the oldest state, which was evaluated.
func (w *Watch) pop(b *backlog) {
	b.last = b.next[0].obj
	b.next[0] = state{}
	if b.next = b.next[1:]; len(b.next) == 0 {
		b.next = nil
	}
	w.behind--
}

// drop empties the backlog.
func (w *Watch) drop(b *backlog) {
	w.behind -= len(b.next)
	*b = backlog{}
}

// state returns the state to evaluate, from the scope that t is read from. queued is
// true if it is the oldest of the backlog.
func (w *Watch) state(t *tracked, st resource.Store[*unstructured.Unstructured]) (s state, queued bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.reading(&t.own).backlogs[t]
	switch {
	case t.backlog == nil:
		t.backlog = b
	case t.backlog != b && len(t.backlog.next) == 0: // all states of the other scope were evaluated
		w.drop(b)
		t.backlog = b
	}
	b = t.backlog
	if len(b.next) > 0 {
		return b.next[0], true
	}
	if !b.known {
		b.known, b.last = true, t.find(st)
	}
	return state{obj: b.last}, false
}
