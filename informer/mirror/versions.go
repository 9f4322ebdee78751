// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"iter"

	"github.com/apiary-go/apiary/store"
)

// ResourceVersionStorage records the key, UID and version of each object that was
// acknowledged. [NewResourceVersionStorage] returns one in memory. Implement another one
// if the keys do not fit in memory.
//
// Methods are called from several goroutines at once, but not at the same time for the
// same key. Begin, Mark and Unmarked are called from one goroutine. The informer does not
// modify results. A storage belongs to one informer at a time.
//
// An error of Get, Set or Delete during the delivery of a key is a failure of the key,
// which is retried. Any other error ends the pass or the watch, which is then repeated.
type ResourceVersionStorage interface {
	// Get returns the record of key.
	Get(key store.Key) (held store.Meta, ok bool, err error)

	// Set records meta under its key and replaces an earlier record. If pass is the
	// number that Begin returned last, the record is marked. Otherwise an earlier record
	// keeps its mark, and a new record has none.
	Set(meta store.Meta, pass uint64) error

	// Delete deletes the record of key, if there is one.
	Delete(key store.Key) error

	// Begin starts a pass: it removes all marks. It returns the number of the pass,
	// which must not be zero or that of an earlier pass.
	Begin() (pass uint64, err error)

	// Mark marks the record under the key of meta, if there is one. It reports whether
	// the record equals meta: the same UID, and the same version, which must not be
	// empty.
	Mark(meta store.Meta) (held bool, err error)

	// Marked reports whether there is a record of key and it is marked.
	Marked(key store.Key) (bool, error)

	// Unmarked yields the records without a mark, and All yields all records, in no
	// particular order. Other methods can be called during the loop, also by the loop.
	// A record that stays is yielded once. A record that is added or deleted during the
	// loop can be yielded or not. The sequence ends after an error.
	Unmarked() iter.Seq2[store.Meta, error]
	All() iter.Seq2[store.Meta, error]

	// Len returns the number of records.
	Len() int
}
