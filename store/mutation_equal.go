// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"reflect"
	"unsafe"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/diff"
)

// copyOf returns a copy of an object, nil if the copy would differ. Objects can contain
// values that cannot be copied, or that are not equal to themselves.
func copyOf(obj runtime.Object) (copied runtime.Object) {
	defer func() {
		if recover() != nil {
			copied = nil
		}
	}()
	copied = obj.DeepCopyObject()
	if !unmodified(obj, copied) {
		return nil
	}
	return copied
}

// unmodified is like reflect.DeepEqual, except for the representation of a
// resource.Quantity. String, encoding and comparisons can change that.
func unmodified(obj, was runtime.Object) bool {
	return equality{}.equal(reflect.ValueOf(obj), reflect.ValueOf(was))
}

// equality has the pairs of pointers whose comparison has begun.
type equality map[pointers]struct{}

type pointers struct {
	a, b unsafe.Pointer
	typ  reflect.Type
}

var quantityType = reflect.TypeFor[resource.Quantity]()

func (e equality) equal(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		if a.Kind() == reflect.Pointer {
			p := pointers{a.UnsafePointer(), b.UnsafePointer(), a.Type()}
			if _, seen := e[p]; seen || p.a == p.b {
				return true
			}
			e[p] = struct{}{}
		}
		return e.equal(a.Elem(), b.Elem())
	case reflect.Struct:
		if a.Type() == quantityType {
			return e.quantities(a, b)
		}
		return e.fields(a, b, "")
	case reflect.Slice, reflect.Array:
		if a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !e.equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for all := a.MapRange(); all.Next(); {
			if !e.equal(all.Value(), b.MapIndex(all.Key())) {
				return false
			}
		}
		return true
	case reflect.Func:
		return a.IsNil() && b.IsNil()
	}
	return a.Equal(b)
}

// fields compares structs without one field.
func (e equality) fields(a, b reflect.Value, except string) bool {
	for i := range a.NumField() {
		if a.Type().Field(i).Name != except && !e.equal(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

// quantities compares quantities without their cached text, which another goroutine can
// write at this moment. It also compares by value, since a comparison with a quantity of
// another form changes the form.
func (e equality) quantities(a, b reflect.Value) bool {
	if e.fields(a, b, "s") {
		return true
	}
	if !a.CanInterface() || !b.CanInterface() {
		return false
	}
	x, y := a.Interface().(resource.Quantity), b.Interface().(resource.Quantity)
	return x.Format == y.Format && x.Cmp(y) == 0
}

// differences returns a readable difference of the JSON of two objects, or of their values
// if they have no JSON.
func differences(was, obj runtime.Object) string {
	if text := diff.Diff(was, obj); text != "" {
		return text
	}
	return diff.Diff(dumped{was}, dumped{obj})
}

// dumped is an object that has no JSON.
type dumped struct{ Object runtime.Object }

// MarshalJSON implements json.Marshaler.
func (dumped) MarshalJSON() ([]byte, error) { return nil, errors.New("it is dumped") }
