// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// ruleScheduleWindow is how long a Pod can be unschedulable before it is Failed.
const ruleScheduleWindow = 15 * time.Second

// crashLoop is the only reason that kstatus looks for. Its message is that of kstatus.
const crashLoop = "CrashLoopBackOff"

var defaultPodWaiting = []string{
	crashLoop,
	"ImagePullBackOff",
	"InvalidImageName",
	"ErrImageNeverPull",
	"ImageInspectError",
	"CreateContainerConfigError",
	"CreateContainerError",
	"RunContainerError",
}

// ruleForPod is the rule of kstatus for more reasons and more containers. kstatus looks
// for CrashLoopBackOff in the containers of running Pods only, and takes a Pod that has
// failed as Current.
func (r *Rules) ruleForPod(o *ruleObject, now time.Time) (Result, error) {
	phase := o.text(o.status, "phase")
	if o.err != nil {
		return Result{}, o.err
	}
	switch phase {
	case "":
		return Result{Status: InProgress, Message: "Pod phase not available"}, nil
	case "Succeeded":
		return Result{Status: Current, Message: "Pod has completed successfully"}, nil
	case "Failed":
		return Result{Status: Failed, Message: "Pod has completed, but not successfully"}, nil
	case "Running":
		if o.conditions.are("Ready", "True") {
			return Result{Status: Current, Message: "Pod is Ready"}, nil
		}
		return r.rulePodWaiting(o, Result{Status: InProgress, Message: "Pod is running but is not Ready"})
	case "Pending":
		if o.unschedulable() {
			return rulePodUnschedulable(o, now)
		}
		return r.rulePodWaiting(o, Result{Status: InProgress, Message: "Pod is in the Pending phase"})
	}
	return Result{}, errors.New("status.phase is not a known phase of a Pod")
}

// unschedulable reports whether the first PodScheduled condition that is False has the
// reason Unschedulable.
func (o *ruleObject) unschedulable() bool {
	for _, c := range o.conditions {
		if c.is("PodScheduled", "False") {
			return c.reason == "Unschedulable"
		}
	}
	return false
}

func rulePodUnschedulable(o *ruleObject, now time.Time) (Result, error) {
	var created time.Time
	if text := o.text(o.metadata, "creationTimestamp"); text != "" {
		var err error
		if created, err = time.Parse(time.RFC3339, text); err != nil {
			return Result{}, errors.New("metadata.creationTimestamp is not a time in RFC 3339 format")
		}
	}
	if o.err != nil {
		return Result{}, o.err
	}
	if until := created.Add(ruleScheduleWindow); now.Before(until) {
		return Result{Status: InProgress, Message: "Pod has not been scheduled", Recheck: until}, nil
	}
	return Result{Status: Failed, Message: "Pod could not be scheduled"}, nil
}

// rulePodWaiting returns Failed if a container waits for one of the reasons, and
// otherwise if none does.
func (r *Rules) rulePodWaiting(o *ruleObject, otherwise Result) (Result, error) {
	reasons := r.PodWaiting
	if reasons == nil {
		reasons = defaultPodWaiting
	}
	var names, why []string
	onlyCrashes := true
	for _, field := range [...]string{"initContainerStatuses", "containerStatuses"} {
		for _, v := range o.list(o.status, field) {
			container := o.element("status."+field+"[]", v)
			name := o.text(container, "name")
			reason := o.text(o.in(o.in(container, "state"), "waiting"), "reason")
			if reason == "" || !slices.Contains(reasons, reason) {
				continue
			}
			names, why = append(names, name), append(why, name+" ("+reason+")")
			onlyCrashes = onlyCrashes && reason == crashLoop
		}
	}
	switch {
	case o.err != nil:
		return Result{}, o.err
	case len(names) == 0:
		return otherwise, nil
	case onlyCrashes:
		return Result{Status: Failed, Message: "Containers in CrashLoop state: " + strings.Join(names, ",")}, nil
	}
	return Result{Status: Failed, Message: "Containers cannot start: " + strings.Join(why, ", ")}, nil
}
