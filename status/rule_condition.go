// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ByCondition returns the rule that an object is Current if each of its conditions of
// the given types is True. For [Rules.ByKind]:
//
//	rules.ByKind[widget] = status.ByCondition("Ready")
//	rules.ByKind[httpRoute] = status.ByCondition("Accepted", "ResolvedRefs")
//
// An object without status.conditions can have them in each element of status.parents,
// as routes of Gateway API have, or of status.ancestors, as its policies have. There
// must be an element, and all elements must have the conditions.
//
// The object is InProgress while a condition is missing, is not True, or is for an older
// generation, and while status.observedGeneration is not the generation. If a condition
// is not True, and the condition Stalled is True, the object is Failed. A condition that
// is False does not make it Failed, whatever its reason: controllers set it as well
// while they work, or while they wait for another object. An object that is being
// deleted is Terminating.
//
// The rule reads the metadata and the status. With an entry in [Rules.Keep], which can
// be without paths, the engine does not keep the other fields in memory.
//
// Without types the rule fails.
func ByCondition(types ...string) Rule {
	types = slices.Clone(types)
	return func(obj *unstructured.Unstructured, _ []ObjectStatus, _ time.Time) (Result, error) {
		if len(types) == 0 {
			return Result{}, errors.New("ByCondition got no type of a condition")
		}
		o := ruleObject{obj: obj}
		result, err := o.observed()
		if err != nil || result.Status != "" {
			return result, err
		}
		result, err = o.byConditions(types...)
		if stalled := o.conditions.of("Stalled"); err == nil && result.Status == InProgress && stalled.status == "True" {
			result = Result{Status: Failed, Message: stalled.message}
		}
		return result, err
	}
}

// ruleByConditions is byConditions as the rule of a kind.
func ruleByConditions(types ...string) func(*Rules, *ruleObject, time.Time) (Result, error) {
	return func(_ *Rules, o *ruleObject, _ time.Time) (Result, error) { return o.byConditions(types...) }
}

// has reports whether the object has a condition of a type, of whatever generation.
func (o *ruleObject) has(kind string) bool {
	return o.conditions.of(kind).kind != "" || o.outdated.of(kind).kind != ""
}

// byConditions returns Current if the conditions of the given types are True, and
// InProgress if not.
func (o *ruleObject) byConditions(types ...string) (Result, error) {
	missing := ""
	if len(o.conditions)+len(o.outdated) > 0 {
		missing = missingCondition(o.conditions, o.outdated, types)
	} else {
		missing = o.missingInParents(types)
	}
	switch {
	case o.err != nil:
		return Result{}, o.err
	case missing != "":
		return Result{Status: InProgress, Message: missing}, nil
	}
	return Result{Status: Current, Message: "Resource is " + strings.Join(types, " and ")}, nil
}

// missingCondition returns what is missing for each of the types to be True, or "".
func missingCondition(conditions, outdated ruleConditions, types []string) string {
	for _, kind := range types {
		if conditions.are(kind, "True") {
			continue
		}
		c := conditions.of(kind)
		switch {
		case c.kind != "":
			return c.text()
		case outdated.of(kind).kind != "":
			return "condition " + kind + " is for an older generation"
		}
		return "no condition " + kind + " yet"
	}
	return ""
}

// text returns the condition as a text for people, with its message or its reason.
func (c ruleCondition) text() string {
	text := "condition " + c.kind + " is " + c.status
	if why := cmp.Or(c.message, c.reason); why != "" {
		text += ": " + why
	}
	return text
}

// missingInParents is missingCondition for the conditions of parents or ancestors.
func (o *ruleObject) missingInParents(types []string) string {
	found := false
	for _, field := range [...]struct{ list, ref string }{{"parents", "parentRef"}, {"ancestors", "ancestorRef"}} {
		for _, v := range o.list(o.status, field.list) {
			found = true
			parent := o.element("status."+field.list+"[]", v)
			conditions, outdated := o.conditionsIn(parent)
			if missing := missingCondition(conditions, outdated, types); missing != "" {
				return "parent " + o.text(o.in(parent, field.ref), "name") + ": " + missing
			}
		}
	}
	if !found {
		return "no condition " + types[0] + " yet"
	}
	return ""
}
