// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import "reflect"

// mostParts is how many parts of a value sizeOf counts. It then returns the size so far, because
// the value can be a cycle.
const mostParts = 100_000

// SizeOf is the default SizeOf of a configuration.
func SizeOf[T any](obj T) int { return sizeOf(reflect.ValueOf(&obj).Elem()) }

// sizeOf estimates the bytes of v, with all values that it refers to.
func sizeOf(v reflect.Value) int {
	s := sizer{left: mostParts}
	return s.size(v)
}

type sizer struct{ left int }

func (s *sizer) size(v reflect.Value) int {
	if s.left--; s.left < 0 || !v.IsValid() {
		return 0
	}
	size := int(v.Type().Size())
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return size
		}
		if v.CanInterface() {
			// All types that are generated from protobuf have it.
			if o, ok := v.Interface().(interface{ Size() int }); ok {
				return size + o.Size()
			}
		}
		return size + s.size(v.Elem())
	case reflect.Interface:
		return size + s.size(v.Elem())
	case reflect.String:
		return size + v.Len()
	case reflect.Slice, reflect.Array:
		if elem := v.Type().Elem(); isFlat(elem.Kind()) {
			return size + v.Len()*int(elem.Size())
		}
		for i := range v.Len() {
			size += s.size(v.Index(i))
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			size += s.size(iter.Key()) + s.size(iter.Value())
		}
	case reflect.Struct:
		size = 0
		for i := range v.NumField() {
			size += s.size(v.Field(i))
		}
	}
	return size
}

// isFlat reports whether values of the kind refer to nothing.
func isFlat(k reflect.Kind) bool { return k >= reflect.Bool && k <= reflect.Complex128 }
