// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// general applies the rules that are the same for all kinds: those of observed, and
// those for the conditions Reconciling and Stalled.
func (o *ruleObject) general() (Result, error) {
	result, err := o.observed()
	if err != nil || result.Status != "" {
		return result, err
	}
	for _, c := range o.conditions {
		switch {
		case c.is("Reconciling", "True"):
			return Result{Status: InProgress, Message: c.message}, nil
		case c.is("Stalled", "True"):
			return Result{Status: Failed, Message: c.message}, nil
		}
	}
	return Result{}, nil
}

// observed applies the rules for an object that is being deleted, and for one whose
// newest spec its controller has not seen. If none applies the result is zero, and o
// holds the metadata, the status and the conditions.
func (o *ruleObject) observed() (Result, error) {
	o.metadata = o.in(o.top(), "metadata")
	if o.text(o.metadata, "deletionTimestamp") != "" {
		return Result{Status: Terminating, Message: "Resource scheduled for deletion"}, nil
	}
	o.status = o.in(o.top(), "status")
	generation, ok := o.count(o.metadata, "generation")
	observed, observes := o.count(o.status, "observedGeneration")
	if ok && observes && observed != generation {
		message := fmt.Sprintf("%s generation is %d, but latest observed generation is %d", o.obj.GetKind(), generation, observed)
		return Result{Status: InProgress, Message: message}, nil
	}
	o.conditions, o.outdated = o.conditionsIn(o.status)
	return Result{}, o.err
}

// seen returns result, or InProgress if the object has a generation and its controller
// has not observed any.
func (o *ruleObject) seen(result Result) (Result, error) {
	_, has := o.count(o.metadata, "generation")
	if _, observed := o.count(o.status, "observedGeneration"); has && !observed {
		return Result{Status: InProgress, Message: o.obj.GetKind() + " status.observedGeneration not found"}, nil
	}
	return result, nil
}

// ruleForOthers is the rule for a kind without one of its own. The first Ready
// condition with a known status decides.
func (r *Rules) ruleForOthers(o *ruleObject) (Result, error) {
	if r.WellKnown && o.has("Synced") {
		if missing := missingCondition(o.conditions, o.outdated, []string{"Synced"}); missing != "" {
			return Result{Status: InProgress, Message: missing}, nil
		}
	}
	for _, c := range o.conditions {
		if c.kind != "Ready" {
			continue
		}
		switch c.status {
		case "True":
			return Result{Status: Current, Message: "Resource is Ready"}, nil
		case "False", "Unknown":
			return Result{Status: InProgress, Message: c.message}, nil
		}
	}
	for _, c := range o.outdated {
		if c.kind == "Ready" || c.is("Reconciling", "True") || c.is("Stalled", "True") {
			return Result{Status: InProgress, Message: "condition " + c.kind + " is for an older generation"}, nil
		}
	}
	if r.Strict && o.untouched() && !ruleStatusless(o.kind) && (r.HasStatus == nil || r.HasStatus(o.kind)) {
		return Result{Status: InProgress, Message: "no status yet"}, nil
	}
	return Result{Status: Current, Message: "Resource is current"}, nil
}

// untouched reports whether no controller has written the status: there is none, or all
// conditions are those that a definition sets by default.
func (o *ruleObject) untouched() bool {
	if len(o.status.fields) == 0 {
		return true
	}
	written := func(c ruleCondition) bool { return c.status != "Unknown" || c.reason != "Pending" }
	return len(o.conditions) > 0 && len(o.outdated) == 0 && !slices.ContainsFunc(o.conditions, written)
}

// ruleForFixed is the rule for kinds of which kstatus reads only conditions, or
// nothing. They need no normalized fields. The rule gets only the conditions that are
// not for an older generation.
func ruleForFixed(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	list := o.list(o.status, "conditions")
	if len(list) == len(o.conditions) {
		return ruleFromKstatus(o.obj)
	}
	believed := make([]any, len(o.conditions))
	for i, c := range o.conditions {
		believed[i] = map[string]any{"type": c.kind, "status": c.status, "reason": c.reason, "message": c.message}
	}
	obj := &unstructured.Unstructured{Object: normalizedWith(o.obj.Object, []string{"status", "conditions"}, believed)}
	return ruleFromKstatus(obj)
}
