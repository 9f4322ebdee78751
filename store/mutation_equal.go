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

// copyOf returns a copy of an object, nil if it has none that is equal to it: objects
// that were made by hand may hold what cannot be copied, or is not equal to itself.
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

// unmodified is reflect.DeepEqual, but for how a resource.Quantity keeps what it is: to
// be read, by String or by encoding it, or to be compared may change that.
func unmodified(obj, was runtime.Object) bool {
	return equality{}.equal(reflect.ValueOf(obj), reflect.ValueOf(was))
}

// equality has the pointers that are being compared, or were.
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

// fields compares structs, but for one field.
func (e equality) fields(a, b reflect.Value, except string) bool {
	for i := range a.NumField() {
		if a.Type().Field(i).Name != except && !e.equal(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

// quantities compares without the text that a quantity keeps once it was asked for it,
// perhaps by somebody who does so right now. A number that was compared with one of
// another form has that form.
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

// differences are for people: those of the JSON of an object, or if that has none those
// of the values.
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
