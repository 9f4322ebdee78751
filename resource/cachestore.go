// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"iter"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/cacheview"
)

// cacheStore is a Store as a cache.Indexer of client-go.
type cacheStore[T runtime.Object] struct{ cacheview.CacheReader[T] }

func newCacheStore[T runtime.Object](view storeView[T]) cache.Indexer {
	return cacheStore[T]{cacheview.NewCacheReader(readable[T]{view}, store.MetaNamespaceKeyFunc[T])}
}

// The writing methods of cache.Indexer fail.

func (cacheStore[T]) Add(any) error                    { return ErrReadOnly }
func (cacheStore[T]) Update(any) error                 { return ErrReadOnly }
func (cacheStore[T]) Delete(any) error                 { return ErrReadOnly }
func (cacheStore[T]) Replace([]any, string) error      { return ErrReadOnly }
func (cacheStore[T]) AddIndexers(cache.Indexers) error { return ErrReadOnly }

// Bookmark implements cache.Store. It does nothing, since only the informer sets the
// version.
func (cacheStore[T]) Bookmark(string) {}

// Resync implements cache.Store. It does nothing.
func (cacheStore[T]) Resync() error { return nil }

// readable adapts a storeView to a cacheview.CacheReader.
type readable[T runtime.Object] struct{ storeView[T] }

func (r readable[T]) Get(key store.Key) (T, bool) {
	obj, exists, _ := r.GetByKey(key)
	return obj, exists
}

func (r readable[T]) Keys() iter.Seq[store.Key] { return r.IterKeys() }

// IndexValues returns the values of all objects, including those that the filter rejects.
func (r readable[T]) IndexValues(index string) ([]string, error) {
	return r.view.store.IndexValues(index)
}

func (r readable[T]) Indexers() store.Indexers[T] { return r.view.store.Indexers() }

func (r readable[T]) Version() string { return r.view.store.Version() }
