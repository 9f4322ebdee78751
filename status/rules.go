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

// Result is the result of a [Rule].
type Result struct {
	Status  Status // InProgress, Failed, Current or Terminating
	Message string

	// Recheck is when the result can change without a change of the object. Zero: it
	// does not depend on time. An [Engine] evaluates again then, but not within a
	// second.
	Recheck time.Time
}

// Rule computes the status of an object from the object and the objects that it
// controls. A rule must depend on its arguments only, of which now is the time, and
// must not keep or modify them. If it fails or panics the status is Unknown with the
// reason RuleError. Package resource documents how panics are handled.
type Rule func(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error)

// Rules compute the status of objects. The zero value and nil are the rules of kstatus,
// with the same statuses and messages, and these differences:
//
//   - A number can have any type that holds a whole number, also a string such as "3".
//     A value of a wrong type in a field that a rule reads is an error. For some of
//     them, kstatus takes the field as missing, or panics.
//   - A Pod is also Failed in the phase Failed, and if a container cannot start: see
//     PodWaiting. The time that a Pod has not been scheduled is measured by the
//     argument now.
//   - A ReplicaSet, ReplicationController, StatefulSet or DaemonSet that is InProgress is
//     Failed if one of its Pods is. Pods do not count that are being deleted, are in the
//     phase Failed or cannot be scheduled, since their controller replaces them, or a
//     node can be added, or whose object is unknown.
//   - A ReplicaSet or StatefulSet of no replicas, and a PodDisruptionBudget, are
//     InProgress until their controller has observed a generation, if they have one.
//     For kstatus they are Current before anybody has seen them.
//   - With the update strategy OnDelete, a StatefulSet or DaemonSet is Current if its
//     Pods are ready, of whatever revision: nobody replaces them until a user deletes
//     them. kstatus takes such a StatefulSet as Current without any Pod, and waits for
//     such a DaemonSet until the user has deleted all old Pods.
//   - A PodDisruptionBudget that the controller fails to compute (reason SyncFailed) is
//     InProgress.
//   - A PersistentVolumeClaim in the phase Lost is Failed: its volume is gone.
//   - A Job that is about to fail (condition FailureTarget) is Failed.
//   - An APIService is Current if its condition Available is True. A
//     ReplicationController has the rule of a ReplicaSet. kstatus has no rule for them.
//   - A condition with an observedGeneration that is older than the generation of the
//     object is not read: it is of an older spec. If it is a Ready condition, or
//     Reconciling or Stalled is True in it, the object is InProgress, unless another
//     condition or the rule of the kind decides.
//   - The fields below change rules.
//
// A Deployment is Failed after its progress deadline, or with a condition Stalled. Its
// status does not depend on its ReplicaSets and Pods: they are children, see [Rules.Owns],
// and only shown in [ObjectStatus].
//
// Rules are safe for concurrent use, and must not be changed once they are in use.
type Rules struct {
	// ByKind holds rules that replace the rule of a kind. They can call the replaced
	// rule: (*Rules)(nil).Compute.
	ByKind map[schema.GroupKind]Rule

	// Owns holds the kinds that objects of a kind control. An entry replaces the
	// default: see Children. Cycles are allowed: code that follows the kinds must visit
	// each at most once on a path.
	Owns map[schema.GroupKind][]schema.GroupKind

	// Keep holds the fields of a kind that Trim leaves in objects in addition: paths
	// such as "spec.strategy", or "*" for everything except the managed fields.
	Keep map[schema.GroupKind][]string

	// KeepAll has Trim leave everything except the managed fields in the objects of all
	// kinds. Secrets are then in memory with their data.
	KeepAll bool

	// Jobs is when a Job is Current. Default: JobStarted.
	Jobs JobPolicy

	// PodWaiting are the reasons of a waiting container or init container that make a
	// pending or running Pod Failed. Nil: CrashLoopBackOff, ImagePullBackOff,
	// InvalidImageName, ErrImageNeverPull, ImageInspectError,
	// CreateContainerConfigError, CreateContainerError and RunContainerError. Not
	// ErrImagePull, which the kubelet reports for each attempt before it backs off.
	// Empty, but not nil: none.
	PodWaiting []string

	// UnboundClaims makes a Pending PersistentVolumeClaim Current. A claim does not say
	// whether its storage class binds it at once or for its first Pod
	// (WaitForFirstConsumer), which may never come. By default a claim is InProgress
	// until it is bound. A volume that cannot be provisioned then shows in the Pod that
	// waits for it.
	UnboundClaims bool

	// PausedDeployments makes a paused Deployment Current if all its Pods are updated
	// and available, as kubectl rollout status does. By default a paused Deployment is
	// InProgress: its controller does not roll out what it is given next.
	PausedDeployments bool

	// LoadBalancers makes a Service of type LoadBalancer and an Ingress InProgress until
	// their status has an address. By default the address is not read, since in a
	// cluster without such a controller it never comes, and some controllers of
	// Ingresses do not set it.
	LoadBalancers bool

	// WellKnown adds rules for widely used kinds:
	//
	//   - Gateway API: GatewayClass, Gateway, ListenerSet and BackendTLSPolicy, and the
	//     routes, which each of their parents must accept
	//   - cert-manager: Certificate, CertificateRequest, Issuer, ClusterIssuer, Order
	//     and Challenge
	//   - Cluster API: Cluster, Machine, MachineSet, MachineDeployment and
	//     KubeadmControlPlane, in v1beta1 and v1beta2
	//   - Crossplane: Provider, Configuration, Function and CompositeResourceDefinition,
	//     and objects of kinds without a rule: they are InProgress while their condition
	//     Synced is not True
	//   - Argo CD: Application, ApplicationSet and Rollout
	//   - HorizontalPodAutoscaler, which must be able to read its metrics
	//
	// By default they have the rule of kinds without one of their own, as in kstatus. A
	// route without a controller, or an autoscaler in a cluster without metrics, would
	// otherwise keep programs waiting that do not wait today.
	WellKnown bool

	// Strict makes an object InProgress that its controller has not seen yet: one
	// without a status, or one whose conditions are all Unknown with the reason Pending,
	// as some definitions, such as that of Gateway, set them by default. By default it
	// is Current. Strict does not apply to kinds with a rule of their own, and to kinds
	// of Kubernetes that have no status.
	Strict bool

	// HasStatus limits Strict to the kinds for which it returns true, such as those
	// with a status subresource. Compute calls it, so it must be quick and must not
	// block. Nil: true for all kinds.
	HasStatus func(schema.GroupKind) bool
}

// JobPolicy is when a Job is Current.
type JobPolicy int

const (
	// JobStarted: the Job has started, or is complete. It is Failed once it has failed or
	// is about to.
	JobStarted JobPolicy = iota

	// JobCompleted: the Job is complete, or has met its success criteria. Until then it
	// is InProgress, also while suspended. It is Failed as with JobStarted.
	JobCompleted
)

// Validate returns all mistakes in the rules, or nil.
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

// Compute returns the status of obj at the time now. It keeps and modifies neither obj
// nor children, and never panics. It returns an error and a zero result if obj is nil,
// if the rule cannot read obj, or if a rule in ByKind fails, panics (a
// [store.PanicError]) or returns a status that a rule must not return.
func (r *Rules) Compute(obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (result Result, err error) {
	if obj == nil || obj.Object == nil {
		return Result{}, errors.New("status: Rules.Compute got no object: obj is nil or empty")
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
		err = fmt.Errorf("returned the status %q: want one of %q, or an error", result.Status, ruleStatuses)
	}
	return result, err
}

var (
	defaultRules Rules
	ruleStatuses = []Status{InProgress, Failed, Current, Terminating}
)

// computeBuiltin applies the built-in rule for the kind, also if ByKind has one.
func (r *Rules) computeBuiltin(kind schema.GroupKind, obj *unstructured.Unstructured, children []ObjectStatus, now time.Time) (Result, error) {
	o := ruleObject{obj: obj, kind: kind}
	result, err := o.general()
	if err != nil {
		return Result{}, err
	}
	builtin := r.ruleKind(kind)
	switch {
	case result.Status != "":
	case builtin.rule != nil:
		result, err = builtin.rule(r, &o, now)
	default:
		result, err = r.ruleForOthers(&o)
	}
	if err == nil && builtin.podsFail && result.Status == InProgress {
		result = ruleOfPods(result, children)
	}
	return result, err
}

// Children returns the kinds of controlled objects that belong to the status of an
// owner: the entry in Owns, or by default ReplicaSet for Deployment, Pod for
// ReplicaSet, ReplicationController, StatefulSet, DaemonSet and Job, and Job for
// CronJob. The caller owns the result.
func (r *Rules) Children(owner schema.GroupKind) []schema.GroupKind {
	if r != nil {
		if kinds, ok := r.Owns[owner]; ok {
			return slices.Clone(kinds)
		}
	}
	return slices.Clone(r.ruleKind(owner).children)
}

// looksAtChildren reports whether other children could change a status that Compute
// returned for an object of a kind. It is true for each kind in ByKind.
func (r *Rules) looksAtChildren(kind schema.GroupKind, status Status) bool {
	if r != nil && r.ByKind[kind] != nil {
		return true
	}
	return r.ruleKind(kind).podsFail && (status == InProgress || status == Failed)
}
