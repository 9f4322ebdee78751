// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "errors"

// UndeltaStore is an [Indexer] that pushes its complete state on each change, for
// consumers that need every state. For only the newest state, range over
// [Store.Snapshots] of any store.
//
// It calls push once for each change, with the resulting state, in the order of the
// changes and one call at a time. The goroutine that made the change calls push, and
// waits for earlier pushes first. No lock is held. Push can read the store. It must not
// write to it, since the write would wait for push itself.
//
//   - A call without effect pushes nothing: deleting a missing object, a write that
//     fails or is older than the stored object, a Replace by the same objects.
//   - A Replace, a Write of several objects and a complete pass are one change each.
//     Nothing is pushed within a pass, nor for an aborted one, which another pass
//     follows. The first pass or Replace is pushed even if it leaves no objects.
//
// The cost of a push does not depend on the number of objects, see [Snapshot]. Use
// [Snapshot.List] for a slice.
type UndeltaStore[T any] struct{ *Indexer[T] }

// NewUndeltaStore returns an empty UndeltaStore. It fails if push or key is nil.
func NewUndeltaStore[T any](push func(Snapshot[T]), key KeyFunc[T]) (*UndeltaStore[T], error) {
	if push == nil {
		return nil, errors.New("store.NewUndeltaStore: push is nil: give a function that receives the states, or use an Indexer")
	}
	x, err := NewIndexer(key, nil)
	if err != nil {
		return nil, err
	}
	x.onState = push
	return &UndeltaStore[T]{x}, nil
}
