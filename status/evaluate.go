// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// evaluate computes the status of each state of t that was received, and then of the
// newest one as it is now. It makes no request. Children are read as they are now.
func (w *Watch) evaluate(t *tracked) {
	for again := true; again && w.ctx.Err() == nil; {
		e := evaluation{watch: w, tracked: t, now: time.Now(), owners: map[string]struct{}{}, seen: map[place]struct{}{}}
		s := e.object()
		w.dropMarks(t, e.owners, e.seen)
		if e.waiting {
			return
		}
		again = w.publish(t, s, e.queued) || e.queued && e.troubled
		w.evaluateAt(t, e.recheck)
	}
}

// evaluation is one evaluation of an object and its children.
type evaluation struct {
	watch   *Watch
	tracked *tracked
	now     time.Time
	owners  map[string]struct{} // UIDs whose children were read
	seen    map[place]struct{}  // the places of these children
	path    []schema.GroupKind  // kinds of the owners of the object at hand
	recheck time.Time           // the earliest one
	waiting bool                // for the first answer about some children

	queued   bool // the state is the oldest of the backlog
	troubled bool // the source has a trouble
}

// object returns the status of the object itself.
func (e *evaluation) object() ObjectStatus {
	t := e.tracked
	s := ObjectStatus{ID: t.id, Status: Unknown}
	st, tr := e.watch.read(t, &t.own)
	if st == nil {
		s.Reason, s.Err = tr.reason(), tr.err
		if missing := (errNamespaceMissing{}); errors.As(tr.err, &missing) {
			s.Err = missing
		}
		return s
	}
	var own state
	own, e.queued = e.watch.state(t, st)
	e.troubled = tr.cause != informer.CauseNone
	if !own.received && tr.cause == informer.CauseNotInstalled {
		s.Status, s.Reason, s.Message, s.Err = NotFound, KindNotInstalled, "The kind is no longer installed", tr.err
		return s
	}
	switch obj := own.obj; {
	case obj == nil && t.id.Namespace == "" && e.watch.reading(&t.own).source.reader.namespaced():
		s.Reason, s.Err = InvalidID, errNamespaceMissing{t.id}
	case obj == nil:
		s.Status, s.Message = NotFound, messageNotFound
	default:
		if obj.GetNamespace() != t.namespace { // the ID has one, and the kind has none
			e.watch.followChildren(t, obj.GetNamespace())
		}
		s = e.compute(obj)
		s.ID = t.id
	}
	if !own.received {
		s.stale(tr.since, tr.err)
	}
	return s
}

// stale marks s as not confirmed since a time. It does nothing if since is zero, if s
// is Unknown, or if s is stale for longer.
func (s *ObjectStatus) stale(since time.Time, err error) {
	if since.IsZero() || s.Status == Unknown || !s.Stale.IsZero() && !since.Before(s.Stale) {
		return
	}
	s.Reason, s.Err, s.Stale = Transient, err, since
}

// find returns the object from the store, or nil.
func (t *tracked) find(st resource.Store[*unstructured.Unstructured]) *unstructured.Unstructured {
	for _, key := range t.keys() {
		if obj, ok, _ := st.GetByKey(key); ok {
			return obj
		}
	}
	return nil
}

// compute returns the status of obj by the rules, with its children.
func (e *evaluation) compute(obj *unstructured.Unstructured) ObjectStatus {
	s := ObjectStatus{ID: IDOf(obj), Object: obj}
	rules := e.watch.engine.cfg.Rules
	var tr trouble
	s.Children, tr, s.ChildrenErr = e.children(obj)
	result, err := rules.Compute(obj, s.Children, e.now)
	if err != nil {
		e.watch.engine.panics.Report(err)
		s.Status, s.Reason, s.Err = Unknown, RuleError, err
		return s
	}
	s.Status, s.Message = result.Status, result.Message
	if rules.looksAtChildren(s.ID.GroupKind, s.Status) {
		s.stale(tr.since, tr.err)
		for i := range s.Children {
			s.stale(s.Children[i].Stale, s.Children[i].Err)
		}
	}
	if at := result.Recheck; !at.IsZero() && (e.recheck.IsZero() || at.Before(e.recheck)) {
		e.recheck = at
	}
	return s
}

// children returns the statuses of the objects that obj controls, ordered by ID. old is
// the trouble since which they are not confirmed. err is why they are not complete or
// not up to date.
func (e *evaluation) children(obj *unstructured.Unstructured) (all []ObjectStatus, old trouble, err error) {
	kind := obj.GroupVersionKind().GroupKind()
	if slices.Contains(e.path, kind) {
		return nil, trouble{}, nil
	}
	kinds := e.watch.engine.cfg.Rules.Children(kind)
	if len(kinds) == 0 {
		return nil, trouble{}, nil
	}
	e.path = append(e.path, kind)
	defer func() { e.path = e.path[:len(e.path)-1] }()
	uid := string(obj.GetUID())
	e.markByOwner(uid) // before the children are read: later changes then mark the object
	for _, kind := range kinds {
		st, tr := e.watch.read(e.tracked, e.tracked.children[kind])
		switch {
		case st == nil && tr.cause == informer.CauseNone:
			e.waiting = true
			continue
		case st == nil, tr.cause == informer.CauseNotInstalled:
			err = errors.Join(err, tr.err)
			continue
		}
		objs, indexErr := e.controlledBy(st, kind, uid)
		err = errors.Join(err, indexErr, tr.err)
		if old.cause == informer.CauseNone || tr.cause != informer.CauseNone && tr.since.Before(old.since) {
			old = tr
		}
		for _, child := range objs {
			s := e.compute(child)
			s.stale(tr.since, tr.err)
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b ObjectStatus) int { return a.ID.Compare(b.ID) })
	return all, old, err
}

// markByOwner has the object marked by each change of an object that uid controls.
func (e *evaluation) markByOwner(uid string) {
	e.owners[uid] = struct{}{}
	if _, ok := e.tracked.owners[uid]; ok {
		return
	}
	e.tracked.owners[uid] = struct{}{}
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	add(e.watch.byOwner, uid, e.tracked)
}

// controlledBy returns the objects of a kind that uid controls. A later change of one of
// them marks the object, also if that change removes the owner.
func (e *evaluation) controlledBy(st resource.Store[*unstructured.Unstructured], kind schema.GroupKind, uid string) ([]*unstructured.Unstructured, error) {
	for {
		objs, err := st.ByIndex(ownerIndex, uid)
		if err != nil || !e.markByKey(kind, objs) {
			return objs, err
		}
		// A new one may have changed before it was in byKey: read again.
	}
}

// markByKey has the object marked by each change of objs, and reports whether some of
// them did not mark it before.
func (e *evaluation) markByKey(kind schema.GroupKind, objs []*unstructured.Unstructured) bool {
	var added []place
	for _, obj := range objs {
		at := place{kind, store.Key{Namespace: obj.GetNamespace(), Name: obj.GetName()}}
		if kind == e.tracked.id.GroupKind && slices.Contains(e.tracked.keys(), at.key) {
			continue // the object itself, in a cycle
		}
		e.seen[at] = struct{}{}
		if _, ok := e.tracked.seen[at]; !ok {
			e.tracked.seen[at] = struct{}{}
			added = append(added, at)
		}
	}
	if added == nil {
		return false
	}
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	for _, at := range added {
		add(e.watch.byKey, at, e.tracked)
	}
	return true
}

// dropMarks removes the UIDs and places of t that the last evaluation did not use.
func (w *Watch) dropMarks(t *tracked, owners map[string]struct{}, seen map[place]struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid := range t.owners {
		if _, ok := owners[uid]; !ok {
			delete(t.owners, uid)
			remove(w.byOwner, uid, t)
		}
	}
	for at := range t.seen {
		if _, ok := seen[at]; !ok {
			delete(t.seen, at)
			remove(w.byKey, at, t)
		}
	}
}
