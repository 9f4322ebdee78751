// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"math/bits"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// mark is the state of a key for a subscriber. For a key at rest, as most keys are, it is
// the whole state. For other keys it is the number of a slot.
type mark int32

const (
	unseen mark = 0  // nothing was emitted, or its Delete was acknowledged
	hidden mark = -1 // the same, and the filter rejects the current state
	shown  mark = -2 // the current state was emitted, and acknowledged
)

// slot is the state of a key that is not at rest, for a subscriber.
type slot[T runtime.Object] struct {
	seen  *store.Record[T] // of the last Upsert, until its Delete is acknowledged
	prev  int32            // neighbours in queue or issued
	next  int32
	since uint32 // when it was queued; with metrics, when it entered queue or issued
	flags flags
}

type flags uint8

const (
	isQueued     flags = 1 << iota // in queue
	isIssued                       // outstanding
	isDelayed                      // held back after an error
	mustRepeat                     // the last event failed: emit though nothing changed
	shownDeleted                   // a Delete of seen was emitted, and not acknowledged
	isHidden                       // the filter rejects the current state
	beforeSync                     // Sync must wait for a further event of the key
)

// slots are numbered from 1 and do not move. Blocks without a used slot are freed,
// except one. The zero value has no slot in use.
type slots[T runtime.Object] struct {
	blocks []*block[T] // nil: not in memory
	open   []int32     // the blocks that have a free slot; take uses the last one
	used   int
	spare  *block[T] // for the next that is needed
}

// block has one slot for each bit of free.
type block[T runtime.Object] struct {
	slots [blockSize]slot[T]
	free  uint64 // a bit for each
}

const blockSize = 64

// take returns a slot, which is zero.
func (s *slots[T]) take() (mark, *slot[T]) {
	if len(s.open) == 0 {
		s.open = append(s.open, int32(len(s.blocks)))
		s.blocks = append(s.blocks, nil)
	}
	last := len(s.open) - 1
	in := s.open[last]
	b := s.blocks[in]
	if b == nil {
		if b, s.spare = s.spare, nil; b == nil {
			b = &block[T]{free: ^uint64(0)}
		}
		s.blocks[in] = b
	}
	at := bits.TrailingZeros64(b.free)
	if b.free &^= 1 << at; b.free == 0 {
		s.open = s.open[:last]
	}
	s.used++
	return mark(int(in)*blockSize + at + 1), &b.slots[at]
}

// at returns the slot with this number. It must be in use.
func (s *slots[T]) at(m mark) *slot[T] {
	return &s.blocks[(m-1)/blockSize].slots[(m-1)%blockSize]
}

// give takes a slot back.
func (s *slots[T]) give(m mark) {
	in, at := (m-1)/blockSize, (m-1)%blockSize
	b := s.blocks[in]
	if b.free == 0 {
		s.open = append(s.open, int32(in))
	}
	b.slots[at] = slot[T]{}
	if b.free |= 1 << at; b.free == ^uint64(0) {
		s.spare, s.blocks[in] = b, nil
	}
	if s.used--; s.used > 0 {
		return
	}
	if s.blocks, s.open = s.blocks[:0], s.open[:0]; cap(s.blocks) > blockSize {
		s.blocks, s.open = nil, nil
	}
}
