// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
)

// Add creates or replaces objects, with their status, whatever their versions. Kinds are
// found by type, or by apiVersion and kind for unstructured objects. The objects are copied.
func (f *Server) Add(objects ...runtime.Object) error {
	return f.each(objects, func(gvr schema.GroupVersionResource, key string, obj, old runtime.Object) error {
		if old != nil {
			obj = obj.DeepCopyObject()
			accessor, _ := meta.Accessor(obj)
			accessor.SetResourceVersion("")
			return f.updateLocked(gvr, key, old, obj)
		}
		namespace, _, _ := strings.Cut(key, "/")
		accessor, _ := meta.Accessor(obj)
		if accessor.GetName() == "" && accessor.GetGenerateName() != "" {
			obj = obj.DeepCopyObject()
			accessor, _ = meta.Accessor(obj)
			accessor.SetName(accessor.GetGenerateName() + utilrand.String(5))
		}
		_, err := f.createLocked(gvr, namespace, obj)
		return err
	})
}

// Update replaces objects, with their status. It returns an error if an object is missing,
// or if it has a resource version that is not the current one.
func (f *Server) Update(objects ...runtime.Object) error {
	return f.each(objects, func(gvr schema.GroupVersionResource, key string, obj, old runtime.Object) error {
		if old == nil {
			accessor, _ := meta.Accessor(obj)
			return apierrors.NewNotFound(gvr.GroupResource(), accessor.GetName())
		}
		return f.updateLocked(gvr, key, old, obj.DeepCopyObject())
	})
}

// updateLocked replaces old by obj for Add and Update. It can modify obj.
func (f *Server) updateLocked(gvr schema.GroupVersionResource, key string, old, obj runtime.Object) error {
	was, _ := meta.Accessor(old)
	is, _ := meta.Accessor(obj)
	if err := checkVersion(gvr, was, is); err != nil {
		return err
	}
	is.SetUID(was.GetUID())
	is.SetResourceVersion(was.GetResourceVersion())
	is.SetCreationTimestamp(was.GetCreationTimestamp())
	is.SetDeletionTimestamp(was.GetDeletionTimestamp())
	if is.GetGeneration() == 0 {
		is.SetGeneration(was.GetGeneration())
	}
	f.replaceLocked(gvr, key, old, obj)
	return nil
}

// Apply applies objects as a client does by server-side apply, with force and the field
// manager "fakeapi". It creates missing objects. Zero fields of Go types that are not
// omitted in JSON are applied as well.
func (f *Server) Apply(objects ...runtime.Object) error {
	force := true
	return f.each(objects, func(gvr schema.GroupVersionResource, key string, obj, old runtime.Object) error {
		m, err := toMap(obj)
		if err != nil {
			return err
		}
		kind := f.kinds[gvr]
		m["apiVersion"], m["kind"] = kind.GVK().ToAPIVersionAndKind()
		unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
		status := m["status"]
		namespace, name, _ := strings.Cut(key, "/")
		c := &call{kind: kind, options: metav1.PatchOptions{FieldManager: "fakeapi", Force: &force}, Request: Request{
			Verb: "patch", Resource: gvr, Namespace: namespace, Name: name, ContentType: string(types.ApplyYAMLPatchType),
		}}
		if c.body, err = json.Marshal(m); err != nil {
			return err
		}
		if old, err = f.applyLocked(c, old); err != nil || status == nil || !kind.traits.status {
			return err
		}
		c.Subresource = "status"
		_, err = f.applyLocked(c, old)
		return err
	})
}

// Remove deletes the objects with these kinds, namespaces and names, in spite of
// finalizers. Missing objects are skipped.
func (f *Server) Remove(objects ...runtime.Object) error {
	return f.each(objects, func(gvr schema.GroupVersionResource, key string, _, old runtime.Object) error {
		if old != nil {
			f.removeLocked(gvr, key, old)
		}
		return nil
	})
}

// Delete deletes an object as a client does: finalizers delay it. Resources are named as in
// [Server.Resource]. The namespace of cluster-scoped objects is empty.
func (f *Server) Delete(resource, namespace, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	gvr, err := f.lookupLocked(resource)
	if err != nil {
		return err
	}
	key := objectKey(namespace, name)
	old := f.objects[gvr][key]
	if old == nil {
		return apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	f.deleteLocked(gvr, key, old, &metav1.DeleteOptions{})
	f.collectLocked()
	return nil
}

// Get returns a copy of an object, in its Go type if the kind is built in or in a scheme of
// InstallScheme, otherwise as *unstructured.Unstructured. The error for a missing object is
// "NotFound".
func (f *Server) Get(resource, namespace, name string) (runtime.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gvr, err := f.lookupLocked(resource)
	if err != nil {
		return nil, err
	}
	obj := f.objects[gvr][objectKey(namespace, name)]
	if obj == nil {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	return f.typedLocked(obj)
}

// List returns copies of the objects of a resource in a namespace, or in all if namespace
// is empty, in the order of their namespaces and names. The types are those of Get.
func (f *Server) List(resource, namespace string) ([]runtime.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gvr, err := f.lookupLocked(resource)
	if err != nil {
		return nil, err
	}
	var out []runtime.Object
	for _, key := range slices.Sorted(maps.Keys(f.objects[gvr])) {
		if namespace != "" && !strings.HasPrefix(key, namespace+"/") {
			continue
		}
		obj, err := f.typedLocked(f.objects[gvr][key])
		if err != nil {
			return nil, err
		}
		out = append(out, obj)
	}
	return out, nil
}

// Resources returns all resources, sorted by group, version and name.
func (f *Server) Resources() []schema.GroupVersionResource {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Keys(f.kinds), func(a, b schema.GroupVersionResource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Resource, b.Resource))
	})
}

// Summary returns the number of objects of each resource that has some.
func (f *Server) Summary() map[schema.GroupVersionResource]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[schema.GroupVersionResource]int{}
	for gvr, objects := range f.objects {
		if len(objects) > 0 {
			out[gvr] = len(objects)
		}
	}
	return out
}

// Resource finds a resource by its name. The name can be the plural ("pods"), the kind
// ("Pod", "pod"), or one of these with the group ("deployments.apps"), with the version and
// the group ("deployments.v1.apps"), or the other way round ("v1.pods", "apps.v1.deployments").
// If there are several, Resource prefers the newest stable version, and then the core group.
func (f *Server) Resource(name string) (schema.GroupVersionResource, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookupLocked(name)
}

func (f *Server) lookupLocked(name string) (schema.GroupVersionResource, error) {
	wanted := strings.ToLower(strings.ReplaceAll(name, "/", "."))
	var best schema.GroupVersionResource
	for gvr, kind := range f.kinds {
		if !named(wanted, gvr, gvr.Resource) && !named(wanted, gvr, strings.ToLower(kind.Kind)) {
			continue
		}
		if best.Empty() || cmp.Or(version.CompareKubeAwareVersionStrings(gvr.Version, best.Version), -cmp.Compare(gvr.Group, best.Group)) > 0 {
			best = gvr
		}
	}
	if best.Empty() {
		return best, fmt.Errorf("fake API server: no resource is named %q", name)
	}
	return best, nil
}

// named returns true if name is a spelling of a resource whose plural or kind is short.
func named(name string, gvr schema.GroupVersionResource, short string) bool {
	rest, ok := strings.CutPrefix(name, short)
	if ok && (rest == "" || rest == "."+gvr.Group || rest == "."+gvr.Version || rest == "."+gvr.Version+"."+gvr.Group) {
		return true
	}
	rest, ok = strings.CutSuffix(name, "."+short)
	return ok && (rest == gvr.Version || rest == gvr.Group+"."+gvr.Version)
}

// each calls do for each object, with the mutex held. Objects are passed in the type that
// the server stores. old is the stored object, or nil.
func (f *Server) each(objects []runtime.Object, do func(gvr schema.GroupVersionResource, key string, obj, old runtime.Object) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, obj := range objects {
		gvr, obj, err := f.storedLocked(obj)
		if err != nil {
			return err
		}
		accessor, err := meta.Accessor(obj)
		if err != nil {
			return err
		}
		if f.kinds[gvr].ClusterScoped && accessor.GetNamespace() != "" {
			obj = obj.DeepCopyObject()
			accessor, _ = meta.Accessor(obj)
			accessor.SetNamespace("")
		}
		key := objectKey(accessor.GetNamespace(), accessor.GetName())
		err = do(gvr, key, obj, f.objects[gvr][key])
		f.collectLocked()
		if err != nil {
			return fmt.Errorf("fake API server: %s %s: %w", gvr.Resource, key, err)
		}
	}
	return nil
}

// storedLocked returns the resource of obj, and obj in the type that the server stores: the
// Go type of built-in kinds, and unstructured of others.
func (f *Server) storedLocked(obj runtime.Object) (gvr schema.GroupVersionResource, _ runtime.Object, err error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	if _, ok := obj.(runtime.Unstructured); !ok {
		if gvk, err = f.kindOfLocked(obj); err != nil {
			return gvr, nil, err
		}
	}
	for gvr, kind := range f.kinds {
		if kind.GVK() != gvk {
			continue
		}
		if kind.traits.custom {
			obj, err = asUnstructured(obj, gvk)
		} else {
			obj, err = builtIn(obj)
		}
		return gvr, obj, err
	}
	return gvr, nil, fmt.Errorf("fake API server: kind %s is not installed", gvk)
}

// kindOfLocked returns the kind of an object of a Go type.
func (f *Server) kindOfLocked(obj runtime.Object) (schema.GroupVersionKind, error) {
	for _, s := range f.schemesLocked() {
		if known, _, err := s.ObjectKinds(obj); err == nil {
			return known[0], nil
		}
	}
	return schema.GroupVersionKind{}, fmt.Errorf("fake API server: no kind is registered for the type %T (call InstallScheme, or pass the object as unstructured.Unstructured)", obj)
}

// builtIn returns obj in its Go type if it is of a built-in kind.
func builtIn(obj runtime.Object) (runtime.Object, error) {
	return inType(scheme.Scheme, obj, false)
}

// inType returns an unstructured object in its Go type, if the scheme has one. If strict is
// true, unknown fields are an error.
func inType(s *runtime.Scheme, obj runtime.Object, strict bool) (runtime.Object, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok || !s.Recognizes(u.GroupVersionKind()) {
		return obj, nil
	}
	typed, err := s.New(u.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	return typed, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, typed, strict)
}

// typedLocked returns a copy of a stored object for users.
func (f *Server) typedLocked(obj runtime.Object) (runtime.Object, error) {
	obj = obj.DeepCopyObject()
	for _, s := range f.schemes {
		var err error
		if obj, err = inType(s, obj, false); err != nil {
			return nil, err
		}
	}
	return obj, nil
}

func (f *Server) schemesLocked() []*runtime.Scheme {
	return append([]*runtime.Scheme{scheme.Scheme}, f.schemes...)
}

// asUnstructured returns an object of a custom resource as the server stores it.
func asUnstructured(obj runtime.Object, gvk schema.GroupVersionKind) (runtime.Object, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u, nil
	}
	m, err := toMap(obj)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: m}
	u.SetGroupVersionKind(gvk)
	return u, nil
}
