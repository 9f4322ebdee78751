// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package check has functions that check arguments of constructors, and functions that
// compare failures.
package check

import "reflect"

// IsNil returns true if v is nil or contains a nil pointer, map, slice, channel or
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

// Validate calls v's method Validate, if it has one. A wrapper forwards it to the wrapped
// value.
func Validate(v any) error {
	if v, ok := v.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// TypeName returns the name of T. It is the default name of resources, stores and others.
func TypeName[T any]() string { return reflect.TypeFor[T]().String() }
