// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// wellKnownKinds are the kinds of Rules.WellKnown.
var wellKnownKinds = wellKnownOf(map[string]map[string]ruleKind{
	"autoscaling": {
		"HorizontalPodAutoscaler": {rule: (*Rules).ruleForAutoscaler},
	},
	"gateway.networking.k8s.io": {
		"GatewayClass":     {rule: ruleByConditions("Accepted")},
		"Gateway":          {rule: ruleForGateway},
		"ListenerSet":      {rule: ruleForGateway},
		"BackendTLSPolicy": {rule: ruleByConditions("Accepted")},
		"HTTPRoute":        routeKind,
		"GRPCRoute":        routeKind,
		"TLSRoute":         routeKind,
		"TCPRoute":         routeKind,
		"UDPRoute":         routeKind,
	},
	"cert-manager.io": {
		"Issuer":             {rule: ruleByConditions("Ready")},
		"ClusterIssuer":      {rule: ruleByConditions("Ready")},
		"Certificate":        {rule: ruleForCertificate},
		"CertificateRequest": {rule: ruleForCertificateRequest},
	},
	"acme.cert-manager.io": {
		"Order":     {rule: ruleForACME},
		"Challenge": {rule: ruleForACME},
	},
	"cluster.x-k8s.io": {
		"Cluster":           {rule: ruleForClusterAPI},
		"Machine":           {rule: ruleForClusterAPI},
		"MachineSet":        machinesKind,
		"MachineDeployment": machinesKind,
	},
	"controlplane.cluster.x-k8s.io": {
		"KubeadmControlPlane": machinesKind,
	},
	"pkg.crossplane.io": {
		"Provider":      {rule: ruleByConditions("Installed", "Healthy")},
		"Configuration": {rule: ruleByConditions("Installed", "Healthy")},
		"Function":      {rule: ruleByConditions("Installed", "Healthy")},
	},
	"apiextensions.crossplane.io": {
		"CompositeResourceDefinition": {rule: ruleByConditions("Established")},
	},
	"argoproj.io": {
		"Application":    {rule: ruleForApplication},
		"ApplicationSet": {rule: ruleForApplicationSet},
		"Rollout":        {rule: ruleForRollout},
	},
})

var (
	routeKind    = ruleKind{rule: ruleForRoute, spec: []string{"parentRefs"}}
	machinesKind = ruleKind{rule: ruleForMachines, spec: []string{"replicas"}}
)

func wellKnownOf(groups map[string]map[string]ruleKind) map[schema.GroupKind]ruleKind {
	kinds := map[schema.GroupKind]ruleKind{}
	for group, rules := range groups {
		for kind, rule := range rules {
			kinds[schema.GroupKind{Group: group, Kind: kind}] = rule
		}
	}
	return kinds
}

// ruleForAutoscaler wants an autoscaler that can read its metrics and scale, or that is
// disabled because there are no replicas to scale. In autoscaling/v1 the conditions are
// in an annotation, and are not read.
func (r *Rules) ruleForAutoscaler(o *ruleObject, _ time.Time) (Result, error) {
	if o.obj.GetAPIVersion() == "autoscaling/v1" {
		return r.ruleForOthers(o)
	}
	if active := o.conditions.of("ScalingActive"); active.is("ScalingActive", "False") && active.reason == "ScalingDisabled" {
		return Result{Status: Current, Message: active.text()}, nil
	}
	return o.byConditions("AbleToScale", "ScalingActive")
}

// ruleForGateway wants a Gateway all of whose listeners are valid.
func ruleForGateway(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	result, err := o.byConditions("Accepted", "Programmed")
	if accepted := o.conditions.of("Accepted"); result.Status == Current && accepted.reason == "ListenersNotValid" {
		result = Result{Status: InProgress, Message: accepted.text() + " (ListenersNotValid)"}
	}
	return result, err
}

// ruleForRoute wants a route that each of its parents has accepted as a whole.
func ruleForRoute(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	result, err := o.byConditions("Accepted", "ResolvedRefs")
	if err != nil || result.Status != Current {
		return result, err
	}
	for _, v := range o.list(o.in(o.top(), "spec"), "parentRefs") {
		if wanted := o.element("spec.parentRefs[]", v); !o.answered(wanted) {
			return Result{Status: InProgress, Message: "parent " + o.text(wanted, "name") + ": no status yet"}, o.err
		}
	}
	for _, v := range o.list(o.status, "parents") {
		conditions, _ := o.conditionsIn(o.element("status.parents[]", v))
		if c := conditions.of("PartiallyInvalid"); c.status == "True" {
			result = Result{Status: InProgress, Message: c.text()}
		}
	}
	return result, o.err
}

// answered reports whether the status of a route has an element for a parentRef.
func (o *ruleObject) answered(wanted ruleFields) bool {
	return slices.ContainsFunc(o.list(o.status, "parents"), func(v any) bool {
		ref := o.in(o.element("status.parents[]", v), "parentRef")
		port, _ := o.count(ref, "port")
		wantedPort, _ := o.count(wanted, "port")
		same := port == wantedPort
		for _, field := range [...]struct{ name, missing string }{
			{"group", "gateway.networking.k8s.io"}, {"kind", "Gateway"}, {"namespace", o.obj.GetNamespace()}, {"name", ""}, {"sectionName", ""},
		} {
			same = same && o.textOr(ref, field.name, field.missing) == o.textOr(wanted, field.name, field.missing)
		}
		return same
	})
}

// ruleForCertificate is Failed after a failed issuance, until the next one begins an hour
// later or more.
func ruleForCertificate(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	result, err := o.byConditions("Ready")
	issuing := o.conditions.of("Issuing")
	if err == nil && result.Status == InProgress && issuing.status == "False" && o.text(o.status, "lastFailureTime") != "" {
		result = Result{Status: Failed, Message: issuing.text()}
	}
	return result, err
}

// ruleForCertificateRequest is Failed for the conditions that are final.
func ruleForCertificateRequest(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	for _, c := range o.conditions {
		if c.is("Denied", "True") || c.is("InvalidRequest", "True") || c.is("Ready", "False") && (c.reason == "Failed" || c.reason == "Denied") {
			return Result{Status: Failed, Message: c.text()}, nil
		}
	}
	return o.byConditions("Ready")
}

// ruleForACME is the rule for an Order or Challenge, whose status has a state.
func ruleForACME(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	state, reason := o.textOr(o.status, "state", "unknown"), o.text(o.status, "reason")
	return phaseResult("state", state, reason, []string{"valid"}, []string{"invalid", "expired", "errored"}), o.err
}

// phaseResult returns the result for a phase that is good, bad, or another one.
func phaseResult(field, phase, message string, good, bad []string) Result {
	result := Result{Status: InProgress, Message: field + " is " + phase}
	switch {
	case slices.Contains(good, phase):
		result.Status = Current
	case slices.Contains(bad, phase):
		result.Status = Failed
	}
	if message != "" {
		result.Message += ": " + message
	}
	return result
}

// ruleForMachines wants the replicas that the spec asks for. A MachineSet has no condition
// for all of them, and is not updated. For the others it goes on as ruleForClusterAPI.
func ruleForMachines(r *Rules, o *ruleObject, now time.Time) (Result, error) {
	want := o.countOr(o.in(o.top(), "spec"), "replicas", 1)
	replicas := o.countOr(o.status, "replicas", 0)
	updated := o.countOr(o.status, "upToDateReplicas", o.countOr(o.status, "updatedReplicas", 0)) // v1beta2, v1beta1
	ready := o.countOr(o.status, "readyReplicas", 0)
	failed := o.machinesFailed()
	machineSet := o.kind.Kind == "MachineSet"
	switch {
	case o.err != nil:
		return Result{}, o.err
	case failed.Status != "":
		return failed, nil
	case replicas < want:
		return inProgressOf("Replicas", replicas, want), nil
	case updated < want && !machineSet:
		return inProgressOf("Updated", updated, want), nil
	case replicas > want:
		return inProgressExtra(replicas - want), nil
	case ready < want:
		return inProgressOf("Ready", ready, want), nil
	case machineSet:
		return o.seen(Result{Status: Current, Message: fmt.Sprintf("Machines are ready. Replicas: %d", replicas)})
	}
	return ruleForClusterAPI(r, o, now)
}

// ruleForClusterAPI wants the condition Available, or Ready for the kinds and versions
// that do not have it, and that nothing is going on.
func ruleForClusterAPI(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	if failed := o.machinesFailed(); failed.Status != "" || o.err != nil {
		return failed, o.err
	}
	for _, c := range o.conditions {
		if c.status == "True" && slices.Contains([]string{"RollingOut", "ScalingUp", "ScalingDown", "Updating"}, c.kind) {
			return Result{Status: InProgress, Message: c.text()}, nil
		}
	}
	if !o.has("Available") && o.has("Ready") {
		return o.byConditions("Ready")
	}
	return o.byConditions("Available")
}

// machinesFailed returns Failed if a controller of Cluster API has given up, and a zero
// Result if not. In v1beta2 the reason is among the deprecated fields.
func (o *ruleObject) machinesFailed() Result {
	for _, f := range [...]ruleFields{o.status, o.in(o.in(o.status, "deprecated"), "v1beta1")} {
		message := cmp.Or(o.text(f, "failureMessage"), o.text(f, "failureReason"))
		if message != "" || o.text(f, "phase") == "Failed" {
			return Result{Status: Failed, Message: cmp.Or(message, "phase is Failed")}
		}
	}
	return Result{}
}

// ruleForApplication wants an Application of Argo CD that is synced and healthy. A sync
// that failed, and Degraded, mean that somebody has to do something.
func ruleForApplication(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	operation := o.in(o.status, "operationState")
	sync, health := o.textOr(o.in(o.status, "sync"), "status", "unknown"), o.textOr(o.in(o.status, "health"), "status", "unknown")
	phase := o.text(operation, "phase")
	result := Result{Status: InProgress, Message: "sync is " + sync + ", health is " + health}
	switch {
	case phase == "Running" || phase == "Terminating":
		result.Message = "operation is " + phase
	case sync == "Synced" && health == "Healthy":
		result.Status = Current
	case sync != "Synced" && (phase == "Failed" || phase == "Error"):
		return phaseResult("operation", phase, o.text(operation, "message"), nil, []string{phase}), o.err
	case health == "Degraded":
		result.Status = Failed
	}
	return result, o.err
}

// ruleForApplicationSet follows the health that Argo CD computes for its own kind.
func ruleForApplicationSet(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	switch failed, rollout := o.conditions.of("ErrorOccurred"), o.conditions.of("RolloutProgressing"); {
	case failed.status == "True":
		return Result{Status: Failed, Message: failed.text()}, nil
	case rollout.status == "True":
		return Result{Status: InProgress, Message: rollout.text()}, nil
	}
	return o.byConditions("ResourcesUpToDate")
}

// ruleForRollout is the rule for a Rollout of Argo, whose controller computes a phase.
func ruleForRollout(_ *Rules, o *ruleObject, _ time.Time) (Result, error) {
	phase, message := o.textOr(o.status, "phase", "unknown"), o.text(o.status, "message")
	return phaseResult("phase", phase, message, []string{"Healthy"}, []string{"Degraded"}), o.err
}
