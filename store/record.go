// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/internal/check"
)

// Record is one state of an object in a store. It does not change and can be kept. While
// the state is current, this costs no memory.
//
// If the metadata of the object are equal to its [Meta], the Meta is not stored. This is
// another reason not to modify objects: the store cannot find an object with a changed
// name.
type Record[T any] struct {
	obj  T
	ext  atomic.Pointer[extra[T]] // nil if it would be empty
	slot uint32                   // position in Store.records; only for writers

	// tag is the tag of OnChange, see [Change.SetTag]. Without OnChange it is the epoch of
	// obj.
	tag uint32
}

// extra has the optional fields of a record. Records of one key can share it.
type extra[T any] struct {
	// meta is the meta of the record, if it differs from the metadata of the object.
	meta *Meta

	// refs are the places of the record in the indexes, in the order of terms. Only
	// writers use them, and only in the record of the current state.
	refs []ref[T]
}

// ownMeta returns the meta of the record if it differs from the metadata of the object,
// else nil.
func (r *Record[T]) ownMeta() *Meta {
	if ext := r.ext.Load(); ext != nil {
		return ext.meta
	}
	return nil
}

// Meta returns the meta of the state.
func (r *Record[T]) Meta() Meta {
	if own := r.ownMeta(); own != nil {
		return *own
	}
	return MetaOf(any(r.obj).(metav1.Object))
}

// Object returns the object. It is shared and must not be modified.
func (r *Record[T]) Object() T { return r.obj }

// Tag returns the number of [Change.SetTag]. Of a state that OnChange has not got yet, it
// is zero or that of the key's previous state. Without OnChange it has no meaning.
func (r *Record[T]) Tag() uint32 { return atomic.LoadUint32(&r.tag) }

// setTag is for the writer that has the change. Others read the tag meanwhile.
func (r *Record[T]) setTag(tag uint32) { atomic.StoreUint32(&r.tag, tag) }

// Key returns the key of the object.
func (r *Record[T]) Key() Key {
	if own := r.ownMeta(); own != nil {
		return own.Key
	}
	return keyOf(any(r.obj).(metav1.Object))
}

// SameObject is [Meta.SameObject] for two records with the same key.
func (r *Record[T]) SameObject(other *Record[T]) bool {
	return sameUID(r.uid(), other.uid())
}

func (r *Record[T]) uid() types.UID {
	if own := r.ownMeta(); own != nil {
		return own.UID
	}
	return any(r.obj).(metav1.Object).GetUID()
}

// hasKey is a fast Key() == key. It is most of the cost of a lookup.
func (r *Record[T]) hasKey(key Key) bool {
	if own := r.ownMeta(); own != nil {
		return own.Key == key
	}
	m := any(r.obj).(metav1.Object)
	return m.GetName() == key.Name && m.GetNamespace() == key.Namespace
}

// is returns true if r certainly is the state with this meta.
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

// setRefs sets the refs. r must be the record of the current state.
func (r *Record[T]) setRefs(refs []ref[T]) {
	switch ext := r.ext.Load(); {
	case ext != nil:
		ext.refs = refs
	case len(refs) > 0:
		r.ext.Store(&extra[T]{refs: refs})
	}
}

// newRecord makes a record for the state after held, or for the first state if held is nil.
func newRecord[T any](meta Meta, obj T, held *Record[T]) *Record[T] {
	r := &Record[T]{obj: obj}
	if held != nil {
		r.slot = held.slot
	}
	if !hasMeta(obj, meta) {
		own := meta // a copy, so that only this meta is on the heap
		r.ext.Store(&extra[T]{meta: &own})
	}
	return r
}

// succeed moves the extra of held, or its refs, to r.
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

// hasMeta returns true if the metadata of obj are equal to meta.
func hasMeta[T any](obj T, meta Meta) bool {
	m, ok := any(obj).(metav1.Object)
	if !ok || check.IsNil(obj) {
		return false
	}
	return m.GetName() == meta.Key.Name && m.GetNamespace() == meta.Key.Namespace &&
		m.GetResourceVersion() == meta.Version && m.GetUID() == meta.UID
}
