// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "errors"

// UndeltaStore tells its complete state on each change: it is an [Indexer] for
// consumers that want to know everything, and not what changed.
//
// Push is called once for each change, with the state that it led to, in the order
// in which the changes were made, one call at a time, also if several goroutines
// write. It is called by the goroutine that made the change, which returns after
// that: so who writes waits for the pushes of those before. No lock is held: Push
// may read the store, but not write to it, which would wait for Push itself.
//
//   - What changes nothing is not pushed: to delete what is not there, a write that
//     fails or that is older than what there is, a Replace by what there is.
//   - Replace, and Write of several objects, is one change. So is a pass, once it
//     is complete: nothing is pushed within one, nor for one that breaks off, since
//     what it brought is followed by another pass. The first pass, or Replace, is
//     pushed even if it leaves nothing.
//
// A push costs the same whatever the number of objects, since a [Snapshot] does.
// [Snapshot.List] makes a slice of it, for who needs one.
//
// This is for consumers that need each state. For the newest one, as fast as the
// consumer can take it, range over [Store.Snapshots] of any store.
type UndeltaStore[T any] struct{ *Indexer[T] }

// NewUndeltaStore returns an empty UndeltaStore. It fails if push or key is nil.
func NewUndeltaStore[T any](push func(Snapshot[T]), key KeyFunc[T]) (*UndeltaStore[T], error) {
	if push == nil {
		return nil, errors.New("store.NewUndeltaStore: push is nil: give what is to be told, or use an Indexer")
	}
	x, err := NewIndexer(key, nil)
	if err != nil {
		return nil, err
	}
	x.onState = push
	return &UndeltaStore[T]{x}, nil
}
