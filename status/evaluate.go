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
)

// evaluate tells the status of t by what is held, without a request.
func (w *Watch) evaluate(t *tracked) {
	e := evaluation{watch: w, tracked: t, now: time.Now(), owners: map[string]struct{}{}}
	s := e.object()
	w.disown(t, e.owners)
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
			s.Reason, s.Err = NotObserved, missing
		}
		return s
	}
	if tr.cause == informer.CauseNotInstalled {
		s.Status, s.Reason, s.Message, s.Err = NotFound, KindNotInstalled, "The kind is no longer installed", tr.err
		return s
	}
	obj := t.find(st)
	if obj == nil {
		s.Status, s.Message = NotFound, messageNotFound
	} else {
		s = e.compute(obj)
		s.ID = t.id
	}
	if tr.cause != informer.CauseNone && s.Reason == "" {
		s.Reason, s.Err, s.Stale = Transient, tr.err, tr.since
	}
	return s
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
	s.Children, s.ChildrenErr = e.children(obj)
	result, err := e.watch.engine.cfg.Rules.Compute(obj, s.Children, e.now)
	if err != nil {
		s.Status, s.Reason, s.Err = Unknown, RuleError, err
		return s
	}
	s.Status, s.Message = result.Status, result.Message
	if at := result.Recheck; !at.IsZero() && (e.recheck.IsZero() || at.Before(e.recheck)) {
		e.recheck = at
	}
	return s
}

// children returns what obj controls, in the order of the IDs.
func (e *evaluation) children(obj *unstructured.Unstructured) (all []ObjectStatus, err error) {
	kind := obj.GroupVersionKind().GroupKind()
	if slices.Contains(e.path, kind) {
		return nil, nil
	}
	kinds := e.watch.engine.cfg.Rules.Children(kind)
	if len(kinds) == 0 {
		return nil, nil
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
		objs, indexErr := st.ByIndex(ownerIndex, uid)
		err = errors.Join(err, indexErr)
		for _, child := range objs {
			all = append(all, e.compute(child))
		}
	}
	slices.SortFunc(all, func(a, b ObjectStatus) int { return a.ID.Compare(b.ID) })
	return all, err
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

// disown forgets the UIDs of t that were not asked for any more.
func (w *Watch) disown(t *tracked, but map[string]struct{}) {
	for uid := range t.owners {
		if _, ok := but[uid]; ok {
			continue
		}
		delete(t.owners, uid)
		w.mu.Lock()
		remove(w.byOwner, uid, t)
		w.mu.Unlock()
	}
}
