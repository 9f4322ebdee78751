// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"

	"github.com/apiary-go/apiary/store"
)

// emptyPages is how many pages in a row can be empty. A server that filters pages sends some.
const emptyPages = 1000

var (
	errRepeats    = errors.New("a page of the list begins with this object for the second time: the list would never end")
	errEmptyPages = errors.New("a thousand pages of the list in a row are empty: the list would never end")
)

// repeats finds a sequence of keys that repeats itself, with one key of memory (Brent's
// algorithm): within three rounds. It compares each key with one before it, and replaces that
// after twice as many keys.
type repeats struct {
	key   store.Key
	n     int // keys since
	limit int // key is replaced after so many keys
}

// add reports whether key was there before, as far as is known.
func (r *repeats) add(key store.Key) bool {
	if r.limit > 0 && key == r.key {
		return true
	}
	if r.n++; r.n > r.limit {
		r.key, r.n, r.limit = key, 0, max(1, 2*r.limit)
	}
	return false
}
