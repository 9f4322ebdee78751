// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/internal/check"
)

// Record is one state of an object as the store keeps it. It does not change and can
// be kept: that costs no memory beyond what the store needs while the state is
// current.
//
// What the source said of the object, its key included, is not copied if the
// metadata of the object say the same. That is one more reason for which objects
// must not be modified: one whose name is changed is not found any more.
type Record[T any] struct {
	obj  T
	ext  atomic.Pointer[extra[T]] // nil if there is nothing in it
	slot uint32                   // its position in Store.records; for writers only

	// tag belongs to OnChange, see [Change.SetTag]. Without OnChange the store keeps
	// in it the age of obj.
	tag uint32
}

// extra is what not every record needs. Records of one key may share it.
type extra[T any] struct {
	// meta is that of the record, if that is not what its object says.
	meta *Meta

	// refs are where the indexes have the record, in the order of terms. Only
	// writers look at them, and only in the record of the current state.
	refs []ref[T]
}

// ownMeta returns the meta of the record if that is not what its object says, else
// nil.
func (r *Record[T]) ownMeta() *Meta {
	if ext := r.ext.Load(); ext != nil {
		return ext.meta
	}
	return nil
}

// Meta identifies the state.
func (r *Record[T]) Meta() Meta {
	if own := r.ownMeta(); own != nil {
		return *own
	}
	return MetaOf(any(r.obj).(metav1.Object))
}

// Object is the object. It is shared and must not be modified.
func (r *Record[T]) Object() T { return r.obj }

// Key is the key of the object.
func (r *Record[T]) Key() Key {
	if own := r.ownMeta(); own != nil {
		return own.Key
	}
	return KeyOf(any(r.obj).(metav1.Object))
}

// SameObject is [Meta.SameObject] of the metas of two records of one key.
func (r *Record[T]) SameObject(other *Record[T]) bool {
	return sameUID(r.uid(), other.uid())
}

func (r *Record[T]) uid() types.UID {
	if own := r.ownMeta(); own != nil {
		return own.UID
	}
	return any(r.obj).(metav1.Object).GetUID()
}

// hasKey is Key() == key, made quick: it is most of what a look-up costs.
func (r *Record[T]) hasKey(key Key) bool {
	if own := r.ownMeta(); own != nil {
		return own.Key == key
	}
	m := any(r.obj).(metav1.Object)
	return m.GetName() == key.Name && m.GetNamespace() == key.Namespace
}

// is reports whether r is the state that meta means, for certain.
func (r *Record[T]) is(meta Meta) bool {
	if meta.Version == "" {
		return false
	}
	held := r.Meta()
	return meta.Version == held.Version && meta.UID == held.UID
}

func (r *Record[T]) refs() []ref[T] {
	if ext := r.ext.Load(); ext != nil {
		return ext.refs
	}
	return nil
}

// setRefs is for the record of the current state.
func (r *Record[T]) setRefs(refs []ref[T]) {
	switch ext := r.ext.Load(); {
	case ext != nil:
		ext.refs = refs
	case len(refs) > 0:
		r.ext.Store(&extra[T]{refs: refs})
	}
}

// newRecord makes a record for the state that follows on held, or is the first one.
func newRecord[T any](meta Meta, obj T, held *Record[T]) *Record[T] {
	r := &Record[T]{obj: obj}
	if held != nil {
		r.slot = held.slot
	}
	if !says(obj, meta) {
		own := meta // or else each meta would be on the heap
		r.ext.Store(&extra[T]{meta: &own})
	}
	return r
}

// succeed hands the extra of held, or what is in it, on to r.
func (r *Record[T]) succeed(held *Record[T]) {
	ext := held.ext.Load()
	switch {
	case ext == nil:
	case ext.meta == nil && r.ext.Load() == nil:
		r.ext.Store(ext)
	default:
		r.setRefs(ext.refs)
		ext.refs = nil
	}
}

// says reports whether meta is what the metadata of obj say.
func says[T any](obj T, meta Meta) bool {
	m, ok := any(obj).(metav1.Object)
	if !ok || check.IsNil(obj) {
		return false
	}
	return m.GetName() == meta.Key.Name && m.GetNamespace() == meta.Key.Namespace &&
		m.GetResourceVersion() == meta.Version && m.GetUID() == meta.UID
}
