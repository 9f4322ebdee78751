// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// JobPolicy says when a job is Current.
type JobPolicy string

const (
	JobStarted   JobPolicy = "started"   // once it has started, as for kstatus
	JobCompleted JobPolicy = "completed" // once it has completed
)

// job adjusts what kstatus says of a job.
func (r *Rules) job(obj *unstructured.Unstructured, result Result) Result {
	if r.Jobs != JobCompleted || result.Status != Current {
		return result
	}
	conditions, err := conditionsOf(obj)
	if err == nil && conditions.find("Complete").status == "True" {
		return result
	}
	result.Status = InProgress
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended {
		result.Message = "Job is suspended"
	}
	return result
}
