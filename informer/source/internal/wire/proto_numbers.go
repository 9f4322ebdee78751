// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// number reads a value that is not of bytes. It was checked to be complete.
func (d *ProtoDecoder) number(f *protoField, value []byte, at unsafe.Pointer) {
	switch f.read {
	case readFloat32:
		*(*float32)(at) = math.Float32frombits(binary.LittleEndian.Uint32(value))
		return
	case readFloat64:
		*(*float64)(at) = math.Float64frombits(binary.LittleEndian.Uint64(value))
		return
	}
	v, _ := binary.Uvarint(value)
	switch f.read {
	case readBool:
		*(*bool)(at) = v != 0
	case readInt:
		*(*int)(at) = int(v)
	case readInt32, readUint32:
		*(*uint32)(at) = uint32(v)
	default:
		*(*uint64)(at) = v
	}
}

// numbers reads one of several numbers, or some that are packed.
func (d *ProtoDecoder) numbers(f *protoField, kind int, value []byte, at unsafe.Pointer) error {
	slice := reflect.NewAt(f.typ, at).Elem()
	add := func(value []byte) {
		one := reflect.New(f.elemTyp)
		d.number(f, value, one.UnsafePointer())
		slice.Set(reflect.Append(slice, one.Elem()))
	}
	switch {
	case kind == f.wire:
		add(value)
		return nil
	case kind != bytesType:
		return fmt.Errorf("it is of type %d, not %d", kind, f.wire)
	}
	for len(value) > 0 {
		n := 0
		switch f.wire {
		case fixed32Type:
			n = 4
		case fixed64Type:
			n = 8
		default:
			if _, n = binary.Uvarint(value); n <= 0 {
				return varintError(n)
			}
		}
		if n > len(value) {
			return errCut
		}
		add(value[:n])
		value = value[n:]
	}
	return nil
}
