// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package cacheview presents a store as the store interfaces of client-go. Use it to run
// code that requires a cache.Indexer, such as client-go's listers, on a store of this
// library. [CacheIndexer] is a complete cache.Indexer. [CacheReader] has its read methods
// only.
//
//	pods, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{
//		cache.NamespaceIndex: store.MetaNamespaceIndexFunc[*corev1.Pod],
//	})
//	...
//	lister := listers.NewPodLister(cacheview.CacheIndexer(pods)) // k8s.io/client-go/listers/core/v1
//	list, err := lister.Pods("default").List(labels.Everything())
package cacheview

import (
	"errors"
	"fmt"
	"iter"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// Readable is the store that a [CacheReader] reads. [store.Store] implements it.
type Readable[T any] interface {
	Get(key store.Key) (obj T, ok bool)
	List() []T
	Keys() iter.Seq[store.Key]
	ByIndex(index, value string) ([]T, error)
	IndexKeys(index, value string) ([]store.Key, error)
	IndexValues(index string) ([]string, error)
	Indexers() store.Indexers[T]
	Version() string
}

// CacheReader has the read methods of a cache.Indexer. Embed it to add the write methods.
// All methods can be called from any goroutine.
//
// Keys are "namespace/name", or "name" if there is no namespace. An argument of another
// type than T is an error, and a cache.KeyError in methods that need its key. Returned
// objects are shared and must not be modified. The caller owns returned lists and maps.
type CacheReader[T any] struct {
	from Readable[T]
	key  store.KeyFunc[T]
}

// NewCacheReader returns a CacheReader of from. key must return the keys under which from
// stores its objects.
func NewCacheReader[T any](from Readable[T], key store.KeyFunc[T]) CacheReader[T] {
	return CacheReader[T]{from: from, key: key}
}

// List implements cache.Store.
func (r CacheReader[T]) List() []any { return untyped(r.from.List()) }

// ListKeys implements cache.Store.
func (r CacheReader[T]) ListKeys() []string {
	keys := []string{}
	for key := range r.from.Keys() {
		keys = append(keys, key.String())
	}
	return keys
}

// Get implements cache.Store. Like client-go's stores it also accepts a
// cache.ExplicitKey and a cache.DeletedFinalStateUnknown.
func (r CacheReader[T]) Get(obj any) (item any, exists bool, err error) {
	key, err := r.keyOf(obj)
	if err != nil {
		return nil, false, cache.KeyError{Obj: obj, Err: err}
	}
	return r.get(key)
}

// GetByKey implements cache.Store. For an invalid key it returns no object. The error is
// always nil.
func (r CacheReader[T]) GetByKey(key string) (item any, exists bool, err error) {
	parsed, _ := store.ParseKey(key) // or the zero Key, which no object has
	return r.get(parsed)
}

func (r CacheReader[T]) get(key store.Key) (item any, exists bool, err error) {
	if obj, ok := r.from.Get(key); ok {
		return obj, true, nil
	}
	return nil, false, nil
}

// LastStoreSyncResourceVersion implements cache.Store. It returns the version of the
// store: see [store.Store.Version].
func (r CacheReader[T]) LastStoreSyncResourceVersion() string { return r.from.Version() }

// Index implements cache.Indexer. For cache.NamespaceIndex it accepts any object with
// metadata, because client-go's listers pass one.
func (r CacheReader[T]) Index(indexName string, obj any) ([]any, error) {
	index, ok := r.from.Indexers()[indexName]
	if !ok {
		return nil, fmt.Errorf("index %q: %w: add it with AddIndexers", indexName, store.ErrNoIndex)
	}
	values, err := untypedIndexFunc(indexName, index)(obj)
	if err != nil {
		return nil, fmt.Errorf("index %q: %w", indexName, err)
	}
	if len(values) == 1 {
		return r.ByIndex(indexName, values[0])
	}
	list := []any{}
	seen := map[store.Key]struct{}{}
	for _, value := range values {
		objs, err := r.from.ByIndex(indexName, value)
		if err != nil {
			return nil, err
		}
		for _, obj := range objs {
			key, err := r.key(obj)
			if err != nil {
				return nil, cache.KeyError{Obj: obj, Err: err}
			}
			if _, again := seen[key]; !again {
				seen[key] = struct{}{}
				list = append(list, obj)
			}
		}
	}
	return list, nil
}

// ByIndex implements cache.Indexer.
func (r CacheReader[T]) ByIndex(indexName, indexedValue string) ([]any, error) {
	objs, err := r.from.ByIndex(indexName, indexedValue)
	if err != nil {
		return nil, err
	}
	return untyped(objs), nil
}

// IndexKeys implements cache.Indexer.
func (r CacheReader[T]) IndexKeys(indexName, indexedValue string) ([]string, error) {
	keys, err := r.from.IndexKeys(indexName, indexedValue)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = key.String()
	}
	return texts, nil
}

// ListIndexFuncValues implements cache.Indexer. It returns no values if the index does not
// exist.
func (r CacheReader[T]) ListIndexFuncValues(indexName string) []string {
	values, _ := r.from.IndexValues(indexName)
	return values
}

// GetIndexers implements cache.Indexer. The functions return an error for an object of
// another type than T.
func (r CacheReader[T]) GetIndexers() cache.Indexers {
	indexers := cache.Indexers{}
	for name, index := range r.from.Indexers() {
		indexers[name] = untypedIndexFunc(name, index)
	}
	return indexers
}

// keyOf returns the key of a T, a cache.ExplicitKey or a cache.DeletedFinalStateUnknown.
func (r CacheReader[T]) keyOf(obj any) (store.Key, error) {
	switch obj := obj.(type) {
	case T:
		return r.key(obj)
	case cache.ExplicitKey:
		key, _ := store.ParseKey(string(obj)) // or the zero Key, which no object has
		return key, nil
	case cache.DeletedFinalStateUnknown:
		if obj.Key != "" {
			return r.keyOf(cache.ExplicitKey(obj.Key))
		}
		if last, ok := obj.Obj.(T); ok {
			return r.key(last)
		}
		return store.Key{}, errors.New("the cache.DeletedFinalStateUnknown has neither a Key nor an Obj: set Key")
	}
	return store.Key{}, errType[T](obj)
}

// untypedIndexFunc converts an index function to one of client-go.
func untypedIndexFunc[T any](name string, index store.IndexFunc[T]) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		if typed, ok := obj.(T); ok {
			return index(nil, typed)
		}
		if name == cache.NamespaceIndex && obj != nil {
			return cache.MetaNamespaceIndexFunc(obj)
		}
		return nil, errType[T](obj)
	}
}

func errType[T any](obj any) error {
	return fmt.Errorf("the object is a %T, want %s", obj, check.TypeName[T]())
}

func untyped[T any](objs []T) []any {
	list := make([]any, len(objs))
	for i, obj := range objs {
		list[i] = obj
	}
	return list
}
