// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/status"
)

const (
	untilCurrent   = "current"
	untilDeleted   = "deleted"
	untilDelete    = "delete" // the word of kubectl wait
	untilCondition = "condition="
)

// goal is what to wait for: that objects are Current, or deleted, or have a condition.
type goal struct {
	deleted     bool
	condition   *condition
	failReasons []string // reasons for which an object that is Unknown counts as Failed
}

// parseGoal parses --for.
func parseGoal(text string) (goal, error) {
	name, isCondition := strings.CutPrefix(text, untilCondition)
	switch {
	case text == untilCurrent:
		return goal{}, nil
	case text == untilDeleted, text == untilDelete:
		return goal{deleted: true}, nil
	case !isCondition:
		return goal{}, fmt.Errorf("want %s, %s or %sNAME[=VALUE]", untilCurrent, untilDeleted, untilCondition)
	}
	name, value, hasValue := strings.Cut(name, "=")
	if !hasValue {
		value = "True"
	}
	if name == "" || value == "" {
		return goal{}, errors.New("the name or the value of the condition is missing")
	}
	return goal{condition: &condition{name: name, value: value}}, nil
}

// String returns the word for objects that meet the goal.
func (g goal) String() string {
	switch {
	case g.deleted:
		return "gone"
	case g.condition != nil:
		return g.condition.name + "=" + g.condition.value
	}
	return string(status.Current)
}

// fails reports whether an object with this status counts as Failed.
func (g goal) fails(s status.ObjectStatus) bool {
	switch {
	case g.deleted || !s.Stale.IsZero():
		return false
	case s.Status == status.Unknown:
		return slices.Contains(g.failReasons, string(s.Reason))
	}
	return s.Status == status.Failed
}

// apply replaces the rules of the kinds of some objects if the goal is a condition.
func (g goal) apply(rules *status.Rules, ids []status.ID) {
	if g.condition == nil {
		return
	}
	base := *rules
	base.ByKind = nil
	for _, id := range ids {
		if rules.ByKind[id.GroupKind] != nil {
			continue
		}
		rules.ByKind[id.GroupKind] = g.condition.rule(&base)
		// An object whose rule is replaced is kept whole, unless there is an entry.
		rules.Keep[id.GroupKind] = append(rules.Keep[id.GroupKind], "status.conditions")
	}
}

// condition is a condition of an object. As of kubectl wait, the case of the letters does
// not matter.
type condition struct{ name, value string }

// rule returns the rule that an object is Current if it has the condition. An object that
// is Failed or Terminating by the base rules is Failed or Terminating until then.
func (c *condition) rule(base *status.Rules) status.Rule {
	return func(obj *unstructured.Unstructured, children []status.ObjectStatus, now time.Time) (status.Result, error) {
		met, message := c.check(obj)
		if met {
			return status.Result{Status: status.Current, Message: message}, nil
		}
		result, err := base.Compute(obj, children, now)
		switch {
		case err != nil:
			return status.Result{}, err
		case result.Status == status.Terminating, result.Status == status.Failed && !strings.EqualFold(c.name, "Failed"):
			return result, nil
		}
		return status.Result{Status: status.InProgress, Message: message, Recheck: result.Recheck}, nil
	}
}

// check reports whether an object has the condition, and describes the condition. A
// condition of an older generation does not count.
func (c *condition) check(obj *unstructured.Unstructured) (met bool, message string) {
	all, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, item := range all {
		fields, _ := item.(map[string]any)
		text := func(name string) string { value, _ := fields[name].(string); return value }
		if !strings.EqualFold(text("type"), c.name) {
			continue
		}
		message := text("type") + "=" + text("status")
		observed, known, _ := unstructured.NestedInt64(fields, "observedGeneration")
		if !known {
			observed, known, _ = unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
		}
		if known && observed < obj.GetGeneration() {
			return false, fmt.Sprintf("%s is of generation %d, and the object has generation %d", message, observed, obj.GetGeneration())
		}
		for _, more := range []string{text("reason"), text("message")} {
			if more != "" {
				message += ": " + more
			}
		}
		return strings.EqualFold(text("status"), c.value), message
	}
	return false, "no condition " + c.name
}

var podKind = schema.GroupKind{Kind: "Pod"}
