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

// evaluate tells the status of t by what is held, without a request.
func (w *Watch) evaluate(t *tracked) {
	e := evaluation{watch: w, tracked: t, now: time.Now(), owners: map[string]struct{}{}, seen: map[place]struct{}{}}
	s := e.object()
	w.disown(t, e.owners, e.seen)
	if e.waiting {
		return // for the first answer about the children
	}
	w.publish(t, s)
	w.at(t, e.recheck)
}

// evaluation is one evaluation of an object and of what it controls.
type evaluation struct {
	watch   *Watch
	tracked *tracked
	now     time.Time
	owners  map[string]struct{} // UIDs whose objects were asked for
	seen    map[place]struct{}  // where what they control is
	path    []schema.GroupKind  // of the owners of what is looked at
	recheck time.Time           // the earliest one
	waiting bool                // some children were not told yet
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
	if tr.cause == informer.CauseNotInstalled {
		s.Status, s.Reason, s.Message, s.Err = NotFound, KindNotInstalled, "The kind is no longer installed", tr.err
		return s
	}
	switch obj := t.find(st); {
	case obj == nil && t.id.Namespace == "" && e.watch.reading(&t.own).reader.namespaced():
		s.Reason, s.Err = InvalidID, errNamespaceMissing{t.id}
	case obj == nil:
		s.Status, s.Message = NotFound, messageNotFound
	default:
		if obj.GetNamespace() != t.namespace { // one was given for a kind that has none
			e.watch.followChildren(t, obj.GetNamespace())
		}
		s = e.compute(obj)
		s.ID = t.id
	}
	s.stale(tr.since, tr.err)
	return s
}

// stale notes that s has not been confirmed since then, unless since is zero, or s is
// stale for longer or Unknown.
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

// compute returns the status of obj by the rules, and those of its children.
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

// children returns what obj controls, in the order of the IDs; since when it has not
// been confirmed, if it has not; and why it is not complete or not up to date.
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
	e.own(uid) // before they are looked at: what comes later marks the object
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
		objs, indexErr := e.owned(st, kind, uid)
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

// own has the object marked for whatever is controlled by uid.
func (e *evaluation) own(uid string) {
	e.owners[uid] = struct{}{}
	if _, ok := e.tracked.owners[uid]; ok {
		return
	}
	e.tracked.owners[uid] = struct{}{}
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	add(e.watch.byOwner, uid, e.tracked)
}

// owned returns the objects of a kind that uid controls. Whatever becomes of one of
// them marks the object, also if it has another owner then, or none.
func (e *evaluation) owned(st resource.Store[*unstructured.Unstructured], kind schema.GroupKind, uid string) ([]*unstructured.Unstructured, error) {
	for {
		objs, err := st.ByIndex(ownerIndex, uid)
		if err != nil || !e.see(kind, objs) {
			return objs, err
		}
		// It may have changed before it could mark the object: look again.
	}
}

// see has the object marked when one of objs changes, and reports whether any of them
// did not do so before.
func (e *evaluation) see(kind schema.GroupKind, objs []*unstructured.Unstructured) bool {
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

// disown forgets the UIDs and the children of t that were not asked for any more.
func (w *Watch) disown(t *tracked, owners map[string]struct{}, seen map[place]struct{}) {
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
