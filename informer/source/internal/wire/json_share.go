// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"reflect"
	"unsafe"
)

// sharing is how a decoder finds objects and arrays that were made before: by their
// bytes, whose end a scan finds. What is looked for is scanned once, with all that is in
// it, and hashed at every level, until spare bytes are used up.
type sharing struct {
	share *Share
	parts bool   // more than strings
	place uint64 // of the value that is decoded next
	spare int    // bytes that may still be hashed

	noted   []extent // in the order of their starts
	next    int      // of noted, what is not before the cursor
	scanned int      // behind it nothing was scanned
}

// extent is where an object or an array is.
type extent struct{ start, end int }

const (
	hashedTimes = 8       // each byte of an object, on average
	mostNoted   = 1 << 14 // objects and arrays of one scan
)

func (s *sharing) begin(share *Share, size int) {
	*s = sharing{share: share, parts: share.sharesParts(), spare: hashedTimes * size, noted: s.noted[:0]}
}

// look looks for the object or the array that is next, which is made as field says. If
// it is found, the cursor is behind it.
func (d *decoder) look(field uint64) (found, bool) {
	if !d.share.worth(d.place) {
		return found{}, false
	}
	size := d.extent() - d.at
	if size < shortPart || size > d.spare {
		return found{}, false
	}
	d.spare -= size
	f, ok := d.share.find(d.place, field, d.data[d.at:d.at+size])
	if ok {
		d.at += size
	}
	return f, ok
}

// extent is where the object or the array at the cursor ends, or the cursor if that is
// not known. It is right if what is there is JSON; if not, it ends nowhere, and so was
// not made before.
func (d *decoder) extent() int {
	if d.at >= d.scanned {
		d.scan()
	}
	for d.next < len(d.noted) && d.noted[d.next].start < d.at {
		d.next++
	}
	if d.next < len(d.noted) && d.noted[d.next].start == d.at {
		return d.noted[d.next].end
	}
	return d.at
}

// scan notes what is in the value at the cursor, but nothing if it is nested too deep.
func (d *decoder) scan() {
	d.noted, d.next = d.noted[:0], 0
	open, depth := -1, 0 // the end of what is open is what it is in
	i := d.at
	for i < len(d.data) {
		switch d.data[i] {
		case '"':
			i = stringEnd(d.data, i+1)
			continue
		case '{', '[':
			if depth++; depth > d.depth || len(d.noted) == mostNoted {
				d.noted, d.scanned = d.noted[:0], len(d.data)
				return
			}
			d.noted = append(d.noted, extent{i, open})
			open = len(d.noted) - 1
		case '}', ']':
			depth--
			open, d.noted[open].end = d.noted[open].end, i+1
			if depth == 0 {
				d.scanned = i + 1
				return
			}
		}
		i++
	}
	d.noted, d.scanned = d.noted[:0], len(d.data) // it has no end
}

// stringEnd is what is behind the string that goes on at i.
func stringEnd(data []byte, i int) int {
	for {
		i, _ = textEnd(data, i)
		switch {
		case i >= len(data):
			return len(data)
		case data[i] == '"':
			return i + 1
		case data[i] == '\\':
			i++
		}
		i++
	}
}

// anyField is the field of what is made without a type.
var anyField = ids.Add(1)

// shared makes an object or an array without a type, or finds it.
func (d *decoder) shared(b byte) (any, error) {
	key, ok := d.look(anyField)
	if ok {
		return asValue(b, key.pointer), nil
	}
	v, err := d.composite(b, nil)
	if err == nil {
		d.share.keep(key, (*iface)(unsafe.Pointer(&v)).data, 0)
	}
	return v, err
}

// iface is an any.
type iface struct{ typ, data unsafe.Pointer }

var anObject, anArray any = map[string]any{}, []any{}

// asValue is the object or the array of which data is what an any refers to.
func asValue(b byte, data unsafe.Pointer) any {
	v := anObject
	if b == '[' {
		v = anArray
	}
	(*iface)(unsafe.Pointer(&v)).data = data
	return v
}

// lookFor looks for what a pointer, a slice or a map is to be made of, as a plan with an
// id makes it, and sets v to it if it is done. Nothing may be added to what is shared.
func (d *decoder) lookFor(id uint64, v reflect.Value) (key found, done bool, err error) {
	if !d.parts {
		return found{}, false, nil
	}
	if !v.IsNil() {
		return found{}, false, errTwice
	}
	if b := d.peek(); b != '{' && b != '[' {
		return found{}, false, nil
	}
	if key, done = d.look(id); !done {
		return key, false, nil
	}
	to := v.Addr().UnsafePointer()
	if v.Kind() == reflect.Slice {
		*(*sliceHeader)(to) = sliceHeader{key.pointer, key.count, key.count}
	} else { // a pointer as well
		*(*unsafe.Pointer)(to) = key.pointer
	}
	return key, true, nil
}

// keepSlice keeps a slice, without room to spare.
func (d *decoder) keepSlice(key found, v reflect.Value) {
	if !key.keep {
		return
	}
	n := v.Len()
	if v.Cap() > n {
		exact := reflect.MakeSlice(v.Type(), n, n)
		reflect.Copy(exact, v)
		v.Set(exact)
	}
	d.share.keep(key, v.UnsafePointer(), n)
}

// step is the place of what has a name, or is an element if it has none, at a place. The
// low bits of it count, in which a product has little of what it is made of.
func step(place uint64, name []byte) uint64 {
	if len(name) > 0 {
		place ^= hashEnds(name)
		place ^= place >> 32
	}
	place = (place + 1) * 0x9e3779b97f4a7c15
	return place ^ place>>32
}
