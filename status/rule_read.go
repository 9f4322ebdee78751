// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"math"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ruleObject reads an object for a rule. Its methods never panic. A value of a wrong
// type reads as missing; err holds the first one. A null is missing.
type ruleObject struct {
	obj        *unstructured.Unstructured
	kind       schema.GroupKind
	metadata   ruleFields
	status     ruleFields
	conditions []ruleCondition
	outdated   string // the type of a condition for an older generation that could decide
	err        error
}

// ruleFields are the fields at a path of an object.
type ruleFields struct {
	path   string
	fields map[string]any
}

// top returns the fields of the object itself.
func (o *ruleObject) top() ruleFields { return ruleFields{fields: o.obj.Object} }

func (f ruleFields) child(name string) string {
	if f.path == "" {
		return name
	}
	return f.path + "." + name
}

// in returns the fields of the field name.
func (o *ruleObject) in(f ruleFields, name string) ruleFields {
	return ruleFields{path: f.child(name), fields: fieldOf[map[string]any](o, f, name, "an object")}
}

func (o *ruleObject) text(f ruleFields, name string) string {
	return fieldOf[string](o, f, name, "a string")
}
func (o *ruleObject) list(f ruleFields, name string) []any {
	return fieldOf[[]any](o, f, name, "a list")
}
func (o *ruleObject) boolean(f ruleFields, name string) bool {
	return fieldOf[bool](o, f, name, "true or false")
}

// fieldOf returns the value of a field that must be a T.
func fieldOf[T any](o *ruleObject, f ruleFields, name, want string) T {
	v := f.fields[name]
	t, ok := v.(T)
	if !ok && v != nil {
		o.wrong(f.child(name), v, want)
	}
	return t
}

// count returns a whole number, and whether the field is set.
func (o *ruleObject) count(f ruleFields, name string) (int64, bool) {
	v := f.fields[name]
	if v == nil {
		return 0, false
	}
	n, ok := ruleNumber(v)
	if !ok {
		o.wrong(f.child(name), v, "a whole number")
	}
	return n, ok
}

// countOr returns a whole number, or missing if the field is not set.
func (o *ruleObject) countOr(f ruleFields, name string, missing int64) int64 {
	if n, ok := o.count(f, name); ok {
		return n
	}
	return missing
}

// element returns the fields of an element of a list. The path is that of all elements,
// such as "status.conditions[]".
func (o *ruleObject) element(path string, v any) ruleFields {
	fields, ok := v.(map[string]any)
	if !ok && v != nil {
		o.wrong(path, v, "an object")
	}
	return ruleFields{path: path, fields: fields}
}

func (o *ruleObject) wrong(path string, v any, want string) {
	if o.err == nil {
		o.err = errors.New(path + " is " + ruleDescribe(v) + ", want " + want)
	}
}

// ruleDescribe returns the type of v as a text that does not quote v.
func ruleDescribe(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case float64:
		return "a float"
	default:
		return "a number"
	}
}

// ruleNumber returns the whole number that v holds.
func ruleNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case int:
		return int64(v), true
	case float64:
		// A larger float is not exact.
		return int64(v), v == math.Trunc(v) && math.Abs(v) <= 1<<53
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}

// ruleCondition holds the fields of a condition that rules read.
type ruleCondition struct{ kind, status, reason, message string }

func (c ruleCondition) is(kind, status string) bool { return c.kind == kind && c.status == status }

// readConditions sets o.conditions, without those for an older generation.
func (o *ruleObject) readConditions() {
	list := o.list(o.status, "conditions")
	if len(list) == 0 {
		return
	}
	generation, _ := o.count(o.metadata, "generation")
	o.conditions = make([]ruleCondition, 0, len(list))
	for _, v := range list {
		f := o.element("status.conditions[]", v)
		c := ruleCondition{
			kind:    o.text(f, "type"),
			status:  o.text(f, "status"),
			reason:  o.text(f, "reason"),
			message: o.text(f, "message"),
		}
		if o.countOr(f, "observedGeneration", generation) >= generation {
			o.conditions = append(o.conditions, c)
		} else if c.kind == "Ready" || c.is("Reconciling", "True") || c.is("Stalled", "True") {
			o.outdated = c.kind
		}
	}
}
