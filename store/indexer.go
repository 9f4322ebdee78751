// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"
)

// Indexer is a [Store] that is written to by objects: for who has objects, but
// no source that tells their [Meta]. Any number of goroutines may write.
//
// The key of an object is what the [KeyFunc] says. Its UID and its version are
// those of its metadata, if it has any. An object that is older than what the
// Indexer holds under its key, by CompareVersions, is dropped, and counted in
// [Stats]; one of the same version is stored, as is one whose version cannot be
// compared. For a deletion nothing is compared: the key alone counts.
//
// To have it filled by a source give that the Store, which is a [Sink].
type Indexer[T any] struct {
	*Store[T]

	key KeyFunc[T]
}

// Indexers are index functions by the names of the indexes.
type Indexers[T any] = map[string]IndexFunc[T]

// NewIndexer returns an empty Indexer. It fails if key is nil, or if an index has
// no name or no function.
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

// Add stores obj. It is the same as Update. It fails, as all methods of an
// Indexer that take an object, if obj has no key; then nothing is changed.
func (x *Indexer[T]) Add(obj T) error { return x.Update(obj) }

// Update stores obj, whether there was one of its key or not.
func (x *Indexer[T]) Update(obj T) error {
	key, err := x.KeyOf(obj)
	if err != nil {
		return err
	}
	x.put(MetaWith(key, obj), obj, false)
	return nil
}

// Delete removes the object that has the key of obj, if there is one.
func (x *Indexer[T]) Delete(obj T) error {
	key, err := x.KeyOf(obj)
	if err != nil {
		return err
	}
	_, err = x.Write(Write[T]{Meta: Meta{Key: key}, Delete: true})
	return err
}

// Replace makes objs all that there is, at version, and returns what changed by
// it; see [Store.Replace]. If one of objs has no key it fails, and nothing is
// changed. The version may be empty.
func (x *Indexer[T]) Replace(objs []T, version string) (Difference[T], error) {
	all := make([]arrival[T], len(objs))
	for i, obj := range objs {
		key, err := x.KeyOf(obj)
		if err != nil {
			return Difference[T]{}, fmt.Errorf("object %d of %d: %w", i+1, len(objs), err)
		}
		all[i] = arrival[T]{meta: MetaWith(key, obj), obj: obj}
	}
	return x.replaceBy(version, all), nil
}

// KeyOf returns the key of obj, as the Indexer sees it.
func (x *Indexer[T]) KeyOf(obj T) (Key, error) {
	key, err := x.key.Of(obj)
	if err != nil {
		return key, fmt.Errorf("store %s: %w", x.name, err)
	}
	return key, nil
}

// Index returns the objects that the index has under any of the values that it
// would have obj under, which need not be stored. Each is in the result once. The
// error wraps [ErrNoIndex] if there is no such index, and is an [IndexError] if
// the index function fails.
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
