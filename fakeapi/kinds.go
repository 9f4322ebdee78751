// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// Kind is a kind that a [Server] serves.
type Kind struct {
	// Group, Version and Kind identify the kind. Group is empty for the core group.
	Group, Version, Kind string

	// Resource is the plural name in URLs. Default: guessed from Kind.
	Resource string

	// ClusterScoped is true if the objects have no namespace.
	ClusterScoped bool

	// NoStatus is true if a custom resource has no status subresource. Updates of the object
	// then change the status as well.
	NoStatus bool

	// SelectableFields are fields of a custom resource, such as "spec.color", that field
	// selectors can have. metadata.name and metadata.namespace are always allowed.
	SelectableFields []string

	traits traits
}

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

// Install adds a kind, like the creation of a custom resource definition.
func (f *Server) Install(kind Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind.SelectableFields = slices.Clone(kind.SelectableFields)
	kind.traits = traitsOf(kind)
	f.kinds[kind.GVR()] = kind
}

// InstallScheme adds the kinds of a scheme that f does not have yet. Their Go types can be
// passed to [Server.Add], and [Server.Get] returns them. A kind needs a list type, and has
// the status subresource if its type has a field Status. A scheme does not say which kinds
// are cluster-scoped, so call Install for these, before or after.
func (f *Server) InstallScheme(s *runtime.Scheme) {
	f.mu.Lock()
	f.schemes = append(f.schemes, s)
	known := map[schema.GroupVersionKind]bool{}
	for _, kind := range f.kinds {
		known[kind.GVK()] = true
	}
	f.mu.Unlock()
	for gvk := range s.AllKnownTypes() {
		if gvk.Version != runtime.APIVersionInternal && s.Recognizes(listOf(gvk)) && !known[gvk] {
			f.Install(Kind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, NoStatus: !hasStatus(s, gvk)})
		}
	}
}

// Uninstall removes a kind and its objects. All watches end.
func (f *Server) Uninstall(kind Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gvr := kind.GVR()
	for key, obj := range f.objects[gvr] {
		f.removeLocked(gvr, key, obj)
	}
	delete(f.kinds, gvr)
	f.hangUpLocked()
}

func listOf(gvk schema.GroupVersionKind) schema.GroupVersionKind {
	gvk.Kind += "List"
	return gvk
}

var (
	allVerbs    = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	changeVerbs = metav1.Verbs{"get", "patch", "update"} // of the status and of a scale
)

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
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: gvr.Resource, SingularName: strings.ToLower(kind.Kind), Kind: kind.Kind,
			Namespaced: !kind.ClusterScoped, Verbs: allVerbs,
		})
		if kind.traits.status {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: gvr.Resource + "/status", Kind: kind.Kind,
				Namespaced: !kind.ClusterScoped, Verbs: changeVerbs,
			})
		}
		for _, sub := range kind.traits.subresources {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: gvr.Resource + "/" + sub.name, Group: sub.kind.Group, Version: sub.kind.Version, Kind: sub.kind.Kind,
				Namespaced: true, Verbs: sub.verbs,
			})
		}
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
