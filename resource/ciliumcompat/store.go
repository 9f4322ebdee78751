// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package ciliumcompat

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/resource"
)

// Store is a read-only view of the objects of a resource. The contract is that of
// [resource.Store].
type Store[T runtime.Object] interface {
	// List returns all objects, in no particular order.
	List() []T

	// IterKeys returns an iterator over the keys that there are at the call.
	IterKeys() KeyIter

	// Get returns the present version of the object that has the key of obj.
	Get(obj T) (item T, exists bool, err error)

	// GetByKey returns the present version of the object with that key.
	GetByKey(key Key) (item T, exists bool, err error)

	// IndexKeys returns the keys of the objects for which the named index has that value,
	// as "namespace/name".
	IndexKeys(indexName, indexedValue string) ([]string, error)

	// ByIndex returns these objects themselves.
	ByIndex(indexName, indexedValue string) ([]T, error)

	// CacheStore returns a read-only cache.Indexer of the store.
	CacheStore() cache.Store
}

// KeyIter iterates over keys.
type KeyIter interface {
	// Next moves to the next key, the first one at the first call. It reports whether there
	// is one.
	Next() bool

	// Key returns the key that Next has moved to.
	Key() Key
}

type wrappedStore[T runtime.Object] struct{ resource.Store[T] }

// IterKeys implements Store.
func (s wrappedStore[T]) IterKeys() KeyIter {
	return &keyIter{keys: slices.Collect(s.Store.IterKeys()), at: -1}
}

// IndexKeys implements Store.
func (s wrappedStore[T]) IndexKeys(indexName, indexedValue string) ([]string, error) {
	keys, err := s.Store.IndexKeys(indexName, indexedValue)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.String()
	}
	return names, nil
}

type keyIter struct {
	keys []Key
	at   int
}

func (it *keyIter) Next() bool { it.at++; return it.at < len(it.keys) }

func (it *keyIter) Key() Key { return it.keys[it.at] }
