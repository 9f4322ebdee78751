// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"math/bits"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// mark is what a subscriber remembers of a key: all of it while the key is at rest,
// which most are at most times; else the number of a slot.
type mark int32

const (
	unseen mark = 0  // nothing was emitted, or its Delete was acknowledged
	hidden mark = -1 // the same, as the filter does not keep the current state
	shown  mark = -2 // the current state was emitted, and acknowledged
)

// slot is what a subscriber remembers of a key that is not at rest.
type slot[T runtime.Object] struct {
	seen  *store.Record[T] // of the last Upsert, until its Delete is acknowledged
	prev  int32            // neighbours in queue or issued
	next  int32
	since uint32 // when it was put in queue; if there are metrics, where it is now
	flags flags
}

type flags uint8

const (
	isQueued     flags = 1 << iota // in queue
	isIssued                       // outstanding
	isDelayed                      // held back after an error
	mustRepeat                     // the last event failed: emit though nothing changed
	shownDeleted                   // a Delete of seen was emitted, and not acknowledged
	isHidden                       // the filter does not keep the current state
	isOwed                         // changed before Sync, but outstanding then
)

// slots are numbered from 1, the lowest free number first. They do not move, and the
// memory of many goes when few are in use. The zero value has none in use.
type slots[T runtime.Object] struct {
	blocks []*block[T] // nil: free, the last one is not
	vacant []uint64    // a bit for each block that has a free slot
	from   int         // of vacant, what is before is zero
	spare  *block[T]   // for the next that is needed
}

// block is as many slots as free has bits.
type block[T runtime.Object] struct {
	slots [blockSize]slot[T]
	free  uint64 // a bit for each
}

const blockSize = 64

// take returns a slot, which is zero.
func (s *slots[T]) take() (mark, *slot[T]) {
	for s.from < len(s.vacant) && s.vacant[s.from] == 0 {
		s.from++
	}
	in := len(s.blocks)
	if s.from < len(s.vacant) {
		in = s.from*64 + bits.TrailingZeros64(s.vacant[s.from])
	} else {
		s.blocks = append(s.blocks, nil)
		if s.from = in / 64; s.from == len(s.vacant) {
			s.vacant = append(s.vacant, 0)
		}
		s.vacant[s.from] |= 1 << (in % 64)
	}
	b := s.blocks[in]
	if b == nil {
		if b, s.spare = s.spare, nil; b == nil {
			b = &block[T]{free: ^uint64(0)}
		}
		s.blocks[in] = b
	}
	at := bits.TrailingZeros64(b.free)
	if b.free &^= 1 << at; b.free == 0 {
		s.vacant[s.from] &^= 1 << (in % 64)
	}
	return mark(in*blockSize + at + 1), &b.slots[at]
}

// at is the slot of that number. It must be in use.
func (s *slots[T]) at(m mark) *slot[T] {
	return &s.blocks[(m-1)/blockSize].slots[(m-1)%blockSize]
}

// give takes a slot back.
func (s *slots[T]) give(m mark) {
	in, at := int(m-1)/blockSize, (m-1)%blockSize
	b := s.blocks[in]
	b.slots[at] = slot[T]{}
	b.free |= 1 << at
	s.vacant[in/64] |= 1 << (in % 64)
	s.from = min(s.from, in/64)
	if b.free == ^uint64(0) {
		s.spare, s.blocks[in] = b, nil
		s.trim()
	}
}

// trim lets go of blocks at the end that are free.
func (s *slots[T]) trim() {
	last := len(s.blocks)
	for last > 0 && s.blocks[last-1] == nil {
		last--
		s.vacant[last/64] &^= 1 << (last % 64)
	}
	s.blocks, s.vacant = s.blocks[:last], s.vacant[:(last+63)/64]
	if cap(s.blocks) > blockSize && last < cap(s.blocks)/4 {
		s.blocks, s.vacant = slices.Clone(s.blocks), slices.Clone(s.vacant)
	}
}
