// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"reflect"
)

// room is how many bytes the slices and maps of an object, and in JSON what is behind
// pointers, may still take: a few bytes on the wire can be hundreds in memory. What is
// outgrown counts as well; what is found in a [Share], texts and numbers do not. What reads
// itself from JSON is estimated, and from protobuf not counted.
type room int

// roomFor returns the room of an object: enough for the 1.5 MiB that etcd stores by default,
// of empty elements that take 2000 bytes each, or less where objects are limited to less.
func roomFor(limits Limits) room { return room(min(mostRoom, 64*limits.Object+4<<20)) }

const mostRoom = 1 << 30

// What maps and slices take in Go 1.26, on 64 bits. It does not matter if others differ a
// little.
const (
	mapHeader  = 72  // with what sizes are rounded up by
	mapGroup   = 8   // entries for which there is room at once
	mapInline  = 128 // bytes of a value that is not apart from its entry
	mapGrowth  = 3   // times what an entry takes by itself, with what was outgrown
	sliceTimes = 3   // times what an element takes, with what was outgrown
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

// reach is the most that a thing takes of which there may be many in a value of a type: an
// element, an entry of a map, what a pointer refers to.
func reach(t reflect.Type, seen map[reflect.Type]bool) int {
	if seen[t] {
		return 0
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer:
		return max(int(t.Elem().Size()), reach(t.Elem(), seen))
	case reflect.Slice:
		return max(sliceTimes*int(t.Elem().Size()), reach(t.Elem(), seen))
	case reflect.Map:
		return max(mapRoom(1, int(t.Elem().Size())), reach(t.Elem(), seen))
	case reflect.Interface:
		if t.NumMethod() == 0 { // nothing is made for others
			return mapRoom(1, anySize)
		}
	case reflect.Array:
		return reach(t.Elem(), seen)
	case reflect.Struct:
		most := 0
		for i := range t.NumField() {
			most = max(most, reach(t.Field(i).Type, seen))
		}
		return most
	}
	return 0
}

// things is how many objects and nulls there are in JSON: of others no large things are made.
func things(raw []byte) (n int) {
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i+1) - 1
		case '{', 'n':
			n++
		}
	}
	return n
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

// sizeClass is about what the allocator takes for so many bytes.
func sizeClass(n int) int {
	switch {
	case n <= 16:
		return (n + 7) &^ 7
	case n <= 128:
		return (n + 15) &^ 15
	}
	return n + n/16
}
