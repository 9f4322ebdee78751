// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"hash/maphash"
	"unsafe"
	"weak"
)

// Share is what objects have in common: strings, and whatever is below a pointer, in a
// slice or in a map, found by its bytes before anything is decoded.
//
// It keeps nothing alive but some strings: what is in common goes when the last object
// goes that has it. What is seen for the first time is only noted, in a table that has at
// most seenSize places, and is in common from the second time on; so objects with nothing
// in common cost no memory. The strings that it keeps are the last ones, at most textsSize
// of longText bytes, which are 4 MiB, and no more than was read.
//
// Nor do they cost much time: where vainLooks in a row found nothing, at one place of the
// objects, only one of vainStep is looked for, by chance, until one is known again. A place
// is a field, or a path of names.
//
// It may be used by one goroutine at a time; its zero value is not usable.
type Share struct {
	seed, check maphash.Seed
	seen        marks // of what was seen once
	parts       map[uint64]part
	sweepAt     int           // so many parts
	finds       int           // how often something was looked for
	swept       int           // finds at the last sweep
	vain        table[uint16] // by place: looks in a row that found nothing; grows with seen
	chance      uint64        // of what is looked for all the same

	texts table[string]

	made int // estimated bytes of what was decoded and found nowhere
}

// part is a shared part, kept as long as an object refers to it. Two hashes of 64 bits with
// secret seeds identify the bytes that it was decoded from.
type part struct {
	check uint64
	at    weak.Pointer[byte]
	count int // of a slice
}

const (
	firstSeen, seenSize     = 1 << 9, 1 << 16
	firstTexts, textsSize   = 1 << 7, 1 << 14
	firstPlaces, placesSize = 1 << 9, 1 << 12

	longText  = 256 // bytes of a string that is looked for
	shortPart = 8   // bytes of what is not worth a look
	sweepMin  = 1 << 12

	sweepFinds = 1 << 17 // between two sweeps

	vainLooks = 1 << 10
	vainStep  = 16
)

// Made returns the estimated bytes in memory of all that was decoded and not found in s,
// without the values that objects are decoded into.
func (s *Share) Made() int { return s.made }

// NewShare returns a Share in which there is nothing. It is small, and grows with use.
func NewShare() *Share { return newShare(seenSize, textsSize) }

// NewTexts returns a Share of strings only.
func NewTexts() *Share {
	return &Share{seed: maphash.MakeSeed(), texts: newTable[string](firstTexts, textsSize)}
}

func newShare(seen, texts int) *Share {
	return &Share{
		seed: maphash.MakeSeed(), check: maphash.MakeSeed(),
		seen: newMarks(firstSeen, seen), parts: map[uint64]part{}, sweepAt: sweepMin,
		vain: newTable[uint16](firstPlaces, placesSize), chance: 1,
		texts: newTable[string](firstTexts, texts),
	}
}

// found is what was looked for: there, or where it is to be kept.
type found struct {
	pointer unsafe.Pointer
	count   int

	hash, check uint64
	keep        bool
}

// sharesParts reports whether s shares more than strings. No Share shares nothing.
func (s *Share) sharesParts() bool { return s != nil && s.parts != nil }

// worth reports whether to look for what is at a place. Only a Share that shares parts may
// be asked.
func (s *Share) worth(place uint64) bool {
	if *s.vain.place(place) < vainLooks {
		return true
	}
	// Not each n-th: objects have as many things at a place again and again, and it might
	// always be the same one of them. This is xorshift64.
	s.chance ^= s.chance << 13
	s.chance ^= s.chance >> 7
	s.chance ^= s.chance << 17
	return s.chance>>32%vainStep == 0
}

// find looks for what was made of data for a field, at a place that is worth it. What
// equal bytes of a field mean is equal, wherever they are.
func (s *Share) find(place, field uint64, data []byte) (found, bool) {
	if s.finds++; s.finds-s.swept >= sweepFinds {
		s.sweep()
	}
	hash := maphash.Bytes(s.seed, data) + field*0x9e3779b97f4a7c15
	vain := s.vain.place(place)
	if p, ok := s.parts[hash]; ok {
		*vain = 0
		check := maphash.Bytes(s.check, data)
		if p.check == check {
			if at := p.at.Value(); at != nil {
				return found{pointer: unsafe.Pointer(at), count: p.count}, true
			}
		}
		return found{hash: hash, check: check, keep: true}, false
	}
	if !s.seen.note(uint32(hash>>32) | 1) {
		*vain = min(*vain+1, vainLooks)
		if len(s.vain.at) < len(s.seen.at) {
			s.vain.grow()
		}
		return found{}, false
	}
	*vain = 0
	return found{hash: hash, check: maphash.Bytes(s.check, data), keep: true}, false
}

// keep notes what was made of what find had looked for.
func (s *Share) keep(f found, made unsafe.Pointer, count int) {
	if !f.keep || made == nil {
		return
	}
	if len(s.parts) >= s.sweepAt {
		s.sweep()
	}
	s.parts[f.hash] = part{check: f.check, at: weak.Make((*byte)(made)), count: count}
}

// Sweep forgets what nobody has any more. It comes by itself now and then; the end of
// a list, or of a page of it, is a good time for it. It does nothing where less was looked
// for since the last time than there is to go through, so it may be called often.
func (s *Share) Sweep() {
	if s.sharesParts() && s.finds-s.swept >= len(s.parts) {
		s.sweep()
	}
}

func (s *Share) sweep() {
	s.swept = s.finds
	left := 0
	for _, p := range s.parts {
		if p.at.Value() != nil {
			left++
		}
	}
	if left < len(s.parts)*3/4 || len(s.parts) >= s.sweepAt {
		parts := make(map[uint64]part, left) // a map does not shrink
		for hash, p := range s.parts {
			if p.at.Value() != nil {
				parts[hash] = p
			}
		}
		s.parts = parts
	}
	s.sweepAt = max(sweepMin, 2*len(s.parts))
}

// Text returns data as a string, the same one for what was the same lately.
func (s *Share) Text(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	if len(data) > longText {
		s.made += len(data)
		return string(data)
	}
	hash := maphash.Bytes(s.seed, data)
	known := *s.texts.place(hash)
	if known != string(data) {
		s.made += sizeClass(len(data))
		known = string(data)
		s.texts.put(hash, known)
	}
	return known
}
