// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"math/bits"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// slot is the state of a key that is not at rest, for a subscriber. A key at rest has no
// slot: subscriber.shown has it if its current state was emitted and acknowledged.
type slot[T runtime.Object] struct {
	cur  *store.Record[T] // the current state in the view, before the filter; nil: there is none
	seen *store.Record[T] // of the last Upsert, until its Delete is acknowledged
	done *store.Record[T] // of the last acknowledged Upsert; only with WithOld

	id, number int32
	prev, next int32  // numbers of the neighbours in a list
	since      uint32 // when it was queued; with metrics, when it entered a lane or issued
	flags      flags
	lane       lane
}

type flags uint16

const (
	isQueued     flags = 1 << iota // in a lane
	isIssued                       // outstanding
	isDelayed                      // held back after an error
	mustRepeat                     // the last event failed: emit though nothing changed
	shownDeleted                   // a Delete of seen was emitted, and not acknowledged
	isHidden                       // the filter rejects the current state
	beforeSync                     // Sync must wait for an event of the key
	inPass                         // the last change was found by a pass
	isReplayed                     // queued by the replay
	holdsID                        // counts in node.refs
)

// slots finds the slots of keys. They are numbered from 1 and do not move. Blocks without
// a used slot are freed, except one. The zero value has no slot in use.
type slots[T runtime.Object] struct {
	byID   idMap // the numbers
	blocks []*block[T]
	free   []uint8   // of each block, a bit for each slot; all of a block that is not in memory
	open   []int32   // the blocks that have a free slot; take uses the last one
	spare  *block[T] // for the next that is needed
}

// block is small, since a subscriber that emits one event at a time needs no more.
type block[T runtime.Object] [blockSize]slot[T]

const (
	blockSize = 8
	allFree   = ^uint8(0)
)

// of returns the slot of a key, nil if the key is at rest.
func (s *slots[T]) of(id int32) *slot[T] {
	if number := s.byID.get(id); number != 0 {
		return s.at(number)
	}
	return nil
}

// take gives the key a slot, which is zero except for id and number.
func (s *slots[T]) take(id int32) *slot[T] {
	if len(s.open) == 0 {
		s.open = append(s.open, int32(len(s.blocks)))
		s.blocks = append(s.blocks, nil)
		s.free = append(s.free, allFree)
	}
	last := len(s.open) - 1
	in := s.open[last]
	if s.blocks[in] == nil {
		if s.blocks[in], s.spare = s.spare, nil; s.blocks[in] == nil {
			s.blocks[in] = new(block[T])
		}
	}
	at := bits.TrailingZeros8(s.free[in])
	if s.free[in] &^= 1 << at; s.free[in] == 0 {
		s.open = s.open[:last]
	}
	sl := &s.blocks[in][at]
	sl.id, sl.number = id, in*blockSize+int32(at)+1
	s.byID.put(id, sl.number)
	return sl
}

// at returns the slot with this number. It must be in use.
func (s *slots[T]) at(number int32) *slot[T] {
	n := uint32(number - 1)
	return &s.blocks[n/blockSize][n%blockSize]
}

// give takes the slot back.
func (s *slots[T]) give(sl *slot[T]) {
	in, at := (sl.number-1)/blockSize, (sl.number-1)%blockSize
	if s.free[in] == 0 {
		s.open = append(s.open, in)
	}
	s.byID.remove(sl.id)
	*sl = slot[T]{}
	if s.free[in] |= 1 << at; s.free[in] == allFree {
		s.spare, s.blocks[in] = s.blocks[in], nil
	}
	if s.byID.len > 0 {
		return
	}
	if s.blocks, s.free, s.open = s.blocks[:0], s.free[:0], s.open[:0]; cap(s.blocks) > blockSize {
		s.blocks, s.free, s.open = nil, nil, nil
	}
}

// trim frees what is kept for further slots.
func (s *slots[T]) trim() {
	if s.spare = nil; s.byID.len == 0 {
		*s = slots[T]{}
	}
}
