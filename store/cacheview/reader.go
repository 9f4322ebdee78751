// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package cacheview shows a store of ours as client-go knows stores: [CacheIndexer] is a
// cache.Indexer on which client-go's listers and informers work, [CacheReader] the part
// of it that reads.
package cacheview

import (
	"errors"
	"fmt"
	"iter"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// Readable is what a [CacheReader] reads. A [store.Store] is one.
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

// CacheReader has the methods of a cache.Indexer that read, which may be called
// from any goroutine. Embed it to add those that write.
//
// Keys are "namespace/name", or "name" where there is no namespace. What is asked
// with an object of another type than T is an error: a cache.KeyError of methods
// that want the key of it. The objects are shared and must not be modified; lists
// and maps are the caller's.
type CacheReader[T any] struct {
	from Readable[T]
	key  store.KeyFunc[T]
}

// NewCacheReader returns a CacheReader of from. It tells the keys of objects by
// key, which has to tell those under which from has them.
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

// Get implements cache.Store. Like client-go's stores it takes a
// cache.ExplicitKey and a cache.DeletedFinalStateUnknown as well.
func (r CacheReader[T]) Get(obj any) (item any, exists bool, err error) {
	key, err := r.keyOf(obj)
	if err != nil {
		return nil, false, cache.KeyError{Obj: obj, Err: err}
	}
	return r.get(key)
}

// GetByKey implements cache.Store. A key that could not be one is not there. The
// error is always nil.
func (r CacheReader[T]) GetByKey(key string) (item any, exists bool, err error) {
	parsed, _ := store.ParseKey(key) // else the zero Key, which names nothing
	return r.get(parsed)
}

func (r CacheReader[T]) get(key store.Key) (item any, exists bool, err error) {
	if obj, ok := r.from.Get(key); ok {
		return obj, true, nil
	}
	return nil, false, nil
}

// LastStoreSyncResourceVersion implements cache.Store: it is the version that the
// store is at, see [store.Store.Version].
func (r CacheReader[T]) LastStoreSyncResourceVersion() string { return r.from.Version() }

// Index implements cache.Indexer. Under cache.NamespaceIndex it takes whatever has
// object metadata, as listers of client-go give it.
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

// ListIndexFuncValues implements cache.Indexer. Of an index that is not there it
// returns nothing, for want of an error.
func (r CacheReader[T]) ListIndexFuncValues(indexName string) []string {
	values, _ := r.from.IndexValues(indexName)
	return values
}

// GetIndexers implements cache.Indexer. The functions fail for what is no T.
func (r CacheReader[T]) GetIndexers() cache.Indexers {
	indexers := cache.Indexers{}
	for name, index := range r.from.Indexers() {
		indexers[name] = untypedIndexFunc(name, index)
	}
	return indexers
}

// keyOf returns the key of an object, or of what stands for one.
func (r CacheReader[T]) keyOf(obj any) (store.Key, error) {
	switch obj := obj.(type) {
	case T:
		return r.key(obj)
	case cache.ExplicitKey:
		key, _ := store.ParseKey(string(obj)) // else one that names nothing
		return key, nil
	case cache.DeletedFinalStateUnknown:
		if obj.Key != "" {
			return r.keyOf(cache.ExplicitKey(obj.Key))
		}
		if last, ok := obj.Obj.(T); ok {
			return r.key(last)
		}
		return store.Key{}, errors.New("the cache.DeletedFinalStateUnknown has neither a key nor a last state: set Key")
	}
	return store.Key{}, errType[T](obj)
}

// untypedIndexFunc returns the function of an index as client-go knows it.
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
	return fmt.Errorf("a %T was given, want %s", obj, check.TypeName[T]())
}

func untyped[T any](objs []T) []any {
	list := make([]any, len(objs))
	for i, obj := range objs {
		list[i] = obj
	}
	return list
}
