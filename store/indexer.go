// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"
)

// Indexer is a [Store] that is written to with objects, for programs that have objects but
// no source with their [Meta]. Any number of goroutines can write.
//
// The [KeyFunc] returns the key of an object. Its UID and version are those of its
// metadata, if it has any. An object that is older than the stored one by
// [CompareVersions] is dropped and counted in [Stats]. An object with the same version, or
// with one that cannot be compared, is stored. A deletion compares only the key.
//
// A source can fill the Store of an Indexer, which is a [Sink].
type Indexer[T any] struct {
	*Store[T]

	key KeyFunc[T]
}

// Indexers are index functions by the names of the indexes.
type Indexers[T any] = map[string]IndexFunc[T]

// NewIndexer returns an empty Indexer. It fails if key is nil, or if an index has no name
// or no function.
func NewIndexer[T any](key KeyFunc[T], indexers Indexers[T]) (*Indexer[T], error) {
	if key == nil {
		return nil, errors.New("store.NewIndexer: KeyFunc is nil: give one, such as MetaNamespaceKeyFunc")
	}
	s, err := New(Config[T]{Indexers: indexers})
	if err != nil {
		return nil, err
	}
	return &Indexer[T]{Store: s, key: key}, nil
}

// Add is the same as Update.
func (x *Indexer[T]) Add(obj T) error { return x.Update(obj) }

// Update stores obj, whether its key is new or not. Like all methods of an Indexer that
// take an object, it fails if obj has no key, and then changes nothing.
func (x *Indexer[T]) Update(obj T) error {
	key, err := x.KeyOf(obj)
	if err != nil {
		return err
	}
	return x.put(nil, MetaWith(key, obj), obj)
}

// Delete removes the object with the key of obj, if there is one.
func (x *Indexer[T]) Delete(obj T) error {
	key, err := x.KeyOf(obj)
	if err != nil {
		return err
	}
	_, err = x.Write(Write[T]{Meta: Meta{Key: key}, Delete: true})
	return err
}

// Replace makes objs the whole content of the store, at version, and returns the changes;
// see [Store.Replace]. The version can be empty. If one of objs has no key, Replace fails
// and changes nothing.
func (x *Indexer[T]) Replace(objs []T, version string) (Difference[T], error) {
	all := make([]arrival[T], len(objs))
	for i, obj := range objs {
		key, err := x.KeyOf(obj)
		if err != nil {
			return Difference[T]{}, fmt.Errorf("object %d of %d: %w", i+1, len(objs), err)
		}
		all[i] = arrival[T]{meta: MetaWith(key, obj), obj: obj}
	}
	return x.replaceBy(version, all)
}

// KeyOf returns the key of obj, from the [KeyFunc].
func (x *Indexer[T]) KeyOf(obj T) (Key, error) {
	key, err := x.key.Of(obj)
	if err != nil {
		return key, fmt.Errorf("store %s: %w", x.name, err)
	}
	return key, nil
}

// Index returns the objects that share a value of obj in the index, each once. obj itself
// need not be stored. If there is no such index, the error wraps [ErrNoIndex]. If the
// index function fails, the error is an [IndexError].
func (x *Indexer[T]) Index(index string, obj T) ([]T, error) {
	ix, err := x.Store.Index(index)
	if err != nil {
		return nil, err
	}
	key, err := x.KeyOf(obj)
	if err != nil {
		return nil, err
	}
	var ts terms[T]
	ts.appendOf(x.name, ix.index, MetaWith(key, obj), obj)
	if len(ts.errs) > 0 {
		return nil, ts.errs[0]
	}
	values := make([]string, len(ts.all))
	for i, t := range ts.all {
		values[i] = t.text
	}
	return distinct(x.narrowest([]lookup{{index, values}}), nil), nil
}
