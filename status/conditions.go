// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// condition is a condition in the status of an object.
type condition struct{ kind, status, reason, message string }

type conditions []condition

// find returns the first condition of a type, or an empty one.
func (c conditions) find(kind string) condition {
	for _, condition := range c {
		if condition.kind == kind {
			return condition
		}
	}
	return condition{}
}

// conditionsOf reads the conditions of obj. It fails if they are not what conditions
// are.
func conditionsOf(obj *unstructured.Unstructured) (conditions, error) {
	status, ok := obj.Object["status"].(map[string]any)
	if !ok && obj.Object["status"] != nil {
		return nil, errors.New("the status is not an object")
	}
	list, ok := status["conditions"].([]any)
	if !ok && status["conditions"] != nil {
		return nil, errors.New("status.conditions is not a list")
	}
	all := make(conditions, 0, len(list))
	for i, entry := range list {
		fields, ok := entry.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("status.conditions[%d] is not an object", i)
		}
		var c condition
		for name, to := range map[string]*string{"type": &c.kind, "status": &c.status, "reason": &c.reason, "message": &c.message} {
			if *to, ok = fields[name].(string); !ok && fields[name] != nil {
				return nil, fmt.Errorf("status.conditions[%d].%s is not a string", i, name)
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// generic is what kstatus asks of objects of all kinds before it looks at the kind.
func generic(obj *unstructured.Unstructured, conditions conditions) (Result, bool) {
	if stringAt(obj, "metadata", "deletionTimestamp") != "" {
		return Result{Status: Terminating, Message: "Resource scheduled for deletion"}, true
	}
	generation, ok, _ := unstructured.NestedInt64(obj.Object, "metadata", "generation")
	observed, observes, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if ok && observes && generation != observed {
		return Result{Status: InProgress, Message: fmt.Sprintf("%s generation is %d, but latest observed generation is %d",
			obj.GetKind(), generation, observed)}, true
	}
	for _, c := range conditions {
		switch {
		case c.status != "True":
		case c.kind == "Reconciling":
			return Result{Status: InProgress, Message: c.message}, true
		case c.kind == "Stalled":
			return Result{Status: Failed, Message: c.message}, true
		}
	}
	return Result{}, false
}

func stringAt(obj *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(obj.Object, path...)
	return s
}
