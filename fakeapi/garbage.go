// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// CollectGarbage makes f delete objects by their owner references, as the garbage collector
// of a cluster does. An object is deleted when none of its owners exists any more. A deletion
// with the policy Foreground deletes the dependents first, and one with the policy Orphan
// removes their references. All of this happens before the deletion returns. Without
// CollectGarbage, owner references have no effect, and deletions with these policies wait
// for the removal of their finalizers.
func (f *Server) CollectGarbage() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.collecting, f.garbage = true, true
	f.collectLocked()
}

// collectLocked collects until there is nothing to do, if there can be garbage.
func (f *Server) collectLocked() {
	for f.collecting && f.garbage {
		f.garbage = f.collectOnceLocked()
	}
}

// canBeGarbage returns true if the collector has to look at a change.
func canBeGarbage(kind watch.EventType, obj metav1.Object) bool {
	return kind == watch.Deleted || obj.GetDeletionTimestamp() != nil || len(obj.GetOwnerReferences()) > 0
}

func (f *Server) collectOnceLocked() (changed bool) {
	type stored struct {
		gvr    schema.GroupVersionResource
		key    string
		object runtime.Object
	}
	var all []stored
	exists := map[types.UID]bool{}
	dependents := map[types.UID][]stored{}
	for gvr, objects := range f.objects {
		for key, obj := range objects {
			s := stored{gvr, key, obj}
			all = append(all, s)
			accessor, _ := meta.Accessor(obj)
			exists[accessor.GetUID()] = true
			for _, owner := range accessor.GetOwnerReferences() {
				dependents[owner.UID] = append(dependents[owner.UID], s)
			}
		}
	}
	edit := func(s stored, change func(metav1.Object)) {
		current := f.objects[s.gvr][s.key]
		if current == nil {
			return
		}
		obj := current.DeepCopyObject()
		accessor, _ := meta.Accessor(obj)
		change(accessor)
		f.replaceLocked(s.gvr, s.key, current, obj)
		changed = true
	}
	remove := func(s stored, opts *metav1.DeleteOptions) {
		if current := f.objects[s.gvr][s.key]; current != nil {
			f.deleteLocked(s.gvr, s.key, current, opts)
			changed = true
		}
	}
	policy := metav1.DeletePropagationForeground
	foreground := &metav1.DeleteOptions{PropagationPolicy: &policy}
	for _, s := range all {
		accessor, _ := meta.Accessor(s.object)
		uid := accessor.GetUID()
		finalizers := accessor.GetFinalizers()
		deleted := accessor.GetDeletionTimestamp() != nil
		switch {
		case deleted && slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
			for _, d := range dependents[uid] {
				edit(d, func(o metav1.Object) { dropOwners(o, func(owner types.UID) bool { return owner == uid }) })
			}
			edit(s, func(o metav1.Object) { dropFinalizer(o, metav1.FinalizerOrphanDependents) })
		case deleted && slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
			for _, d := range dependents[uid] {
				accessor, _ := meta.Accessor(d.object)
				switch {
				case hasOwner(accessor, func(owner types.UID) bool { return owner != uid && exists[owner] }):
					edit(d, func(o metav1.Object) { dropOwners(o, func(owner types.UID) bool { return owner == uid }) })
				case accessor.GetDeletionTimestamp() == nil:
					remove(d, foreground)
				}
			}
			if len(dependents[uid]) == 0 {
				edit(s, func(o metav1.Object) { dropFinalizer(o, metav1.FinalizerDeleteDependents) })
			}
		case !deleted && hasOwner(accessor, func(owner types.UID) bool { return !exists[owner] }):
			if hasOwner(accessor, func(owner types.UID) bool { return exists[owner] }) {
				edit(s, func(o metav1.Object) { dropOwners(o, func(owner types.UID) bool { return !exists[owner] }) })
			} else {
				remove(s, &metav1.DeleteOptions{})
			}
		}
		if changed {
			return true // with a new view of the objects
		}
	}
	return false
}

func hasOwner(o metav1.Object, is func(types.UID) bool) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return is(r.UID) })
}

func dropOwners(o metav1.Object, drop func(types.UID) bool) {
	o.SetOwnerReferences(slices.DeleteFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return drop(r.UID) }))
}

func dropFinalizer(o metav1.Object, name string) {
	o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == name }))
}

// deleteLocked deletes an object, or marks it as deleted if it has finalizers. It returns
// the last state of the object, and true if the object is gone.
func (f *Server) deleteLocked(gvr schema.GroupVersionResource, key string, old runtime.Object, opts *metav1.DeleteOptions) (runtime.Object, bool) {
	marked := old.DeepCopyObject()
	accessor, _ := meta.Accessor(marked)
	if policy, orphan := opts.PropagationPolicy, opts.OrphanDependents; (policy != nil || orphan != nil) && !f.kinds[gvr].traits.noCollection {
		dropFinalizer(accessor, metav1.FinalizerOrphanDependents)
		dropFinalizer(accessor, metav1.FinalizerDeleteDependents)
		switch {
		case policy != nil && *policy == metav1.DeletePropagationForeground:
			accessor.SetFinalizers(append(accessor.GetFinalizers(), metav1.FinalizerDeleteDependents))
		case policy != nil && *policy == metav1.DeletePropagationOrphan, orphan != nil && *orphan:
			accessor.SetFinalizers(append(accessor.GetFinalizers(), metav1.FinalizerOrphanDependents))
		}
	}
	held := len(accessor.GetFinalizers()) > 0
	graceful := f.kinds[gvr].traits.graceful
	if accessor.GetDeletionTimestamp() == nil && (held || graceful) {
		t, zero := now(), int64(0)
		accessor.SetDeletionTimestamp(&t)
		accessor.SetDeletionGracePeriodSeconds(&zero)
		if g := accessor.GetGeneration(); g > 0 {
			accessor.SetGeneration(g + 1)
		}
		if !held {
			old = f.recordLocked(gvr, key, watch.Modified, marked, old)
			marked = old.DeepCopyObject()
		}
	}
	if !held {
		return f.recordLocked(gvr, key, watch.Deleted, marked, old), true
	}
	return f.replaceLocked(gvr, key, old, marked), false
}
