// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cacheview

import (
	"context"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// CacheIndexer returns x as client-go knows one, for code that wants a
// cache.Indexer or a cache.Store: listers and reflectors of client-go work with it.
// Reads and writes are those of x, from any goroutine.
//
// It differs from cache.NewIndexer in this:
//
//   - An object that is older than what x holds under its key is dropped, and
//     counted in the Stats of x; see [store.Indexer]. Replace takes every object as
//     it is.
//   - What is no T is refused with a cache.KeyError, as is an object without a name.
//     Then nothing is changed.
//   - Keys are those of the KeyFunc of x, as text. No part of one may have a slash.
//   - An index function that fails or panics leaves the object out of its index,
//     which is counted, and does not end the process.
//   - The version of the store goes on with what is added, updated and bookmarked,
//     and back only by Replace. A deletion does not tell one.
//
// Delete and Get take a cache.ExplicitKey as well, and a
// cache.DeletedFinalStateUnknown, whose Key counts; its Obj if it has none. x must not
// be nil.
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
	if err := c.to.Update(typed); err != nil { // it has no key
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
	if key.Name == "" { // a text that is no key
		return nil
	}
	_, err = c.to.Write(store.Write[T]{Meta: store.Meta{Key: key}, Delete: true})
	return err
}

// Replace implements cache.Store. Of several objects of one key the last counts.
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

// AddIndexers implements cache.Indexer. It fails, and adds none, if one has no name
// or no function, or if there is one of that name.
func (c cacheIndexer[T]) AddIndexers(indexers cache.Indexers) error {
	return c.to.AddIndexers(TypedIndexers[T](indexers))
}

// Bookmark implements cache.Store: there is nothing new up to version.
func (c cacheIndexer[T]) Bookmark(version string) {
	_ = c.to.Progress(context.Background(), version) // which never fails
}

// Resync implements cache.Store. There is nothing to do.
func (c cacheIndexer[T]) Resync() error { return nil }

// TypedIndexers returns index functions of client-go as those of a [store.Store]
// of Ts. One that is nil stays so: stores refuse it.
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
