// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"

	"github.com/apiary-go/apiary/store"
)

// emptyPages is how many pages in a row can be empty and name a further one. A server
// that filters pages sends some.
const emptyPages = 1000

var (
	errRepeats    = errors.New("a page of the list begins with this object for the second time: the list would never end")
	errEmptyPages = errors.New("a thousand pages of the list in a row are empty: the list would never end")
)

// repeats finds that a sequence of keys repeats itself, with one key of memory. It
// compares each key with one before it, and takes a newer one after twice as many
// (Brent's algorithm): a sequence that goes round is found within three rounds.
type repeats struct {
	key   store.Key
	n     int // keys since
	limit int // after so many key is replaced
}

// add reports whether key is known to have been there before.
func (r *repeats) add(key store.Key) bool {
	if r.limit > 0 && key == r.key {
		return true
	}
	if r.n++; r.n > r.limit {
		r.key, r.n, r.limit = key, 0, max(1, 2*r.limit)
	}
	return false
}
