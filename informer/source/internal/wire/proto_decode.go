// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"k8s.io/apimachinery/pkg/api/resource"
)

// ProtoDecoder makes objects of a type of their bytes in protobuf, as the generated
// Unmarshal methods do, but that fields which are not wanted are skipped, and that
// objects have in common what is equal, if there is a [Share]. It may be used by one
// goroutine at a time.
type ProtoDecoder struct {
	// Limits are DefaultLimits unless they are set.
	Limits Limits

	root   *message
	share  *Share
	object *Object // that is decoded
	depth  int     // of messages that are being read
	room   room    // for further elements of slices and maps
}

// NewProtoDecoder returns a decoder of a type of struct; a nil mask wants all. It fails
// if the type is none that Kubernetes has in protobuf, and if the mask names a field
// that it has not.
func NewProtoDecoder(typ reflect.Type, mask Mask, share *Share) (*ProtoDecoder, error) {
	p := planner{done: map[planned]*message{}}
	root, err := p.plan(typ, mask, "")
	if err != nil {
		return nil, err
	}
	return &ProtoDecoder{root: root, share: share, Limits: DefaultLimits}, nil
}

// Decode reads an object into a new value of the type, a pointer to it.
//
// What is shared must not be changed. So an object in which something comes twice that
// may be shared, to which the second time adds, as no server sends it, is read once more
// by itself.
//
// That the slices and maps of an object take more memory than [roomFor] says is an error; but what types take is not known that are no structs of fields in
// protobuf, and so have only their Unmarshal.
func (d *ProtoDecoder) Decode(o *Object, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Type().Elem() != d.root.typ || v.IsNil() {
		return fmt.Errorf("decoding a %s into a %T", d.root.typ, into)
	}
	err := d.decode(o, v.UnsafePointer())
	if errors.Is(err, errTwice) {
		v.Elem().SetZero()
		err = (&ProtoDecoder{root: d.root, Limits: d.Limits}).decode(o, v.UnsafePointer())
	}
	return err
}

// errTwice is that something comes twice that may be shared.
var errTwice = errors.New("it comes twice")

func (d *ProtoDecoder) decode(o *Object, p unsafe.Pointer) error {
	d.object, d.depth, d.room = o, 0, roomFor(d.Limits)
	room := d.room
	defer func() {
		d.object = nil
		if d.share != nil {
			d.share.made += int(room - d.room)
		}
	}()
	return d.message(d.root, o.Raw, p)
}

// message reads data into the value at p, which is of the type of m.
func (d *ProtoDecoder) message(m *message, data []byte, p unsafe.Pointer) error {
	if m.method {
		err := m.unmarshal(data, p)
		if err == nil && m.typ == quantityType {
			cacheText((*resource.Quantity)(p))
		}
		return err
	}
	if d.depth == d.Limits.Depth {
		return fmt.Errorf("more than %d messages in one another", d.Limits.Depth)
	}
	d.depth++
	defer func() { d.depth-- }()
	for len(data) > 0 {
		before := data
		number, kind, value, rest, err := next(data)
		if err != nil {
			return err
		}
		data = rest
		f := m.field(number)
		if f == nil {
			continue
		}
		at := unsafe.Add(p, f.offset)
		switch {
		case f.repeated && kind == bytesType && f.wire == bytesType:
			data, err = d.many(f, number, before, rest, at)
		case f.repeated:
			err = d.numbers(f, kind, value, at)
		case kind != f.wire:
			err = fmt.Errorf("field %d is of type %d, not %d", number, kind, f.wire)
		case f.pointer:
			err = d.pointer(f, value, at)
		default:
			err = d.value(f, value, at)
		}
		if err != nil && d.depth <= namedDepth {
			return fmt.Errorf("field %s of %s: %w", f.name, m.typ.Name(), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namedDepth is how deep fields are that an error names: the text of one that names more of
// them takes time that is quadratic in the depth.
const namedDepth = 20

// unmarshal has the type read itself.
func (m *message) unmarshal(data []byte, p unsafe.Pointer) error {
	if err := reflect.NewAt(m.typ, p).Interface().(protoUnmarshaler).Unmarshal(data); err != nil {
		return fmt.Errorf("%w: bytes for %v", errType, m.typ) // what the type says can quote the value
	}
	return nil
}

// find looks for what was made of data for a field.
func (d *ProtoDecoder) find(f *protoField, data []byte) (found, bool) {
	if len(data) < shortPart || !d.share.sharesParts() || !d.share.worth(f.id) {
		return found{}, false
	}
	return d.share.find(f.id, f.id, data)
}

// pointer reads a value that may be missing.
func (d *ProtoDecoder) pointer(f *protoField, value []byte, at unsafe.Pointer) error {
	to := (*unsafe.Pointer)(at)
	switch {
	case *to != nil && d.share != nil:
		return errTwice
	case *to != nil: // the same field again adds to what there is
		return d.value(f, value, *to)
	case f.read != readMessage || d.share == nil:
		*to = d.made(f).UnsafePointer()
		return d.value(f, value, *to)
	}
	found, ok := d.find(f, value)
	if ok {
		*to = found.pointer
		return nil
	}
	fresh := d.made(f).UnsafePointer()
	if err := d.value(f, value, fresh); err != nil {
		return err
	}
	*to = fresh
	d.share.keep(found, fresh, 0)
	return nil
}

// made is a new value for a pointer.
func (d *ProtoDecoder) made(f *protoField) reflect.Value {
	if d.share != nil {
		d.share.made += sizeClass(int(f.elemTyp.Size()))
	}
	return made(f)
}

// made is a new value, as a composite literal is one.
func made(f *protoField) reflect.Value {
	v := reflect.New(f.elemTyp)
	if f.elemTyp.Kind() == reflect.Slice {
		v.Elem().Set(reflect.MakeSlice(f.elemTyp, 0, 0))
	}
	return v
}

// value reads one value.
func (d *ProtoDecoder) value(f *protoField, value []byte, at unsafe.Pointer) error {
	switch f.read {
	case readString:
		*(*string)(at) = d.text(f, value)
		return nil
	case readBytes:
		if d.share != nil {
			d.share.made += sizeClass(len(value))
		}
		*(*[]byte)(at) = append(make([]byte, 0, len(value)), value...)
		return nil
	case readMessage:
		return d.message(f.elem, value, at)
	}
	d.number(f, value, at)
	return nil
}

// text is a string of its own, or one that others have.
func (d *ProtoDecoder) text(f *protoField, value []byte) string {
	switch o := d.object; {
	case f.identity == 0 || o == nil:
	case f.identity == 1 && o.Name == string(value):
		return o.Name
	case f.identity == 2 && o.Namespace == string(value):
		return o.Namespace
	case f.identity == 3 && o.UID == string(value):
		return o.UID
	case f.identity == 4 && o.Version == string(value):
		return o.Version
	}
	if d.share == nil {
		return string(value)
	}
	return d.share.Text(value)
}

// sliceHeader is a slice of any type.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

// many reads all values of a slice or a map that follow one another, from the first on,
// behind which is rest. It returns what is left. These are what objects have in common.
func (d *ProtoDecoder) many(f *protoField, number int, from, rest []byte, at unsafe.Pointer) ([]byte, error) {
	count := 1
	end := rest
	for len(end) > 0 {
		again, kind, _, after, err := next(end)
		if err != nil {
			return nil, err
		}
		if again != number || kind != bytesType {
			break
		}
		count++
		end = after
	}
	region := from[:len(from)-len(end)]
	if f.read == readMap {
		return end, d.mapRegion(f, region, count, at)
	}
	return end, d.sliceRegion(f, region, count, at)
}

// sliceRegion reads the count values of region into the slice at a place.
func (d *ProtoDecoder) sliceRegion(f *protoField, region []byte, count int, at unsafe.Pointer) error {
	slice := (*sliceHeader)(at)
	var key found
	if d.share != nil {
		if slice.data != nil {
			return errTwice
		}
		var ok bool
		if key, ok = d.find(f, region); ok {
			*slice = sliceHeader{key.pointer, key.count, key.count}
			return nil
		}
	}
	base, err := d.grow(f, *slice, count)
	if err != nil {
		return err
	}
	size := f.elemTyp.Size()
	for i := slice.len; i < base.len; i++ {
		_, _, value, rest, err := next(region)
		if err != nil {
			return err
		}
		if err := d.value(f, value, unsafe.Add(base.data, uintptr(i)*size)); err != nil {
			return err
		}
		region = rest
	}
	*slice = base
	if d.share != nil && size > 0 {
		d.share.keep(key, base.data, count)
	}
	return nil
}

// grow returns a slice with room for count more elements: exactly so many if it is
// the first time, since what is kept has no room to spare.
func (d *ProtoDecoder) grow(f *protoField, s sliceHeader, count int) (sliceHeader, error) {
	n := s.len + count
	if n <= s.cap {
		return sliceHeader{s.data, n, s.cap}, nil
	}
	capacity := n
	if s.len > 0 {
		capacity = max(n, 2*s.cap)
	}
	if err := d.room.spend(capacity, int(f.elemTyp.Size())); err != nil {
		return s, err
	}
	fresh := reflect.MakeSlice(reflect.SliceOf(f.elemTyp), n, capacity)
	if s.len > 0 {
		old := reflect.NewAt(fresh.Type(), unsafe.Pointer(&s)).Elem()
		reflect.Copy(fresh, old)
	}
	return sliceHeader{fresh.UnsafePointer(), n, capacity}, nil
}

// mapRegion reads the count entries of region into the map at a place.
func (d *ProtoDecoder) mapRegion(f *protoField, region []byte, count int, at unsafe.Pointer) error {
	to := (*unsafe.Pointer)(at)
	var key found
	if d.share != nil {
		if *to != nil {
			return errTwice
		}
		var ok bool
		if key, ok = d.find(f, region); ok {
			*to = key.pointer
			return nil
		}
	}
	m := reflect.NewAt(f.typ, at).Elem()
	if m.IsNil() {
		if err := d.room.spend(count, int(f.typ.Elem().Size())+16); err != nil {
			return err
		}
		m.Set(reflect.MakeMapWithSize(f.typ, count))
	}
	for range count {
		_, _, entry, rest, err := next(region)
		if err != nil {
			return err
		}
		region = rest
		if err := d.entry(f, entry, m, at); err != nil {
			return err
		}
	}
	if d.share != nil {
		d.share.keep(key, *to, 0)
	}
	return nil
}

// entry reads an entry of a map.
func (d *ProtoDecoder) entry(f *protoField, entry []byte, m reflect.Value, at unsafe.Pointer) error {
	var key, value []byte
	for len(entry) > 0 {
		number, kind, part, rest, err := next(entry)
		if err != nil {
			return err
		}
		entry = rest
		switch {
		case number == 1 && kind == f.key.wire:
			key = part
		case number == 2 && kind == f.value.wire:
			value = part
		case number <= 2:
			return fmt.Errorf("entry of a map with field %d of type %d", number, kind)
		}
	}
	if f.keys != nil {
		if _, wanted := f.keys["["+string(key)+"]"]; !wanted {
			return nil
		}
	}
	if f.value.read == readString {
		// All maps of strings are laid out the same, whatever the strings are called.
		(*(*map[string]string)(at))[d.text(f.key, key)] = d.text(f.value, value)
		return nil
	}
	one := made(f.value)
	switch {
	case f.value.elem != nil && f.value.elem.typ == quantityType: // of which a reader has a copy
		if err := f.value.elem.unmarshal(value, one.UnsafePointer()); err != nil {
			return err
		}
	case value != nil || f.value.read == readBytes:
		if err := d.value(f.value, value, one.UnsafePointer()); err != nil {
			return err
		}
	}
	k := reflect.ValueOf(d.text(f.key, key)).Convert(f.typ.Key())
	m.SetMapIndex(k, one.Elem())
	return nil
}
