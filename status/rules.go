// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/internal/usercode"
)

// Result is what a [Rule] says of an object.
type Result struct {
	Status  Status // InProgress, Failed, Current or Terminating
	Message string

	// Recheck is when the rule may say something else although nothing has
	// changed. Zero if time plays no part. An [Engine] asks again a second later
	// at the soonest.
	Recheck time.Time
}

// Rule tells the status of an object from the object and from those that it
// controls. It must be pure, apart from the time, which is now, and must not keep
// or modify what it is given. An error or a panic makes the status Unknown with the
// reason RuleError. The rule for panics is in the documentation of package resource.
type Rule func(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error)

// Rules say what the status of objects is. The zero value, and nil, are the rules
// of kstatus, statuses and messages alike, except that
//
//   - a number may be of any type that holds a whole number, a string such as "3"
//     included; a value that a rule reads and that is of a wrong type is an error,
//     be it one that kstatus reads as missing or one that it panics about;
//   - a Pod is Failed as well if a container cannot start, see PodWaiting, and
//     how long it has not been scheduled is counted by the time that is given;
//   - a ReplicaSet, a StatefulSet or a DaemonSet that is InProgress is Failed if
//     a Pod of its own is, leaving out Pods that are being deleted, that cannot be
//     scheduled or whose object is not known;
//   - the fields below say otherwise.
//
// The status of a Deployment is what the Deployment itself tells, whatever becomes
// of its ReplicaSets.
//
// Rules must not be changed once they are in use; any number of goroutines may
// use them.
type Rules struct {
	// ByKind are rules that take the place of those for their kinds, which they
	// may call: (*Rules)(nil).Compute.
	ByKind map[schema.GroupKind]Rule

	// Owns says which kinds of objects those of a kind control, for kinds of
	// which nothing is known, or in place of what is known, see Children.
	// Cycles are allowed: who follows the kinds must take each at most once on
	// a path.
	Owns map[schema.GroupKind][]schema.GroupKind

	// Keep are fields that Trim must leave in objects of a kind, beside those
	// that it leaves anyway: paths such as "spec.strategy", or "*" for all but
	// the managed fields.
	Keep map[schema.GroupKind][]string

	// Jobs says when a Job is Current. Default: JobStarted.
	Jobs JobPolicy

	// PodWaiting are the reasons for which a container, or an init container,
	// of a Pod that is pending or running waits in vain: the Pod is Failed.
	// Nil: CrashLoopBackOff, ImagePullBackOff, InvalidImageName,
	// ErrImageNeverPull, ImageInspectError, CreateContainerConfigError and
	// CreateContainerError. Not ErrImagePull, which the kubelet reports of each
	// attempt before it backs off. Empty, but not nil: none.
	PodWaiting []string

	// UnboundClaims makes a PersistentVolumeClaim that is Pending Current. A
	// claim does not tell whether its storage class binds it at once or when a
	// Pod uses it (WaitForFirstConsumer), and nobody may be going to. By
	// default it is InProgress until it is bound. A volume that cannot be
	// provisioned then shows in the Pod that waits for it.
	UnboundClaims bool

	// Strict makes an object without status InProgress, if there is no rule for
	// its kind and the kind is not known to have none: its controller has not
	// seen it yet. By default it is Current.
	Strict bool

	// HasStatus limits Strict to the kinds for which it returns true, such as
	// those whose definition has a status subresource. It is called by Compute
	// and must be quick and not block. Nil: true for all kinds.
	HasStatus func(schema.GroupKind) bool
}

// JobPolicy says when a Job is Current.
type JobPolicy int

const (
	// JobStarted is when it has started, or is complete.
	JobStarted JobPolicy = iota

	// JobCompleted is when it is complete, or has met its success criteria.
	// Until then it is InProgress, also while it is suspended, unless it has
	// failed or is bound to.
	JobCompleted
)

// Validate reports what is wrong with the rules, nil if nothing is.
func (r *Rules) Validate() error {
	if r == nil {
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("status.Rules: "+format, args...)) }
	for kind, rule := range r.ByKind {
		if kind.Kind == "" {
			bad("ByKind has an entry without a kind (group %q): name the kind", kind.Group)
		}
		if rule == nil {
			bad("ByKind has no rule for %s: give one, or leave the kind out", kind)
		}
	}
	for owner, kinds := range r.Owns {
		if owner.Kind == "" || slices.ContainsFunc(kinds, func(k schema.GroupKind) bool { return k.Kind == "" }) {
			bad("Owns has an entry without a kind (%q owns %q): name the kinds", owner, kinds)
		}
	}
	for kind, paths := range r.Keep {
		if kind.Kind == "" {
			bad("Keep has an entry without a kind (group %q): name the kind", kind.Group)
		}
		for _, path := range paths {
			if !trimPathValid(path) {
				bad("Keep has the path %q for %s: want names with dots in between, or %q", path, kind, trimAll)
			}
		}
	}
	if slices.Contains(r.PodWaiting, "") {
		bad("PodWaiting has an empty reason: leave it out")
	}
	if r.Jobs != JobStarted && r.Jobs != JobCompleted {
		bad("Jobs is %d: want JobStarted or JobCompleted", r.Jobs)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Compute returns the status of obj, whose children are given; it keeps and
// modifies neither. The time is now. The result is zero if there is an error:
// obj is nil, or is not what the rule can read, or the rule in ByKind has failed,
// panicked (a [store.PanicError]), or returned a status that no rule may return. Compute
// never panics.
func (r *Rules) Compute(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (result Result, err error) {
	if obj == nil || obj.Object == nil {
		return Result{}, errors.New("status: there is no object to tell the status of: obj is nil or empty")
	}
	if r == nil {
		r = &defaultRules
	}
	kind := obj.GroupVersionKind().GroupKind()
	defer func() {
		switch p := recover(); {
		case p != nil:
			result, err = Result{}, usercode.Error("rule for "+kind.String(), IDOf(obj).Key(), p)
		case err != nil:
			result, err = Result{}, fmt.Errorf("rule for %s: %w", kind, err)
		}
	}()
	rule, ok := r.ByKind[kind]
	if !ok {
		return r.computeBuiltin(kind, obj, children, now)
	}
	result, err = rule(obj, children, now)
	if err == nil && !slices.Contains(ruleStatuses, result.Status) {
		err = fmt.Errorf("returned the status %q: want one of %q, or an error if it cannot be told", result.Status, ruleStatuses)
	}
	return result, err
}

var (
	defaultRules Rules
	ruleStatuses = []Status{InProgress, Failed, Current, Terminating}
)

// computeBuiltin applies the rule for the kind, whatever ByKind says.
func (r *Rules) computeBuiltin(kind schema.GroupKind, obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error) {
	o := ruleObject{obj: obj, kind: kind}
	result, err := o.general()
	if err != nil {
		return Result{}, err
	}
	builtin, known := ruleKinds[kind]
	switch {
	case result.Status != "":
	case known:
		result, err = builtin.rule(r, &o, now)
	default:
		result, err = r.ruleForOthers(&o)
	}
	if err == nil && builtin.podsFail && result.Status == InProgress {
		result = ruleOfPods(result, children)
	}
	return result, err
}

// Children returns the kinds of the objects that those of a kind control and that
// belong to their status: what Owns says, or else ReplicaSet for Deployment, Pod
// for ReplicaSet, StatefulSet, DaemonSet and Job, Job for CronJob. The caller owns
// the result.
func (r *Rules) Children(owner schema.GroupKind) []schema.GroupKind {
	if r != nil {
		if kinds, ok := r.Owns[owner]; ok {
			return slices.Clone(kinds)
		}
	}
	return slices.Clone(ruleKinds[owner].children)
}

// looksAtChildren reports whether a status that Compute returned for an object of a kind
// may be another one with other children. Of a rule in ByKind it is not known.
func (r *Rules) looksAtChildren(kind schema.GroupKind, status Status) bool {
	if r != nil && r.ByKind[kind] != nil {
		return true
	}
	return ruleKinds[kind].podsFail && (status == InProgress || status == Failed)
}
