// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"fmt"
	"time"
)

// ruleForJob is the rule of kstatus, or that of JobCompleted. kstatus does not read the
// conditions that announce the end.
func (r *Rules) ruleForJob(o *ruleObject, _ time.Time) (Result, error) {
	if r.Jobs != JobStarted && r.Jobs != JobCompleted {
		return Result{}, fmt.Errorf("Rules.Jobs is %d: want JobStarted or JobCompleted", r.Jobs)
	}
	job := readRuleJob(o)
	if o.err != nil {
		return Result{}, o.err
	}
	if result := job.ended(o.conditions); result.Status != "" {
		return result, nil
	}
	switch {
	case r.Jobs == JobCompleted && job.isSuspended(o.conditions):
		return Result{Status: InProgress, Message: "Job is suspended"}, nil
	case job.started == "":
		return Result{Status: InProgress, Message: "Job not started"}, nil
	case r.Jobs == JobCompleted:
		return Result{Status: InProgress, Message: job.progress()}, nil
	}
	return Result{Status: Current, Message: job.progress()}, nil
}

// ruleJob holds the fields of a Job that the rule reads, except the conditions.
type ruleJob struct {
	completions, succeeded, active, failed int64
	started                                string
	suspend                                bool
}

func readRuleJob(o *ruleObject) ruleJob {
	spec := o.in(o.top(), "spec")
	parallelism := o.countOr(spec, "parallelism", 1)
	return ruleJob{
		completions: o.countOr(spec, "completions", parallelism),
		succeeded:   o.countOr(o.status, "succeeded", 0),
		active:      o.countOr(o.status, "active", 0),
		failed:      o.countOr(o.status, "failed", 0),
		started:     o.text(o.status, "startTime"),
		suspend:     o.boolean(spec, "suspend"),
	}
}

// ended returns how the Job ended or is about to end, or a zero Result. The controller
// sets the conditions that announce the end while Pods are still running.
func (j ruleJob) ended(conditions ruleConditions) Result {
	for _, c := range conditions {
		switch {
		case c.is("Complete", "True"):
			return Result{Status: Current, Message: fmt.Sprintf("Job Completed. succeeded: %d/%d", j.succeeded, j.completions)}
		case c.is("Failed", "True"):
			return Result{Status: Failed, Message: fmt.Sprintf("Job Failed. failed: %d/%d", j.failed, j.completions)}
		}
	}
	switch {
	case conditions.are("SuccessCriteriaMet", "True"):
		return Result{Status: Current, Message: fmt.Sprintf("Job has met its success criteria. succeeded: %d/%d", j.succeeded, j.completions)}
	case conditions.are("FailureTarget", "True"):
		return Result{Status: Failed, Message: fmt.Sprintf("Job is about to fail. failed: %d/%d", j.failed, j.completions)}
	}
	return Result{}
}

func (j ruleJob) isSuspended(conditions ruleConditions) bool {
	return j.suspend || conditions.are("Suspended", "True")
}

func (j ruleJob) progress() string {
	return fmt.Sprintf("Job in progress. success:%d, active: %d, failed: %d", j.succeeded, j.active, j.failed)
}
