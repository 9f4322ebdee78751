// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// GVK returns the group, the version and the kind.
func (k Kind) GVK() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
}

// GVR returns the group, the version and the name of the resource.
func (k Kind) GVR() schema.GroupVersionResource {
	gvr, _ := meta.UnsafeGuessKindToResource(k.GVK())
	if k.Resource != "" {
		gvr.Resource = k.Resource
	}
	return gvr
}

func listOf(gvk schema.GroupVersionKind) schema.GroupVersionKind {
	gvk.Kind += "List"
	return gvk
}

// clusterScoped are the built-in kinds whose objects have no namespace. The scheme does not
// have this information.
var clusterScoped = func() map[string]bool {
	set := map[string]bool{}
	for kind := range strings.FieldsSeq(`
		APIService CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle
		ComponentStatus CSIDriver CSINode CustomResourceDefinition DeviceClass DeviceTaintRule
		FlowSchema IngressClass IPAddress MutatingAdmissionPolicy MutatingAdmissionPolicyBinding
		MutatingWebhookConfiguration Namespace Node PersistentVolume PriorityClass
		PriorityLevelConfiguration ResourcePoolStatusRequest ResourceSlice RuntimeClass
		ServiceCIDR StorageClass StorageVersion StorageVersionMigration
		ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
		VolumeAttachment VolumeAttributesClass`) {
		set[kind] = true
	}
	return set
}()

var allVerbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// describe returns the discovery document of a group and version, or nil.
func (f *Server) describe(gv schema.GroupVersion) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv.String(),
	}
	for gvr, kind := range f.kinds {
		if gvr.GroupVersion() != gv {
			continue
		}
		list.APIResources = append(list.APIResources,
			metav1.APIResource{
				Name: gvr.Resource, SingularName: strings.ToLower(kind.Kind), Kind: kind.Kind,
				Namespaced: !kind.ClusterScoped, Verbs: allVerbs,
			},
			metav1.APIResource{
				Name: gvr.Resource + "/status", Kind: kind.Kind,
				Namespaced: !kind.ClusterScoped, Verbs: metav1.Verbs{"get", "patch", "update"},
			})
	}
	if list.APIResources == nil {
		return nil
	}
	slices.SortFunc(list.APIResources, func(a, b metav1.APIResource) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// groups returns the discovery document of all groups except the core group.
func (f *Server) groups() *metav1.APIGroupList {
	f.mu.Lock()
	defer f.mu.Unlock()
	versions := map[string][]string{}
	for gvr := range f.kinds {
		if gvr.Group != "" && !slices.Contains(versions[gvr.Group], gvr.Version) {
			versions[gvr.Group] = append(versions[gvr.Group], gvr.Version)
		}
	}
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for group, vs := range versions {
		slices.SortFunc(vs, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
		g := metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: group}
		for _, v := range vs {
			g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: group + "/" + v, Version: v})
		}
		g.PreferredVersion = g.Versions[0]
		list.Groups = append(list.Groups, g)
	}
	slices.SortFunc(list.Groups, func(a, b metav1.APIGroup) int { return strings.Compare(a.Name, b.Name) })
	return list
}
