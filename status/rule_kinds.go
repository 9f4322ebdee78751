// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ruleKind holds the built-in rule of a kind and its children.
type ruleKind struct {
	rule     func(*Rules, *ruleObject, time.Time) (Result, error)
	children []schema.GroupKind
	podsFail bool // an InProgress object is Failed if one of its Pods is

	// spec are the fields that Trim leaves in the spec: those that the rule and the
	// status readers of kstatus read, and a few that people look at.
	spec []string
}

// ruleKind returns the rule for a kind, or a zero one.
func (r *Rules) ruleKind(kind schema.GroupKind) ruleKind {
	if known, ok := ruleKinds[kind]; ok || r == nil || !r.WellKnown {
		return known
	}
	return wellKnownKinds[kind]
}

var (
	podKind        = schema.GroupKind{Kind: "Pod"}
	nodeKind       = schema.GroupKind{Kind: "Node"}
	replicaSetKind = schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	jobKind        = schema.GroupKind{Group: "batch", Kind: "Job"}

	ownsPods        = []schema.GroupKind{podKind}
	ownsReplicaSets = []schema.GroupKind{replicaSetKind}
	ownsJobs        = []schema.GroupKind{jobKind}
)

// ruleKinds are the kinds with a rule of their own. The group extensions is for old
// servers. Its kinds have no children.
var ruleKinds = map[schema.GroupKind]ruleKind{
	podKind: {rule: (*Rules).ruleForPod, spec: []string{"nodeName"}},

	{Group: "apps", Kind: "Deployment"}:       {rule: (*Rules).ruleForDeployment, spec: deploymentSpec, children: ownsReplicaSets},
	{Group: "extensions", Kind: "Deployment"}: {rule: (*Rules).ruleForDeployment, spec: deploymentSpec},

	replicaSetKind: {rule: ruleForReplicaSet, spec: replicaSetSpec, children: ownsPods, podsFail: true},
	{Group: "extensions", Kind: "ReplicaSet"}: {rule: ruleForReplicaSet, spec: replicaSetSpec, podsFail: true},
	{Kind: "ReplicationController"}:           {rule: ruleForReplicaSet, spec: replicaSetSpec, children: ownsPods, podsFail: true},

	{Group: "apps", Kind: "DaemonSet"}:       {rule: ruleForDaemonSet, spec: daemonSetSpec, children: ownsPods, podsFail: true},
	{Group: "extensions", Kind: "DaemonSet"}: {rule: ruleForDaemonSet, spec: daemonSetSpec, podsFail: true},

	{Group: "apps", Kind: "StatefulSet"}: {rule: ruleForStatefulSet, children: ownsPods, podsFail: true,
		spec: []string{"replicas", "selector", "updateStrategy"}},

	jobKind: {rule: (*Rules).ruleForJob, children: ownsPods,
		spec: []string{"parallelism", "completions", "suspend", "selector"}},
	{Group: "batch", Kind: "CronJob"}: {rule: ruleForFixed, children: ownsJobs, spec: []string{"suspend"}},

	{Kind: "Service"}: {rule: (*Rules).ruleForService, spec: []string{"type", "clusterIP"}},
	{Group: "networking.k8s.io", Kind: "Ingress"}: {rule: (*Rules).ruleForIngress},
	{Group: "extensions", Kind: "Ingress"}:        {rule: (*Rules).ruleForIngress},
	{Kind: "PersistentVolumeClaim"}:               {rule: (*Rules).ruleForClaim},

	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: {rule: ruleForFixed},
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:             {rule: ruleByConditions("Available")},
	{Group: "policy", Kind: "PodDisruptionBudget"}:                    {rule: ruleForBudget},
	{Kind: "ConfigMap"}: {rule: ruleForFixed},
	{Kind: "Secret"}:    {rule: ruleForFixed},
}

var (
	deploymentSpec = []string{"replicas", "selector", "paused", "progressDeadlineSeconds"}
	replicaSetSpec = []string{"replicas", "selector"}
	daemonSetSpec  = []string{"selector", "updateStrategy"}
)

// MetadataOnly reports whether the rule for a kind reads only metadata, because its
// objects have no status. It is false for a kind in ByKind, Keep or Owns, and with
// KeepAll.
func (r *Rules) MetadataOnly(kind schema.GroupKind) bool {
	if !ruleStatusless(kind) {
		return false
	}
	if r == nil {
		return true
	}
	if _, ok := r.ByKind[kind]; ok || r.KeepAll {
		return false
	}
	if len(r.Keep[kind]) > 0 {
		return false
	}
	return !r.inOwns(kind)
}

func (r *Rules) inOwns(kind schema.GroupKind) bool {
	for owner, kinds := range r.Owns {
		if owner == kind || slices.Contains(kinds, kind) {
			return true
		}
	}
	return false
}

// ruleStatusless reports whether a kind is one of Kubernetes without a status.
func ruleStatusless(kind schema.GroupKind) bool {
	return slices.Contains(ruleStatuslessKinds[kind.Group], kind.Kind)
}

// ruleStatuslessKinds are the kinds of Kubernetes without a status, by group.
var ruleStatuslessKinds = map[string][]string{
	"": {"ConfigMap", "Endpoints", "Event", "LimitRange", "PodTemplate", "Secret", "ServiceAccount"},

	"admissionregistration.k8s.io": {
		"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
		"ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
	},

	"apps":                {"ControllerRevision"},
	"coordination.k8s.io": {"Lease"},
	"discovery.k8s.io":    {"EndpointSlice"},
	"events.k8s.io":       {"Event"},
	"networking.k8s.io":   {"IPAddress", "IngressClass", "NetworkPolicy"},
	"node.k8s.io":         {"RuntimeClass"},
	"scheduling.k8s.io":   {"PriorityClass"},
	"storage.k8s.io":      {"CSIDriver", "CSIStorageCapacity", "StorageClass", "VolumeAttributesClass"},

	"resource.k8s.io":           {"DeviceClass", "ResourceClaimTemplate", "ResourceSlice"},
	"rbac.authorization.k8s.io": {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
}
