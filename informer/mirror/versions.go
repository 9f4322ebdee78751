// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"iter"

	"github.com/apiary-go/apiary/store"
)

// ResourceVersionStorage records which state of each object was acknowledged: the
// key, the UID and the version, nothing else. [NewResourceVersionStorage] makes one
// in memory; an informer with more keys than memory may be given another one.
//
// Methods are called from several goroutines at once, but never at the same time
// for the same key, and Begin, Mark and Unmarked from one goroutine only. What they
// return is not modified. A storage belongs to one informer at a time.
//
// An error of Get, Set or Delete after a handler was called is treated as a failure
// of the key, and retried. Any other error breaks the pass or the watch off, which
// is then begun anew.
type ResourceVersionStorage interface {
	// Get returns what is recorded under key.
	Get(key store.Key) (held store.Meta, ok bool, err error)

	// Set records meta under its key in place of what was there. If pass is the
	// one that Begin returned last, the record is marked. Otherwise one that was
	// there keeps its mark, and a new one has none.
	Set(meta store.Meta, pass uint64) error

	// Delete forgets key. It does nothing if there is no such record.
	Delete(key store.Key) error

	// Begin starts a pass: no record is marked. It returns the number of the
	// pass, which is not zero and not that of an earlier one.
	Begin() (pass uint64, err error)

	// Mark marks what is recorded under the key of meta, and reports whether
	// that is exactly meta: the same version, which must not be empty, and the
	// same UID. It does nothing if there is no such record.
	Mark(meta store.Meta) (held bool, err error)

	// Marked reports whether there is a record under key, and it is marked.
	Marked(key store.Key) (bool, error)

	// Unmarked yields the records that are not marked, All all of them, in no
	// particular order. Other methods may be called meanwhile, by the loop as
	// well: what is recorded throughout is yielded once, and what is recorded or
	// forgotten meanwhile may be yielded or not. The sequence ends after an
	// error.
	Unmarked() iter.Seq2[store.Meta, error]
	All() iter.Seq2[store.Meta, error]

	// Len returns how many records there are.
	Len() int
}
