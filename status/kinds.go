// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	podKind         = schema.GroupKind{Kind: "Pod"}
	serviceKind     = schema.GroupKind{Kind: "Service"}
	deploymentKind  = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	replicaSetKind  = schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	statefulSetKind = schema.GroupKind{Group: "apps", Kind: "StatefulSet"}
	daemonSetKind   = schema.GroupKind{Group: "apps", Kind: "DaemonSet"}
	jobKind         = schema.GroupKind{Group: "batch", Kind: "Job"}
	cronJobKind     = schema.GroupKind{Group: "batch", Kind: "CronJob"}
)

// owns are the kinds that are controlled, by the kinds that control.
var owns = map[schema.GroupKind][]schema.GroupKind{
	deploymentKind:  {replicaSetKind},
	replicaSetKind:  {podKind},
	statefulSetKind: {podKind},
	daemonSetKind:   {podKind},
	jobKind:         {podKind},
	cronJobKind:     {jobKind},
}

// Children returns the kinds of the objects that those of a kind control, and whose
// status belongs to theirs. The slice must not be changed.
func (r *Rules) Children(owner schema.GroupKind) []schema.GroupKind {
	if r != nil {
		if kinds, ok := r.Owns[owner]; ok {
			return kinds
		}
	}
	return owns[owner]
}

// metadataOnly are the kinds that have nothing but metadata to go by, neither status
// nor rule, by their groups.
var metadataOnly = map[string][]string{
	"":                             {"ConfigMap", "Endpoints", "Event", "LimitRange", "PodTemplate", "Secret", "ServiceAccount"},
	"admissionregistration.k8s.io": {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
	"apps":                         {"ControllerRevision"},
	"coordination.k8s.io":          {"Lease"},
	"discovery.k8s.io":             {"EndpointSlice"},
	"events.k8s.io":                {"Event"},
	"networking.k8s.io":            {"IngressClass", "NetworkPolicy"},
	"node.k8s.io":                  {"RuntimeClass"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "StorageClass"},
}

// MetadataOnly reports whether the status of the objects of a kind depends on
// nothing but their metadata, so that nothing else need be read.
func (r *Rules) MetadataOnly(kind schema.GroupKind) bool {
	return slices.Contains(metadataOnly[kind.Group], kind.Kind) && (r == nil || r.ByKind[kind] == nil)
}
