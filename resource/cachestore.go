// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// cacheStore is a Store as client-go knows it.
type cacheStore[T runtime.Object] struct{ view storeView[T] }

var _ cache.Indexer = cacheStore[runtime.Object]{}

// List implements cache.Store.
func (c cacheStore[T]) List() []any { return untyped(c.view.List()) }

// ListKeys implements cache.Store.
func (c cacheStore[T]) ListKeys() []string {
	keys := make([]string, 0, c.view.store.Len())
	for key := range c.view.IterKeys() {
		keys = append(keys, key.String())
	}
	return keys
}

// Get implements cache.Store. Like client-go's stores it takes a
// cache.ExplicitKey and a cache.DeletedFinalStateUnknown as well.
func (c cacheStore[T]) Get(obj any) (item any, exists bool, err error) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err != nil {
		return nil, false, cache.KeyError{Obj: obj, Err: err}
	}
	return c.GetByKey(key)
}

// GetByKey implements cache.Store. A key that could not be one is not there.
func (c cacheStore[T]) GetByKey(key string) (item any, exists bool, err error) {
	parsed, err := store.ParseKey(key)
	if err != nil {
		return nil, false, nil
	}
	obj, exists, err := c.view.GetByKey(parsed)
	if !exists || err != nil {
		return nil, false, err
	}
	return obj, true, nil
}

// LastStoreSyncResourceVersion implements cache.Store.
func (c cacheStore[T]) LastStoreSyncResourceVersion() string { return c.view.store.Version() }

// Index implements cache.Indexer.
func (c cacheStore[T]) Index(indexName string, obj any) ([]any, error) {
	typed, ok := obj.(T)
	if !ok {
		return nil, fmt.Errorf("index %q: %T is not a %T", indexName, obj, typed)
	}
	index, ok := c.view.indexers[indexName]
	if !ok {
		return nil, fmt.Errorf("index %q: %w", indexName, store.ErrNoIndex)
	}
	values, err := index(typed)
	if err != nil {
		return nil, fmt.Errorf("index %q: %w", indexName, err)
	}
	found := map[any]struct{}{}
	list := []any{}
	for _, value := range values {
		objs, err := c.view.ByIndex(indexName, value)
		if err != nil {
			return nil, err
		}
		for _, obj := range objs {
			if _, dup := found[obj]; !dup {
				found[obj] = struct{}{}
				list = append(list, obj)
			}
		}
	}
	return list, nil
}

// ByIndex implements cache.Indexer.
func (c cacheStore[T]) ByIndex(indexName, indexedValue string) ([]any, error) {
	objs, err := c.view.ByIndex(indexName, indexedValue)
	return untyped(objs), err
}

// IndexKeys implements cache.Indexer.
func (c cacheStore[T]) IndexKeys(indexName, indexedValue string) ([]string, error) {
	keys, err := c.view.IndexKeys(indexName, indexedValue)
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = key.String()
	}
	return texts, err
}

// ListIndexFuncValues implements cache.Indexer. The values are those of all
// objects, whatever a filter keeps.
func (c cacheStore[T]) ListIndexFuncValues(indexName string) []string {
	values, _ := c.view.store.IndexValues(indexName)
	return values
}

// GetIndexers implements cache.Indexer.
func (c cacheStore[T]) GetIndexers() cache.Indexers {
	indexers := cache.Indexers{}
	for name, index := range c.view.indexers {
		indexers[name] = index
	}
	return indexers
}

// The writing methods of cache.Indexer fail.

func (cacheStore[T]) Add(any) error                    { return ErrReadOnly }
func (cacheStore[T]) Update(any) error                 { return ErrReadOnly }
func (cacheStore[T]) Delete(any) error                 { return ErrReadOnly }
func (cacheStore[T]) Replace([]any, string) error      { return ErrReadOnly }
func (cacheStore[T]) AddIndexers(cache.Indexers) error { return ErrReadOnly }

// Bookmark implements cache.Store. The version is the informer's to tell, so it
// does nothing.
func (cacheStore[T]) Bookmark(string) {}

// Resync implements cache.Store. There is nothing to do.
func (cacheStore[T]) Resync() error { return nil }

func untyped[T any](objs []T) []any {
	list := make([]any, len(objs))
	for i, obj := range objs {
		list[i] = obj
	}
	return list
}
