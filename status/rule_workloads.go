// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"fmt"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ruleForDeployment is the rule of kstatus. The progress deadline counts only through
// the condition that the controller sets, and not for a paused Deployment.
func (r *Rules) ruleForDeployment(o *ruleObject, _ time.Time) (Result, error) {
	spec := o.in(o.top(), "spec")
	want := o.countOr(spec, "replicas", 1)
	deadline := o.countOr(spec, "progressDeadlineSeconds", math.MaxInt32)
	paused := r.PausedDeployments && o.boolean(spec, "paused")
	replicas := o.countOr(o.status, "replicas", 0)
	updated := o.countOr(o.status, "updatedReplicas", 0)
	ready := o.countOr(o.status, "readyReplicas", 0)
	available := o.countOr(o.status, "availableReplicas", 0)
	if o.err != nil {
		return Result{}, o.err
	}
	isAvailable := false
	progressed := deadline == math.MaxInt32 || paused // without a deadline there is no Progressing condition
	for _, c := range o.conditions {
		switch c.kind {
		case "Progressing":
			if c.reason == "ProgressDeadlineExceeded" {
				return Result{Status: Failed, Message: "Progress deadline exceeded"}, nil
			}
			progressed = progressed || c.status == "True" && c.reason == "NewReplicaSetAvailable"
		case "Available":
			isAvailable = isAvailable || c.status == "True"
		}
	}
	switch {
	case replicas < want:
		return inProgressOf("Replicas", replicas, want), nil
	case updated < want:
		return inProgressOf("Updated", updated, want), nil
	case replicas > want:
		return inProgressExtra(replicas - want), nil
	case available < updated:
		return inProgressOf("Available", available, updated), nil
	case ready < want:
		return inProgressOf("Ready", ready, want), nil
	case !progressed:
		return Result{Status: InProgress, Message: "ReplicaSet not Available"}, nil
	case !isAvailable:
		return Result{Status: InProgress, Message: "Deployment not Available"}, nil
	}
	return Result{Status: Current, Message: fmt.Sprintf("Deployment is available. Replicas: %d", replicas)}, nil
}

// ruleForReplicaSet is the rule of kstatus, which takes a ReplicaSet of no replicas as
// Current before its controller has seen it.
func ruleForReplicaSet(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	want := o.countOr(o.in(o.top(), "spec"), "replicas", 1)
	replicas := o.countOr(o.status, "replicas", 0)
	labelled := o.countOr(o.status, "fullyLabeledReplicas", 0)
	available := o.countOr(o.status, "availableReplicas", 0)
	ready := o.countOr(o.status, "readyReplicas", 0)
	if o.err != nil {
		return Result{}, o.err
	}
	if o.conditions.are("ReplicaFailure", "True") {
		return Result{Status: InProgress, Message: "Replica Failure condition. Check Pods"}, nil
	}
	switch {
	case labelled < want:
		return inProgressOf("Labelled", labelled, want), nil
	case available < want:
		return inProgressOf("Available", available, want), nil
	case ready < want:
		return inProgressOf("Ready", ready, want), nil
	case replicas > want:
		return inProgressExtra(replicas - want), nil
	}
	result := Result{Status: Current, Message: fmt.Sprintf("%s is available. Replicas: %d", o.kind.Kind, replicas)}
	if want == 0 {
		return o.seen(result)
	}
	return result, nil
}

// ruleForStatefulSet is the rule of kstatus, which takes a StatefulSet as Current if it
// has the strategy OnDelete, or no replicas and no controller that has seen it.
func ruleForStatefulSet(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	result, err := ruleFromKstatus(o.obj, statefulSetFields...)
	if err != nil || result.Status != Current {
		return result, err
	}
	want := o.countOr(o.in(o.top(), "spec"), "replicas", 1)
	replicas := o.countOr(o.status, "replicas", 0)
	ready := o.countOr(o.status, "readyReplicas", 0)
	switch {
	case replicas < want:
		return inProgressOf("Replicas", replicas, want), nil
	case ready < want:
		return inProgressOf("Ready", ready, want), nil
	case replicas > want:
		return inProgressExtra(replicas - want), nil
	case want == 0:
		return o.seen(result)
	}
	return result, nil
}

// ruleForDaemonSet is the rule of kstatus. With the strategy OnDelete, it does not wait
// for updated Pods.
func ruleForDaemonSet(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	result, err := ruleFromKstatus(o.obj, daemonSetFields...)
	want := o.countOr(o.status, "desiredNumberScheduled", 0)
	updated := o.countOr(o.status, "updatedNumberScheduled", 0)
	onDelete := o.text(o.in(o.in(o.top(), "spec"), "updateStrategy"), "type") == "OnDelete"
	if err == nil {
		err = o.err
	}
	if err != nil || !onDelete || result != inProgressOf("Updated", updated, want) {
		return result, err
	}
	available := o.countOr(o.status, "numberAvailable", 0)
	ready := o.countOr(o.status, "numberReady", 0)
	switch {
	case available < want:
		return inProgressOf("Available", available, want), nil
	case ready < want:
		return inProgressOf("Ready", ready, want), nil
	}
	return Result{Status: Current, Message: fmt.Sprintf("All replicas are ready, %d of %d are updated (OnDelete)", updated, want)}, nil
}

func inProgressOf(what string, n, of int64) Result {
	return Result{Status: InProgress, Message: fmt.Sprintf("%s: %d/%d", what, n, of)}
}

func inProgressExtra(n int64) Result {
	return Result{Status: InProgress, Message: fmt.Sprintf("Pending termination: %d", n)}
}

// ruleOfPods returns Failed if Pods have failed for good, and own if not.
func ruleOfPods(own Result, children []ObjectStatus) Result {
	failed := 0
	for i := range children {
		c := &children[i]
		if c.ID.GroupKind == podKind && c.Status == Failed && !rulePodIgnored(c.Object) {
			failed++
		}
	}
	if failed == 0 {
		return own
	}
	return Result{Status: Failed, Message: fmt.Sprintf("%d pods have failed", failed)}
}

// rulePodIgnored reports whether the failure of a Pod does not make its owner Failed: the
// Pod is being deleted, its owner replaces it, a node may be added for it, or its object
// is not known.
func rulePodIgnored(pod *unstructured.Unstructured) bool {
	if pod == nil {
		return true
	}
	o := ruleObject{obj: pod}
	o.metadata, o.status = o.in(o.top(), "metadata"), o.in(o.top(), "status")
	o.conditions, _ = o.conditionsIn(o.status)
	return o.text(o.metadata, "deletionTimestamp") != "" || o.text(o.status, "phase") == "Failed" || o.unschedulable()
}
