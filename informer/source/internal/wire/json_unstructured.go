// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
)

// JSONOptions say what is made of JSON, and how.
type JSONOptions struct {
	Mask  Mask   // nil is all
	Share *Share // what objects have in common, where a mask wants all of it; nil is nothing
}

// DecodeUnstructured decodes an object to the content of an unstructured.Unstructured: maps,
// slices, strings, bools, int64 or else float64, and nil. The result is that of
// k8s.io/apimachinery, except that input other than an object is an error, also null. Errors
// are an [*Error] with the place in raw. Masked fields must be valid JSON as well. An object
// that takes more memory than [roomFor] allows is an error.
//
// A mask does not distinguish maps and structs: a name and "[name]" are the same. A value
// that should have fields, and is neither a map nor a slice, is kept, also null: the reader
// of the object can then report it.
func DecodeUnstructured(raw []byte, limits Limits, opts JSONOptions) (map[string]any, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.begin(raw, limits, opts.Share)
	if b := d.peek(); b != '{' {
		return nil, d.unwanted()
	}
	object, err := d.object(opts.Mask)
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return nil, err
	}
	return object, nil
}

// decoder makes values of JSON. It is used again and again.
type decoder struct {
	cursor
	sharing
	room, roomy room // for maps, slices, and what is behind pointers: left, and at first

	countable int // bytes that elements of arrays can be counted in

	made stringCache

	// Of the maps and slices that are not complete.
	entries []entry
	values  []any

	bracketed []byte
}

const countedTimes = 4 // each byte of an object, at most

type entry struct {
	key   string
	value any
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func (d *decoder) begin(raw []byte, limits Limits, share *Share) {
	d.cursor = cursor{data: raw, depth: limits.Depth}
	d.room, d.countable = roomFor(limits), countedTimes*len(raw)
	d.roomy = d.room
	d.sharing.begin(share, len(raw))
}

// release gives d back. It holds on to nothing but short strings.
func (d *decoder) release() {
	if share := d.sharing.share; share != nil {
		share.made += int(d.roomy-d.room) * 7 / 8 // the rest is outgrown
	}
	clear(d.entries)
	clear(d.values)
	const most = 1 << 10
	if cap(d.entries) > most {
		d.entries = nil
	}
	if cap(d.values) > most {
		d.values = nil
	}
	if cap(d.bracketed) > most {
		d.bracketed = nil
	}
	d.entries, d.values = d.entries[:0], d.values[:0]
	if cap(d.noted) > most {
		d.noted = nil
	}
	d.cursor = cursor{}
	d.sharing.begin(nil, 0)
	decoders.Put(d)
}

// end is an error if there is anything left.
func (d *decoder) end() error {
	if b := d.peek(); d.at != len(d.data) {
		return d.fail(fmt.Errorf("%s behind the end of the object", seen(b)))
	}
	return nil
}

// spend takes room for so many things of a size.
func (d *decoder) spend(count, size int) error {
	if err := d.room.spend(count, size); err != nil {
		return d.fail(err)
	}
	return nil
}

// value makes a value.
func (d *decoder) value(mask Mask) (any, error) {
	switch b := d.peek(); b {
	case '{', '[':
		if mask == nil && d.parts {
			return d.shared(b)
		}
		return d.composite(b, mask)
	case '"':
		text, err := d.text()
		if err != nil {
			return nil, err
		}
		return d.made.value(text, d.share), nil
	case 't':
		return true, d.literal("true")
	case 'f':
		return false, d.literal("false")
	case 'n':
		return nil, d.literal("null")
	}
	at := d.at
	text, integer, err := d.number()
	if err != nil {
		return nil, err
	}
	if n, ok := parseInt(text); ok && (integer || !strings.Contains(string(text), ".")) {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		d.at = at
		return nil, d.fail(errors.New("a number that is too large"))
	}
	return f, nil
}

// composite makes an object or an array.
func (d *decoder) composite(b byte, mask Mask) (any, error) {
	if b == '{' {
		return d.object(mask)
	}
	return d.array(mask)
}

// parseInt is strconv.ParseInt of a number in JSON.
func parseInt(text []byte) (int64, bool) {
	digits := text
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) > 18 {
		n, err := strconv.ParseInt(string(text), 10, 64)
		return n, err == nil
	}
	var n int64
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

// object makes a map. Of entries of the same name the last one counts.
func (d *decoder) object(mask Mask) (map[string]any, error) {
	base, place := len(d.entries), d.place
	more, err := d.open('}')
	for ; more && err == nil; more, err = d.more('}') {
		name, err := d.name()
		if err != nil {
			return nil, err
		}
		below, wanted := mask, true
		if mask != nil {
			below, wanted = d.below(mask, name)
		}
		if !wanted {
			if _, err := d.skip(); err != nil {
				return nil, err
			}
			continue
		}
		if b := d.peek(); d.parts && (b == '{' || b == '[') {
			d.place = step(place, name)
		}
		key := d.made.string(name, d.share)
		value, err := d.value(below)
		if err != nil {
			return nil, err
		}
		d.entries = append(d.entries, entry{key, value})
	}
	if err != nil {
		return nil, err
	}
	entries := d.entries[base:]
	if err := d.spend(1, mapRoom(len(entries), anySize)); err != nil {
		return nil, err
	}
	object := make(map[string]any, len(entries))
	for i := range entries {
		object[entries[i].key] = entries[i].value
	}
	clear(entries)
	d.entries = d.entries[:base]
	return object, nil
}

// array makes a slice.
func (d *decoder) array(mask Mask) ([]any, error) {
	base, place := len(d.values), step(d.place, nil)
	more, err := d.open(']')
	for ; more && err == nil; more, err = d.more(']') {
		d.place = place
		value, err := d.value(mask)
		if err != nil {
			return nil, err
		}
		d.values = append(d.values, value)
	}
	if err != nil {
		return nil, err
	}
	values := d.values[base:]
	if err := d.spend(len(values), anySize); err != nil {
		return nil, err
	}
	array := make([]any, len(values))
	copy(array, values)
	clear(values)
	d.values = d.values[:base]
	return array, nil
}

// below is the mask of a field where there is one, and whether the field is wanted.
func (d *decoder) below(mask Mask, name []byte) (Mask, bool) {
	d.bracketed = append(append(append(d.bracketed[:0], '['), name...), ']')
	entry, isEntry := mask[string(d.bracketed)]
	if len(name) > 0 && name[0] == '[' { // in a mask that is no name
		return entry, isEntry
	}
	field, isField := mask[string(name)]
	switch {
	case !isField:
		return entry, isEntry
	case !isEntry || field == nil:
		return field, true
	case entry == nil:
		return nil, true
	}
	return merged(entry, field), true
}

// merged is what either of two masks wants.
func merged(a, b Mask) Mask {
	if a == nil || b == nil {
		return nil
	}
	both := maps.Clone(a)
	for name, below := range b {
		if other, known := both[name]; known {
			below = merged(other, below)
		}
		both[name] = below
	}
	return both
}
