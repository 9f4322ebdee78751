// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package check has what constructors use to check their arguments, and what compares
// failures.
package check

import "reflect"

// IsNil reports whether v is nil or holds a nil pointer, map, slice, channel or
// function.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return rv.IsNil()
	}
	return false
}

// Validate returns what v's own Validate does, nil if it has none. A wrapper hands it on.
func Validate(v any) error {
	if v, ok := v.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// TypeName returns the name of T, which stands for things that have no name.
func TypeName[T any]() string { return reflect.TypeFor[T]().String() }
