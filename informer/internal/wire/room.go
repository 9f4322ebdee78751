// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import "fmt"

// room is how many bytes the slices and maps of an object, and in JSON what is behind
// pointers, may still take: a few bytes on the wire can be hundreds in memory. What is
// outgrown counts as well, what is found in a [Share] does not.
type room int

// roomFor is the room of an object of a size on the wire.
func roomFor(size int) room { return room(64*size + 4<<20) }

// What maps take in Go 1.26, on 64 bits. It does not matter if others differ a
// little.
const (
	mapHeader  = 72  // with what sizes are rounded up by
	mapGroup   = 8   // entries for which there is room at once
	mapInline  = 128 // bytes of a value that is not apart from its entry
	mapGrowth  = 3   // times what an entry takes by itself, with what was outgrown
	stringSize = 16
	anySize    = 16
)

// mapRoom is what a map takes of so many entries, with values of a size.
func mapRoom(entries, size int) int {
	slot, apart := stringSize+size+1, 0
	if size > mapInline {
		slot, apart = stringSize+8+1, size
	}
	switch {
	case entries == 0:
		return mapHeader
	case entries <= mapGroup:
		return mapHeader + mapGroup*slot + entries*apart
	}
	return mapHeader + entries*(mapGrowth*slot+apart)
}

// sliceGrowth is how many elements a slice has room for that had room for so many, as
// append makes it.
func sliceGrowth(had int) int {
	if had < 256 {
		return max(1, 2*had)
	}
	return had + (had+3*256)/4
}

// spend takes room for so many things of a size.
func (r *room) spend(count, size int) error {
	if size > 0 && count > int(*r)/size {
		return fmt.Errorf("%d more things of %d bytes, in an object that is not so large", count, size)
	}
	*r -= room(count * size)
	return nil
}
