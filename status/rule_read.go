// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"cmp"
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
	conditions ruleConditions // those that are not for an older generation
	outdated   ruleConditions // the others
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

// textOr returns a string, or missing if the field is not set or empty.
func (o *ruleObject) textOr(f ruleFields, name, missing string) string {
	return cmp.Or(o.text(f, name), missing)
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

// ruleConditions are conditions of one object.
type ruleConditions []ruleCondition

// of returns the first condition of a type, or a zero one.
func (all ruleConditions) of(kind string) ruleCondition {
	for _, c := range all {
		if c.kind == kind {
			return c
		}
	}
	return ruleCondition{}
}

// are reports whether there is a condition of the type with the status.
func (all ruleConditions) are(kind, status string) bool {
	for _, c := range all {
		if c.is(kind, status) {
			return true
		}
	}
	return false
}

// conditionsIn returns the conditions in a field of f, and separately those for an older
// generation.
func (o *ruleObject) conditionsIn(f ruleFields) (conditions, outdated ruleConditions) {
	list := o.list(f, "conditions")
	if len(list) == 0 {
		return nil, nil
	}
	generation, _ := o.count(o.metadata, "generation")
	conditions = make(ruleConditions, 0, len(list))
	for _, v := range list {
		f := o.element(f.child("conditions[]"), v)
		c := ruleCondition{
			kind:    o.text(f, "type"),
			status:  o.text(f, "status"),
			reason:  o.text(f, "reason"),
			message: o.text(f, "message"),
		}
		if o.countOr(f, "observedGeneration", generation) >= generation {
			conditions = append(conditions, c)
		} else {
			outdated = append(outdated, c)
		}
	}
	return conditions, outdated
}
