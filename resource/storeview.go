// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"iter"
	goruntime "runtime"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// storeView is the Store of a view.
type storeView[T runtime.Object] struct {
	view  view[T]
	lease *lease[T] // of WithStopUnused, else nil; all that reads the store refers to it
}

// List implements Store.
func (v storeView[T]) List() []T {
	if v.view.index != nil {
		return v.kept(v.view.index.List(v.view.value), v.view.keep)
	}
	return v.kept(v.view.store.List(), v.view.keep)
}

// All implements Store.
func (v storeView[T]) All() iter.Seq2[store.Key, T] {
	all, keep := v.view.store.All(), v.view.keep
	if v.view.index != nil {
		all = v.view.index.All(v.view.value)
	}
	if keep == nil && v.lease == nil {
		return all
	}
	return func(yield func(store.Key, T) bool) {
		defer goruntime.KeepAlive(v.lease)
		for key, obj := range all {
			if (keep == nil || keep(obj)) && !yield(key, obj) {
				return
			}
		}
	}
}

// IterKeys implements Store.
func (v storeView[T]) IterKeys() iter.Seq[store.Key] {
	return func(yield func(store.Key) bool) {
		for key := range v.All() {
			if !yield(key) {
				return
			}
		}
	}
}

// Get implements Store.
func (v storeView[T]) Get(obj T) (item T, exists bool, err error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return item, false, err
	}
	return v.GetByKey(store.MetaOf(accessor).Key)
}

// GetByKey implements Store.
func (v storeView[T]) GetByKey(key store.Key) (item T, exists bool, err error) {
	item, exists = v.view.store.Get(key)
	if has := v.view.has(); exists && has != nil && !has(item) {
		var none T
		return none, false, nil
	}
	return item, exists, nil
}

// IndexKeys implements Store.
func (v storeView[T]) IndexKeys(indexName, indexedValue string) ([]store.Key, error) {
	if v.view.has() == nil {
		return v.view.store.IndexKeys(indexName, indexedValue)
	}
	objs, err := v.ByIndex(indexName, indexedValue) // all of one state
	if err != nil {
		return nil, err
	}
	keys := make([]store.Key, len(objs))
	for i, obj := range objs {
		accessor, err := meta.Accessor(obj)
		if err != nil {
			return nil, err
		}
		keys[i] = store.MetaOf(accessor).Key
	}
	return keys, nil
}

// ByIndex implements Store.
func (v storeView[T]) ByIndex(indexName, indexedValue string) ([]T, error) {
	objs, err := v.view.store.ByIndex(indexName, indexedValue)
	return v.kept(objs, v.view.has()), err
}

// WaitFor implements Store.
func (v storeView[T]) WaitFor(ctx context.Context, version string) error {
	defer goruntime.KeepAlive(v.lease)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(v.view.hub.over, func() { cancel(context.Cause(v.view.hub.over)) })()
	return v.view.store.WaitFor(ctx, version)
}

// CacheStore implements Store.
func (v storeView[T]) CacheStore() cache.Store {
	return newCacheStore(v)
}

// kept removes from objs, which it owns, the objects that keep rejects. A nil keep rejects
// none.
func (v storeView[T]) kept(objs []T, keep func(T) bool) []T {
	if keep == nil {
		return objs
	}
	kept := objs[:0]
	for _, obj := range objs {
		if keep(obj) {
			kept = append(kept, obj)
		}
	}
	clear(objs[len(kept):])
	return kept
}
