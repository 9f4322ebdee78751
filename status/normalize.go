// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"maps"
	"math"
	"reflect"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// normalized returns obj with the numbers that rules read as int64. Servers of
// custom kinds send the observed generation as a string, and who decodes JSON without
// the decoder of unstructured objects gets float64. What is no number at all is left
// out. Where nothing is to be done it returns obj; it never modifies it.
func normalized(obj *unstructured.Unstructured) *unstructured.Unstructured {
	content := obj.Object
	for _, section := range []string{"metadata", "spec", "status"} {
		fields, ok := content[section].(map[string]any)
		if !ok {
			continue
		}
		fixed := numbers(fields)
		if section == "spec" {
			fixed = within(fixed, func(m map[string]any) map[string]any { return within(m, numbers, "rollingUpdate") }, "updateStrategy")
		}
		content = with(content, fields, fixed, section)
	}
	if same(content, obj.Object) {
		return obj
	}
	return &unstructured.Unstructured{Object: content}
}

// within applies fix to the object under a name.
func within(m map[string]any, fix func(map[string]any) map[string]any, name string) map[string]any {
	inner, ok := m[name].(map[string]any)
	if !ok {
		return m
	}
	return with(m, inner, fix(inner), name)
}

// with returns m with the fixed value under a name, in a copy if that is another one.
func with(m, old, fixed map[string]any, name string) map[string]any {
	if same(old, fixed) {
		return m
	}
	m = maps.Clone(m)
	m[name] = fixed
	return m
}

// numbers returns fields, or a copy, in which whole float64 are int64, as are
// generations in text.
func numbers(fields map[string]any) map[string]any {
	fixed := fields
	set := func(name string, value any) {
		if same(fixed, fields) {
			fixed = maps.Clone(fields)
		}
		if value == nil {
			delete(fixed, name)
		} else {
			fixed[name] = value
		}
	}
	for name, value := range fields {
		switch v := value.(type) {
		case float64:
			if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
				set(name, int64(v))
			}
		case int:
			set(name, int64(v))
		case int32:
			set(name, int64(v))
		case string:
			if name != "observedGeneration" && name != "generation" {
				continue
			}
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				set(name, n)
			} else {
				set(name, nil)
			}
		}
	}
	return fixed
}

// same reports whether two maps are one.
func same(a, b map[string]any) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}
