// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
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
// controls. It must be pure, apart from the time, which is now, and must not keep or
// modify what it is given. It may be called by several goroutines at once. An error or
// a panic makes the status Unknown with the reason [RuleError].
type Rule func(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error)

// Rules say what the status of objects is. They must not be changed while in use.
//
// The zero value, and nil, are the rules of kstatus: an object is Current if its
// controller has seen its latest generation and nothing says that work is left; a kind
// without a rule of its own is judged by the conditions Reconciling, Stalled and
// Ready, and is Current if it has none of these. Beyond kstatus, they bear with
// numbers of the wrong type and with malformed lists of containers; and a ReplicaSet,
// StatefulSet or DaemonSet on its way with pods that are Failed is Failed. A pod
// counts for that unless it is being deleted, or waits for a node. A Deployment is
// Failed when its progress deadline is over, whatever its pods are.
type Rules struct {
	// ByKind are rules that replace those for a kind.
	ByKind map[schema.GroupKind]Rule

	// Keep are the paths, such as "spec.host", that a rule of ByKind reads besides
	// metadata and status; an [Engine] drops the rest. Default: all is kept.
	Keep map[schema.GroupKind][]string

	// Owns are the kinds of the objects that those of a kind control, and whose
	// status belongs to theirs. For the kinds named here it replaces what is built
	// in: Deployment, ReplicaSet and Pod; StatefulSet, DaemonSet, Job and Pod; CronJob
	// and Job. In a cycle of kinds each is looked at once.
	Owns map[schema.GroupKind][]schema.GroupKind

	// Jobs says when a job is Current. Default: [JobStarted].
	Jobs JobPolicy

	// PodFailures are the reasons for which a container waits, init containers
	// included, that make a pod Failed; see [PodFailureReasons]. Default:
	// CrashLoopBackOff of a container of a running pod.
	PodFailures []string

	// Strict has an object be InProgress that has no status yet, if its kind has no
	// rule of its own and HasStatus says that there is going to be one. Default:
	// such an object is Current.
	Strict bool

	// HasStatus says for Strict whether objects of a kind have a status. It must not
	// block. Default: all have.
	HasStatus func(schema.GroupKind) bool
}

// Validate returns an error if the rules make no sense. Constructors that take
// rules call it.
func (r *Rules) Validate() error {
	if r == nil {
		return nil
	}
	for kind, rule := range r.ByKind {
		if rule == nil || kind.Kind == "" {
			return fmt.Errorf("Rules.ByKind[%q]: the kind or the function is missing", kind)
		}
	}
	for kind := range r.Keep {
		if r.ByKind[kind] == nil {
			return fmt.Errorf("Rules.Keep[%q]: there is no rule for it in ByKind", kind)
		}
	}
	for kind, owned := range r.Owns {
		if kind.Kind == "" || slices.ContainsFunc(owned, func(k schema.GroupKind) bool { return k.Kind == "" }) {
			return fmt.Errorf("Rules.Owns[%q]: a kind without a name", kind)
		}
	}
	switch r.Jobs {
	case "", JobStarted, JobCompleted:
		return nil
	}
	return fmt.Errorf("Rules.Jobs is %q: give %q or %q", r.Jobs, JobStarted, JobCompleted)
}

// Compute returns the status of obj, whose children are given. It never panics: if
// the rule does, or cannot read the object, there is an error. It makes no request,
// and neither keeps nor modifies obj.
func (r *Rules) Compute(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (result Result, err error) {
	if obj == nil || obj.Object == nil {
		return Result{}, errors.New("there is no object")
	}
	defer func() {
		if v := recover(); v != nil {
			result, err = Result{}, fmt.Errorf("the rule for %s panics: %v\n%s", IDOf(obj).GroupKind, v, debug.Stack())
		}
	}()
	if r == nil {
		r = &Rules{}
	}
	return r.compute(obj, children, now)
}

func (r *Rules) compute(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error) {
	kind := obj.GroupVersionKind().GroupKind()
	if rule := r.ByKind[kind]; rule != nil {
		return rule(obj, children, now)
	}
	obj = normalized(obj)
	if kind == podKind {
		return r.pod(obj, now)
	}
	computed, err := kstatus.Compute(obj)
	if err != nil {
		return Result{}, err
	}
	result := Result{Status: Status(computed.Status), Message: computed.Message}
	switch kind {
	case jobKind:
		return r.job(obj, result), nil
	case replicaSetKind, statefulSetKind, daemonSetKind:
		return failedByPods(result, children), nil
	}
	if r.Strict && result.Status == Current && !r.hasRule(obj) && !hasStatus(obj) && (r.HasStatus == nil || r.HasStatus(kind)) {
		return Result{Status: InProgress, Message: "No status yet"}, nil
	}
	return result, nil
}

// hasRule reports whether something is known of the kind of obj.
func (r *Rules) hasRule(obj *unstructured.Unstructured) bool {
	return kstatus.GetLegacyConditionsFn(obj) != nil || r.MetadataOnly(obj.GroupVersionKind().GroupKind())
}

func hasStatus(obj *unstructured.Unstructured) bool {
	status, _ := obj.Object["status"].(map[string]any)
	return len(status) > 0
}
