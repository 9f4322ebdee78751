// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// fakeHistory is the number of events that are kept for watches from old versions.
const fakeHistory = 100_000

// fakeBookmarks is the interval between bookmarks.
const fakeBookmarks = time.Minute

// fakeTokens is the number of valid continue tokens. Older ones expire.
const fakeTokens = 1000

// change is one change of an object. Objects in it, and in the store, are never modified.
type change struct {
	version  uint64
	resource schema.GroupVersionResource
	kind     watch.EventType
	object   runtime.Object
	old      runtime.Object // before the change, nil for Added
}

// pageSet holds the remaining objects of a paged list.
type pageSet struct {
	version uint64
	objects []runtime.Object
}

// Add creates or replaces objects, whatever their versions. Kinds are found by type, or by
// apiVersion and kind for unstructured objects.
func (f *Server) Add(objects ...runtime.Object) error {
	return f.each(objects, func(gvr schema.GroupVersionResource, key string, obj, old runtime.Object) (err error) {
		if old == nil {
			namespace, _, _ := strings.Cut(key, "/")
			_, err = f.createLocked(gvr, namespace, obj)
			return err
		}
		obj = obj.DeepCopyObject()
		accessor, _ := meta.Accessor(obj)
		accessor.SetResourceVersion("")
		_, err = f.updateLocked(gvr, key, old, obj)
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

// each calls do for each object, with the mutex held. Objects of built-in kinds are
// passed in their Go types. old is the stored object, or nil.
func (f *Server) each(objects []runtime.Object, do func(gvr schema.GroupVersionResource, key string, obj, old runtime.Object) error) error {
	for _, obj := range objects {
		gvr, err := f.resourceOf(obj)
		if err == nil {
			obj, err = builtIn(obj)
		}
		if err != nil {
			return err
		}
		accessor, err := meta.Accessor(obj)
		if err != nil {
			return err
		}
		key := objectKey(accessor.GetNamespace(), accessor.GetName())
		f.mu.Lock()
		err = do(gvr, key, obj, f.objects[gvr][key])
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// builtIn returns obj in its Go type if it is of a built-in kind.
func builtIn(obj runtime.Object) (runtime.Object, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok || !scheme.Scheme.Recognizes(u.GroupVersionKind()) {
		return obj, nil
	}
	typed, err := scheme.Scheme.New(u.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	return typed, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed)
}

func (f *Server) resourceOf(obj runtime.Object) (schema.GroupVersionResource, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	if _, ok := obj.(runtime.Unstructured); !ok {
		known, _, err := scheme.Scheme.ObjectKinds(obj)
		if err != nil {
			return schema.GroupVersionResource{}, fmt.Errorf("fake API server: %w (pass it as unstructured.Unstructured)", err)
		}
		gvk = known[0]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for gvr, kind := range f.kinds {
		if kind.GVK() == gvk {
			return gvr, nil
		}
	}
	return schema.GroupVersionResource{}, fmt.Errorf("fake API server: kind %s is not installed", gvk)
}

func objectKey(namespace, name string) string { return namespace + "/" + name }

func keyOf(obj runtime.Object) string {
	accessor, _ := meta.Accessor(obj)
	return objectKey(accessor.GetNamespace(), accessor.GetName())
}

// recordLocked sets the version of object, stores it, and wakes the watches.
func (f *Server) recordLocked(gvr schema.GroupVersionResource, key string, kind watch.EventType, object, old runtime.Object) {
	f.version++
	accessor, _ := meta.Accessor(object)
	accessor.SetResourceVersion(strconv.FormatUint(f.version, 10))
	if kind == watch.Deleted {
		delete(f.objects[gvr], key)
	} else {
		if f.objects[gvr] == nil {
			f.objects[gvr] = map[string]runtime.Object{}
		}
		f.objects[gvr][key] = object
	}
	f.history = append(f.history, change{f.version, gvr, kind, object, old})
	if len(f.history) > fakeHistory {
		f.compactLocked(f.history[len(f.history)/2].version)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Server) compactLocked(version uint64) {
	f.history = slices.Clone(f.sinceLocked(version))
	f.compacted = version
}

// sinceLocked returns the changes after a version. The result does not change: the
// history is only appended to, or replaced.
func (f *Server) sinceLocked(version uint64) []change {
	i, _ := slices.BinarySearchFunc(f.history, version+1, func(e change, v uint64) int { return cmp.Compare(e.version, v) })
	return f.history[i:]
}

func (f *Server) createLocked(gvr schema.GroupVersionResource, namespace string, obj runtime.Object) (runtime.Object, error) {
	kind := f.kinds[gvr]
	obj = obj.DeepCopyObject()
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if accessor.GetResourceVersion() != "" && accessor.GetUID() != "" {
		accessor.SetUID("")
	}
	if accessor.GetName() == "" && accessor.GetGenerateName() != "" {
		accessor.SetName(fmt.Sprintf("%s%05x", accessor.GetGenerateName(), f.version))
	}
	switch {
	case accessor.GetName() == "":
		return nil, apierrors.NewBadRequest("name or generateName is required")
	case kind.ClusterScoped:
		namespace = ""
	case accessor.GetNamespace() != "" && namespace != "" && accessor.GetNamespace() != namespace:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the namespace of the object (%s) is not that of the request (%s)",
			accessor.GetNamespace(), namespace))
	case namespace == "":
		return nil, apierrors.NewBadRequest("the namespace is required")
	}
	accessor.SetNamespace(namespace)
	key := objectKey(namespace, accessor.GetName())
	if _, ok := f.objects[gvr][key]; ok {
		return nil, apierrors.NewAlreadyExists(gvr.GroupResource(), accessor.GetName())
	}
	f.uid++
	accessor.SetUID(types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012x", f.uid)))
	if created := accessor.GetCreationTimestamp(); created.IsZero() {
		accessor.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	}
	if accessor.GetGeneration() == 0 {
		accessor.SetGeneration(1)
	}
	obj.GetObjectKind().SetGroupVersionKind(kind.GVK())
	f.recordLocked(gvr, key, watch.Added, obj, nil)
	return obj, nil
}

// updateLocked replaces old by obj. It can modify obj.
func (f *Server) updateLocked(gvr schema.GroupVersionResource, key string, old, obj runtime.Object) (runtime.Object, error) {
	was, _ := meta.Accessor(old)
	is, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if v := is.GetResourceVersion(); v != "" && v != was.GetResourceVersion() {
		return nil, apierrors.NewConflict(gvr.GroupResource(), was.GetName(),
			fmt.Errorf("the object has been modified; it is at version %s, not %s", was.GetResourceVersion(), v))
	}
	if uid := is.GetUID(); uid != "" && uid != was.GetUID() {
		return nil, apierrors.NewConflict(gvr.GroupResource(), was.GetName(),
			fmt.Errorf("the UID is %s, not %s", was.GetUID(), uid))
	}
	if is.GetName() != was.GetName() {
		return nil, apierrors.NewBadRequest("the name of the object is not that of the request")
	}
	is.SetNamespace(was.GetNamespace())
	is.SetUID(was.GetUID())
	is.SetResourceVersion(was.GetResourceVersion())
	is.SetCreationTimestamp(was.GetCreationTimestamp())
	is.SetDeletionTimestamp(was.GetDeletionTimestamp())
	if is.GetGeneration() == 0 {
		is.SetGeneration(was.GetGeneration())
	}
	obj.GetObjectKind().SetGroupVersionKind(f.kinds[gvr].GVK())
	if equality.Semantic.DeepEqual(old, obj) {
		return old, nil
	}
	if is.GetDeletionTimestamp() != nil && len(is.GetFinalizers()) == 0 {
		f.recordLocked(gvr, key, watch.Deleted, obj, old)
		return obj, nil
	}
	f.recordLocked(gvr, key, watch.Modified, obj, old)
	return obj, nil
}

// deleteLocked deletes an object, or marks it as deleted if it has finalizers.
func (f *Server) deleteLocked(gvr schema.GroupVersionResource, key string, old runtime.Object) {
	accessor, _ := meta.Accessor(old)
	switch {
	case len(accessor.GetFinalizers()) == 0:
		f.removeLocked(gvr, key, old)
	case accessor.GetDeletionTimestamp() == nil:
		marked := old.DeepCopyObject()
		accessor, _ = meta.Accessor(marked)
		now := metav1.NewTime(time.Now().Truncate(time.Second))
		accessor.SetDeletionTimestamp(&now)
		f.recordLocked(gvr, key, watch.Modified, marked, old)
	}
}

func (f *Server) removeLocked(gvr schema.GroupVersionResource, key string, old runtime.Object) {
	f.recordLocked(gvr, key, watch.Deleted, old.DeepCopyObject(), old)
}

// listLocked returns a page, in the order of the keys, and its list metadata.
func (f *Server) listLocked(gvr schema.GroupVersionResource, sel fakeSelection, opts metav1.ListOptions) (objects []runtime.Object, list metav1.ListMeta, err error) {
	version := f.version
	switch {
	case opts.Continue != "":
		pages := f.pages[opts.Continue]
		if pages == nil {
			return nil, list, apierrors.NewResourceExpired("the continue token has expired; list again")
		}
		version, objects = pages.version, pages.objects
	default:
		if wanted, err := strconv.ParseUint(opts.ResourceVersion, 10, 64); err == nil && wanted > version {
			return nil, list, tooLarge(wanted, version)
		}
		if opts.ResourceVersionMatch == metav1.ResourceVersionMatchExact && opts.ResourceVersion != strconv.FormatUint(version, 10) {
			return nil, list, apierrors.NewResourceExpired("this exact version is not available; list again")
		}
		for key, obj := range f.objects[gvr] {
			if sel.namespace != "" && !strings.HasPrefix(key, sel.namespace+"/") {
				continue
			}
			if sel.matches(obj) {
				objects = append(objects, obj)
			}
		}
		slices.SortFunc(objects, func(a, b runtime.Object) int {
			return strings.Compare(keyOf(a), keyOf(b))
		})
	}
	list.ResourceVersion = strconv.FormatUint(version, 10)
	if opts.Limit > 0 && int64(len(objects)) > opts.Limit {
		rest := objects[opts.Limit:]
		objects = objects[:opts.Limit]
		f.pageCount++
		list.Continue = fmt.Sprintf("%s-%d", gvr.Resource, f.pageCount)
		remaining := int64(len(rest))
		if opts.LabelSelector == "" && opts.FieldSelector == "" {
			list.RemainingItemCount = &remaining
		}
		f.pages[list.Continue] = &pageSet{version: version, objects: rest}
		if f.pageKeys = append(f.pageKeys, list.Continue); len(f.pageKeys) > fakeTokens {
			delete(f.pages, f.pageKeys[0])
			f.pageKeys = f.pageKeys[1:]
		}
	}
	return objects, list, nil
}

func tooLarge(wanted, current uint64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", wanted, current), 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type:    metav1.CauseTypeResourceVersionTooLarge,
		Message: "Too large resource version",
	}}
	err.ErrStatus.Code = http.StatusGatewayTimeout
	return err
}

// withStatus returns old with the status of obj.
func withStatus(old, obj runtime.Object) (runtime.Object, error) {
	from, err := toMap(obj)
	if err != nil {
		return nil, err
	}
	to, err := toMap(old)
	if err != nil {
		return nil, err
	}
	if status, ok := from["status"]; ok {
		to["status"] = status
	} else {
		delete(to, "status")
	}
	if accessor, err := meta.Accessor(obj); err == nil {
		metadata, _ := to["metadata"].(map[string]any)
		if v := accessor.GetResourceVersion(); v != "" && metadata != nil {
			metadata["resourceVersion"] = v
		}
	}
	return fromMap(to, old)
}

func toMap(obj runtime.Object) (map[string]any, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u.DeepCopy().Object, nil
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
}

// fromMap makes an object of the type of like.
func fromMap(m map[string]any, like runtime.Object) (runtime.Object, error) {
	if _, ok := like.(*unstructured.Unstructured); ok {
		return &unstructured.Unstructured{Object: m}, nil
	}
	obj, err := scheme.Scheme.New(like.GetObjectKind().GroupVersionKind())
	if err != nil {
		return nil, err
	}
	return obj, runtime.DefaultUnstructuredConverter.FromUnstructured(m, obj)
}
