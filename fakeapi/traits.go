// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"maps"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// traits hold what a server does with the objects of a kind.
type traits struct {
	versioned      bool // an update needs a resource version
	custom         bool // a custom resource, not a built-in kind
	status         bool // has the status subresource
	keepsStatus    bool // a create sets the status
	generation     bool // counts changes of the spec in metadata.generation
	createOnUpdate bool // an update creates a missing object
	returnsDeleted bool // the answer to a deletion is the object, not a Status
	phase          string
	annotations    bool          // an annotation counts in metadata.generation as well
	graceful       bool          // is marked as deleted before it is deleted
	noCollection   bool          // is no owner for the garbage collector
	subresources   []subresource // except status
	fields         []string
	name           validation.ValidateNameFunc
}

// clusterScoped are the built-in kinds whose objects have no namespace. The scheme does not
// have this information, nor that of the other sets below.
var clusterScoped = kindSet(`
	APIService CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle
	ComponentStatus CSIDriver CSINode CustomResourceDefinition DeviceClass DeviceTaintRule
	FlowSchema IngressClass IPAddress MutatingAdmissionPolicy MutatingAdmissionPolicyBinding
	MutatingWebhookConfiguration Namespace Node PersistentVolume PriorityClass
	PriorityLevelConfiguration ResourcePoolStatusRequest ResourceSlice RuntimeClass
	ServiceCIDR StorageClass StorageVersion StorageVersionMigration
	ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
	VolumeAttachment VolumeAttributesClass`)

var withGeneration = kindSet(`
	CronJob DaemonSet Deployment DeviceTaintRule EndpointSlice FlowSchema
	HorizontalPodAutoscaler Ingress IngressClass Job MutatingAdmissionPolicy
	MutatingAdmissionPolicyBinding MutatingWebhookConfiguration NetworkPolicy Pod
	PodDisruptionBudget PodTemplate PriorityClass PriorityLevelConfiguration ReplicaSet
	ReplicationController ResourceSlice DeviceClass StatefulSet ValidatingAdmissionPolicy
	ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration`)

var createdOnUpdate = kindSet(`
	ClusterRole ClusterRoleBinding Endpoints Event Lease LeaseCandidate LimitRange Role
	RoleBinding RuntimeClass Service`)

var versionedUpdates = kindSet(`
	ClusterTrustBundle CSIDriver CSINode CSIStorageCapacity Lease LeaseCandidate
	MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
	PodCertificateRequest PodDisruptionBudget RuntimeClass StorageVersion
	StorageVersionMigration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
	ValidatingWebhookConfiguration VolumeAttachment`)

var returnedByDelete = kindSet(`
	CSIDriver CSINode DeviceClass Namespace PersistentVolume PersistentVolumeClaim Pod
	PodTemplate ResourceClaim ResourceClaimTemplate ResourceQuota ResourceSlice Service
	ServiceAccount StorageClass VolumeAttachment VolumeAttributesClass`)

var initialPhases = map[string]string{
	"Namespace": "Active", "PersistentVolume": "Pending", "PersistentVolumeClaim": "Pending", "Pod": "Pending",
}

// selectableFields are the fields of field selectors, except those of the metadata.
var selectableFields = map[string]string{
	"Pod": `spec.nodeName spec.host spec.restartPolicy spec.schedulerName spec.serviceAccountName
		spec.hostNetwork status.phase status.podIP status.podIPs status.nominatedNodeName`,
	"Node":                  `spec.unschedulable`,
	"ReplicationController": `status.replicas`,
	"Event": `involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid
		involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath
		reason reportingComponent source type`,
	"Event.events.k8s.io": `regarding.kind regarding.namespace regarding.name regarding.uid
		regarding.apiVersion regarding.resourceVersion regarding.fieldPath
		reason reportingController type`,
	"Namespace":                 `status.phase`,
	"Secret":                    `type`,
	"Service":                   `spec.clusterIP spec.type`,
	"Job":                       `status.successful`,
	"CertificateSigningRequest": `spec.signerName`,
	"ClusterTrustBundle":        `spec.signerName`,
	"PodCertificateRequest":     `spec.signerName spec.podName spec.nodeName`,
	"ResourceSlice":             `spec.nodeName spec.driver spec.pool.name`,
}

func kindSet(kinds string) map[string]bool {
	set := map[string]bool{}
	for kind := range strings.FieldsSeq(kinds) {
		set[kind] = true
	}
	return set
}

// traitsOf returns the traits of a kind.
func traitsOf(kind Kind) traits {
	t := traits{custom: !scheme.Scheme.Recognizes(kind.GVK()), name: validation.NameIsDNSSubdomain}
	if t.custom {
		t.status, t.generation, t.versioned, t.fields = !kind.NoStatus, true, true, kind.SelectableFields
		for i, field := range t.fields {
			t.fields[i] = strings.TrimPrefix(field, ".")
		}
		return t
	}
	t.status = hasStatus(scheme.Scheme, kind.GVK())
	t.versioned = versionedUpdates[kind.Kind]
	t.generation = withGeneration[kind.Kind]
	t.createOnUpdate = createdOnUpdate[kind.Kind]
	t.returnsDeleted = returnedByDelete[kind.Kind]
	t.phase = initialPhases[kind.Kind]
	t.keepsStatus = kind.Kind == "Node"
	t.fields = strings.Fields(selectableFields[kind.Kind])
	if kind.Kind == "Event" && kind.Group != "" {
		t.fields = strings.Fields(selectableFields["Event.events.k8s.io"])
	}
	t.annotations = kind.Kind == "Deployment"
	t.graceful = kind.Kind == "Pod" && kind.Group == ""
	t.noCollection = kind.Kind == "Event"
	t.subresources = subresourcesOf(kind)
	switch {
	case kind.Kind == "Event", kind.Group == "rbac.authorization.k8s.io":
		t.name = pathSegment
	case kind.Kind == "Namespace":
		t.name = validation.NameIsDNSLabel
	case kind.Kind == "Service":
		t.name = validation.NameIsDNS1035Label
	}
	return t
}

func pathSegment(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

// hasStatus returns true if the Go type of a kind has a struct for the status.
func hasStatus(s *runtime.Scheme, gvk schema.GroupVersionKind) bool {
	typ, ok := s.AllKnownTypes()[gvk]
	if !ok {
		return false
	}
	field, ok := typ.FieldByName("Status")
	return ok && field.Type.Kind() == reflect.Struct
}

// copyStatus sets the status of to, a copy of an object that is not shared, to that of from.
// If from is nil, the status is removed. Both have the same type.
func copyStatus(to, from runtime.Object) {
	if u, ok := to.(*unstructured.Unstructured); ok {
		delete(u.Object, "status")
		if f, ok := from.(*unstructured.Unstructured); ok {
			if status, ok := f.Object["status"]; ok {
				u.Object["status"] = runtime.DeepCopyJSONValue(status)
			}
		}
		return
	}
	status := reflect.ValueOf(to).Elem().FieldByName("Status")
	if from == nil {
		status.SetZero()
	} else {
		status.Set(reflect.ValueOf(from.DeepCopyObject()).Elem().FieldByName("Status"))
	}
}

// sameSpec returns true if the objects, of the same type, differ in metadata and status only.
func sameSpec(a, b runtime.Object, status bool) bool {
	if u, ok := a.(*unstructured.Unstructured); ok {
		rest := func(m map[string]any) map[string]any {
			m = maps.Clone(m)
			delete(m, "metadata")
			if status {
				delete(m, "status")
			}
			return m
		}
		return equality.Semantic.DeepEqual(rest(u.Object), rest(b.(*unstructured.Unstructured).Object))
	}
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range x.NumField() {
		switch x.Type().Field(i).Name {
		case "TypeMeta", "ObjectMeta", "Status":
			continue
		}
		if !equality.Semantic.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			return false
		}
	}
	return true
}

// setPhase sets the phase in the status of a built-in kind.
func setPhase(obj runtime.Object, phase string) {
	if phase != "" {
		reflect.ValueOf(obj).Elem().FieldByName("Status").FieldByName("Phase").SetString(phase)
	}
}
