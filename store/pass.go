// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

// pass is the current pass, with the slots of the records that it had.
type pass struct {
	open bool // from Begin to Commit or Abort
	anew bool // Pass.Anew
	all  bool // Commit removes nothing
	seen []uint64
	n    int // number of bits set in seen
}

func (p *pass) has(slot uint32) bool {
	word := int(slot / 64)
	return word < len(p.seen) && p.seen[word]>>(slot%64)&1 == 1
}

// see marks the record in slot as seen, if there is a pass.
func (p *pass) see(slot uint32) {
	if !p.open || p.has(slot) {
		return
	}
	for int(slot/64) >= len(p.seen) {
		p.seen = append(p.seen, 0)
	}
	p.seen[slot/64] |= 1 << (slot % 64)
	p.n++
}

// move is called when the record in from moves to slot.
func (p *pass) move(from, slot uint32) {
	if p.has(from) {
		p.clear(from)
		p.see(slot)
	}
}

// clear is called when the record in slot is removed.
func (p *pass) clear(slot uint32) {
	if p.has(slot) {
		p.seen[slot/64] &^= 1 << (slot % 64)
		p.n--
	}
}
