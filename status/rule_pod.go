// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// unschedulableAfter is how old a pod must be to be Failed because no node takes it.
const unschedulableAfter = 15 * time.Second

const crashLoop = "CrashLoopBackOff"

// PodFailureReasons returns reasons for which containers wait and that hardly ever end
// by themselves, for [Rules.PodFailures].
func PodFailureReasons() []string {
	return []string{
		crashLoop, "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
		"CreateContainerConfigError", "CreateContainerError", "RunContainerError",
	}
}

// pod is the rule for pods: that of kstatus, by a clock that is given.
func (r *Rules) pod(obj *unstructured.Unstructured, now time.Time) (Result, error) {
	conditions, err := conditionsOf(obj)
	if err != nil {
		return Result{}, err
	}
	if result, ok := generic(obj, conditions); ok {
		return result, nil
	}
	switch phase := stringAt(obj, "status", "phase"); phase {
	case "Succeeded":
		return Result{Status: Current, Message: "Pod has completed successfully"}, nil
	case "Failed":
		return Result{Status: Current, Message: "Pod has completed, but not successfully"}, nil
	case "Running":
		if ready := conditions.find("Ready"); ready.status == "True" {
			return Result{Status: Current, Message: "Pod is Ready"}, nil
		}
		if message := r.failing(obj, true); message != "" {
			return Result{Status: Failed, Message: message}, nil
		}
		return Result{Status: InProgress, Message: "Pod is running but is not Ready"}, nil
	case "Pending":
		if scheduled := conditions.find("PodScheduled"); scheduled.status == "False" && scheduled.reason == "Unschedulable" {
			if late := obj.GetCreationTimestamp().Add(unschedulableAfter); now.Before(late) {
				return Result{Status: InProgress, Message: "Pod has not been scheduled", Recheck: late}, nil
			}
			return Result{Status: Failed, Message: "Pod could not be scheduled"}, nil
		}
		if message := r.failing(obj, false); message != "" {
			return Result{Status: Failed, Message: message}, nil
		}
		return Result{Status: InProgress, Message: "Pod is in the Pending phase"}, nil
	case "":
		return Result{Status: InProgress, Message: "Pod phase not available"}, nil
	default:
		return Result{}, fmt.Errorf("unknown phase %s", phase)
	}
}

// failing says which containers of a pod wait for a reason that is a failure.
func (r *Rules) failing(obj *unstructured.Unstructured, running bool) string {
	lists, reasons := []string{"containerStatuses", "initContainerStatuses"}, r.PodFailures
	if reasons == nil {
		if !running {
			return ""
		}
		lists, reasons = lists[:1], []string{crashLoop}
	}
	names := map[string][]string{} // by reason
	for _, list := range lists {
		for name, reason := range waiting(obj, list) {
			if slices.Contains(reasons, reason) {
				names[reason] = append(names[reason], name)
			}
		}
	}
	var messages []string
	for _, reason := range reasons {
		switch {
		case len(names[reason]) == 0:
		case reason == crashLoop: // as kstatus says it
			messages = append(messages, "Containers in CrashLoop state: "+strings.Join(names[reason], ","))
		default:
			messages = append(messages, fmt.Sprintf("Containers waiting for %s: %s", reason, strings.Join(names[reason], ",")))
		}
		delete(names, reason)
	}
	return strings.Join(messages, "; ")
}

// waiting yields the names of the containers that wait, and for what. Entries that
// are not as they should be are left out.
func waiting(obj *unstructured.Unstructured, list string) func(yield func(name, reason string) bool) {
	status, _ := obj.Object["status"].(map[string]any)
	containers, _ := status[list].([]any)
	return func(yield func(name, reason string) bool) {
		for _, c := range containers {
			container, _ := c.(map[string]any)
			state, _ := container["state"].(map[string]any)
			wait, _ := state["waiting"].(map[string]any)
			name, named := container["name"].(string)
			reason, _ := wait["reason"].(string)
			if named && reason != "" && !yield(name, reason) {
				return
			}
		}
	}
}

// podCounts reports whether a pod that is Failed makes who controls it Failed: not if
// it goes anyway, or waits for a node, which an autoscaler may add.
func podCounts(s ObjectStatus) bool {
	if s.ID.GroupKind != podKind || s.Status != Failed || s.Object == nil || s.Object.GetDeletionTimestamp() != nil {
		return false
	}
	conditions, err := conditionsOf(s.Object)
	if err != nil {
		return false
	}
	scheduled := conditions.find("PodScheduled")
	return scheduled.status != "False" || scheduled.reason != "Unschedulable"
}

// failedByPods makes a result Failed if pods are.
func failedByPods(result Result, children []ObjectStatus) Result {
	if result.Status != InProgress {
		return result
	}
	var failed int
	for _, child := range children {
		if podCounts(child) {
			failed++
		}
	}
	if failed > 0 {
		return Result{Status: Failed, Message: fmt.Sprintf("%d pods have failed", failed)}
	}
	return result
}
