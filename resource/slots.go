// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"math/bits"

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
	blocks []*block[T] // nil: free
	open   int         // those before are full
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
	for s.open < len(s.blocks) && s.blocks[s.open] != nil && s.blocks[s.open].free == 0 {
		s.open++
	}
	if s.open == len(s.blocks) {
		s.blocks = append(s.blocks, nil)
	}
	b := s.blocks[s.open]
	if b == nil {
		if b, s.spare = s.spare, nil; b == nil {
			b = &block[T]{free: ^uint64(0)}
		}
		s.blocks[s.open] = b
	}
	at := bits.TrailingZeros64(b.free)
	b.free &^= 1 << at
	return mark(s.open*blockSize + at + 1), &b.slots[at]
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
	s.open = min(s.open, in)
	if b.free != ^uint64(0) {
		return
	}
	s.spare, s.blocks[in] = b, nil
	last := len(s.blocks)
	for last > 0 && s.blocks[last-1] == nil {
		last--
	}
	if s.blocks = s.blocks[:last]; cap(s.blocks) > blockSize && last < cap(s.blocks)/4 {
		s.blocks = append([]*block[T](nil), s.blocks...)
	}
}
