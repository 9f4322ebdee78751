// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import "math/bits"

// idMap maps ids to positive numbers. It is a hash table with linear probing, for a third
// of the time of a map. The zero value is empty.
type idMap struct {
	entries []entry // a power of two of them, at least a quarter of which are free
	len     int
}

type entry struct{ id, number int32 } // number 0: free

// home returns the index at which the search for id begins.
func (m *idMap) home(id int32) int {
	const golden = 0x9E3779B9 // spreads consecutive ids
	return int(uint64(uint32(id)*golden) * uint64(len(m.entries)) >> 32)
}

// get returns the number of id, 0 if there is none.
func (m *idMap) get(id int32) int32 {
	if m.len == 0 {
		return 0
	}
	for i := m.home(id); ; i = (i + 1) & (len(m.entries) - 1) {
		if e := m.entries[i]; e.number == 0 || e.id == id {
			return e.number
		}
	}
}

// put adds id, which must not be in the map.
func (m *idMap) put(id, number int32) {
	if 4*(m.len+1) > 3*len(m.entries) {
		m.resize(max(8, 2*len(m.entries)))
	}
	m.len++
	i := m.home(id)
	for m.entries[i].number != 0 {
		i = (i + 1) & (len(m.entries) - 1)
	}
	m.entries[i] = entry{id, number}
}

func (m *idMap) resize(size int) {
	old := m.entries
	m.entries, m.len = make([]entry, size), 0
	for _, e := range old {
		if e.number != 0 {
			m.put(e.id, e.number)
		}
	}
}

// remove removes id. It moves entries back that were pushed on by others, so that a search
// can end at a free entry.
func (m *idMap) remove(id int32) {
	mask := len(m.entries) - 1
	if m.len == 0 {
		return
	}
	i := m.home(id)
	for ; m.entries[i].id != id || m.entries[i].number == 0; i = (i + 1) & mask {
		if m.entries[i].number == 0 {
			return
		}
	}
	m.len--
	for j := (i + 1) & mask; m.entries[j].number != 0; j = (j + 1) & mask {
		// The entry at j can move to i unless its home is between them.
		if (j-m.home(m.entries[j].id))&mask >= (j-i)&mask {
			m.entries[i] = m.entries[j]
			i = j
		}
	}
	m.entries[i] = entry{}
	if size := len(m.entries); size > 64 && 8*m.len < size {
		m.resize(1 << bits.Len(uint(2*m.len+8)))
	}
}

// idSet is a set of ids. A set of few is a map. A set of many of the ids that exist has a
// bit for each of them. The zero value is empty.
type idSet struct {
	few  idMap
	bits []uint64
}

func (s *idSet) has(id int32) bool {
	if at := int(id / 64); at < len(s.bits) {
		return s.bits[at]&(1<<(id%64)) != 0
	}
	return s.few.get(id) != 0
}

// add adds id, which is one of ids numbers and must not be in the set. Bits for all of them
// are at most 8 bytes for each that is in the set.
func (s *idSet) add(id int32, ids int) {
	if s.bits == nil && 64*(s.few.len+1) < ids {
		s.few.put(id, 1)
		return
	}
	if at := int(id / 64); at >= len(s.bits) {
		s.bits = append(s.bits, make([]uint64, max(at, ids/64)+1-len(s.bits))...)
	}
	for _, e := range s.few.entries {
		if e.number != 0 {
			s.bits[e.id/64] |= 1 << (e.id % 64)
		}
	}
	s.few = idMap{}
	s.bits[id/64] |= 1 << (id % 64)
}

func (s *idSet) remove(id int32) {
	if at := int(id / 64); at < len(s.bits) {
		s.bits[at] &^= 1 << (id % 64)
		return
	}
	s.few.remove(id)
}
