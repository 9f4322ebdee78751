// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cacheview

import (
	"context"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// CacheIndexer returns x as a cache.Indexer, for listers and reflectors of client-go and
// other code that requires a cache.Indexer or a cache.Store. All methods read and write
// x, and can be called from any goroutine. x must not be nil.
//
// It differs from cache.NewIndexer:
//
//   - An object that is older than the object in x is dropped, and counted in the Stats
//     of x; see [store.Indexer]. Replace accepts every object.
//   - An object of another type than T, or without a name, is refused with a
//     cache.KeyError. Nothing is then changed.
//   - Keys are the keys of x's KeyFunc, as text. Their parts must not contain a slash.
//   - If an index function fails or panics, the object is missing from that index, and
//     the failure is counted. A panic does not end the process.
//   - Additions, updates and bookmarks advance the version of the store. Only Replace can
//     set it back. Deletions do not change it.
//
// Delete and Get also accept a cache.ExplicitKey, and a cache.DeletedFinalStateUnknown,
// which is identified by its Key, or by its Obj if Key is empty.
func CacheIndexer[T any](x *store.Indexer[T]) cache.Indexer {
	return cacheIndexer[T]{CacheReader: NewCacheReader(x, x.KeyOf), to: x}
}

type cacheIndexer[T any] struct {
	CacheReader[T]
	to *store.Indexer[T]
}

// Add implements cache.Store.
func (c cacheIndexer[T]) Add(obj any) error { return c.Update(obj) }

// Update implements cache.Store.
func (c cacheIndexer[T]) Update(obj any) error {
	typed, ok := obj.(T)
	if !ok {
		return cache.KeyError{Obj: obj, Err: errType[T](obj)}
	}
	if err := c.to.Update(typed); err != nil { // the object has no key
		return cache.KeyError{Obj: obj, Err: err}
	}
	return nil
}

// Delete implements cache.Store.
func (c cacheIndexer[T]) Delete(obj any) error {
	key, err := c.keyOf(obj)
	if err != nil {
		return cache.KeyError{Obj: obj, Err: err}
	}
	if key.Name == "" { // the text is not a key
		return nil
	}
	_, err = c.to.Write(store.Write[T]{Meta: store.Meta{Key: key}, Delete: true})
	return err
}

// Replace implements cache.Store. Of several objects with the same key it stores the last.
func (c cacheIndexer[T]) Replace(list []any, version string) error {
	objs := make([]T, len(list))
	for i, obj := range list {
		typed, ok := obj.(T)
		if !ok {
			return cache.KeyError{Obj: obj, Err: errType[T](obj)}
		}
		if _, err := c.key(typed); err != nil {
			return cache.KeyError{Obj: obj, Err: err}
		}
		objs[i] = typed
	}
	_, err := c.to.Replace(objs, version)
	return err
}

// AddIndexers implements cache.Indexer. It returns an error, and adds none, if an index
// has no name or no function, or if its name is taken.
func (c cacheIndexer[T]) AddIndexers(indexers cache.Indexers) error {
	return c.to.AddIndexers(TypedIndexers[T](indexers))
}

// Bookmark implements cache.Store: there are no more changes up to version.
func (c cacheIndexer[T]) Bookmark(version string) {
	_ = c.to.Progress(context.Background(), version) // never returns an error
}

// Resync implements cache.Store. It does nothing.
func (c cacheIndexer[T]) Resync() error { return nil }

// TypedIndexers converts index functions of client-go to those of a [store.Store] of Ts.
// A nil function stays nil, and stores refuse it.
func TypedIndexers[T any](indexers cache.Indexers) store.Indexers[T] {
	typed := make(store.Indexers[T], len(indexers))
	for name, index := range indexers {
		typed[name] = nil
		if index != nil {
			typed[name] = func(_ []string, obj T) ([]string, error) { return index(obj) }
		}
	}
	return typed
}
