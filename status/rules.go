// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Result is what a [Rule] says of an object.
type Result struct {
	Status  Status
	Message string

	// Recheck is when the rule may say something else although nothing has
	// changed. Zero if time plays no part.
	Recheck time.Time
}

// Rule tells the status of an object from the object and from those that it
// controls. It must be pure, apart from the time, which is now, and must not keep
// or modify what it is given. An error or a panic makes the status Unknown with the
// reason RuleError.
type Rule func(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error)

// Rules say what the status of objects is. The zero value, and nil, are the rules
// of kstatus, with the exceptions stated below.
type Rules struct {
	ByKind map[schema.GroupKind]Rule
}

// Compute returns the status of obj, whose children are given. It never panics.
func (r *Rules) Compute(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error) {
	return Result{Status: Current}, nil
}

// Children returns the kinds of the objects that those of a kind control and that
// its rule looks at.
func (r *Rules) Children(owner schema.GroupKind) []schema.GroupKind { return nil }

// Trim takes from obj, which it modifies, what no rule reads.
func (r *Rules) Trim(obj *unstructured.Unstructured) {}

// MetadataOnly reports whether the rule for a kind reads nothing but metadata.
func (r *Rules) MetadataOnly(kind schema.GroupKind) bool { return false }
