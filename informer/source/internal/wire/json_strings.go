// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/binary"
	"math/bits"
)

// stringCache makes strings of which there are few but again and again, such as the
// names of fields. As values they are made once, too.
type stringCache struct {
	strings [1 << slotBits]string
	values  [1 << slotBits]any
}

const slotBits = 10

// maxCached is how long a string may be that is held on to.
const maxCached = 40

// slot is where text, which is not empty, is if it is anywhere.
func slot(text []byte) uint64 { return hashEnds(text) >> (64 - slotBits) }

// hashEnds is a hash of text, which is not empty, of which it looks at both ends.
func hashEnds(text []byte) uint64 {
	var first, last uint64
	switch n := len(text); {
	case n >= 8:
		first, last = binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[n-8:])
	case n >= 4:
		first, last = uint64(binary.LittleEndian.Uint32(text)), uint64(binary.LittleEndian.Uint32(text[n-4:]))
	default:
		first, last = uint64(text[0]), uint64(text[n/2])<<8|uint64(text[n-1])
	}
	return (first ^ bits.RotateLeft64(last, 27) ^ uint64(len(text))) * 0x9e3779b97f4a7c15
}

// string is text, made by share if it is not there.
func (s *stringCache) string(text []byte, share *Share) string {
	if len(text) > maxCached || len(text) == 0 {
		return makeString(text, share)
	}
	known := &s.strings[slot(text)]
	if *known != string(text) {
		*known = makeString(text, share)
	}
	return *known
}

// value is text as a value.
func (s *stringCache) value(text []byte, share *Share) any {
	if len(text) > maxCached || len(text) == 0 {
		return makeString(text, share)
	}
	known := &s.values[slot(text)]
	if v, ok := (*known).(string); !ok || v != string(text) {
		*known = makeString(text, share)
	}
	return *known
}

func makeString(text []byte, share *Share) string {
	if share != nil {
		return share.Text(text)
	}
	return string(text)
}
