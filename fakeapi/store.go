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
)

// maxHistory is the number of events that are kept for watches from old versions.
const maxHistory = 100_000

// bookmarkInterval is the interval between bookmarks.
const bookmarkInterval = time.Minute

// maxTokens is the number of valid continue tokens. Older ones expire.
const maxTokens = 1000

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

func objectKey(namespace, name string) string { return namespace + "/" + name }

func keyOf(obj runtime.Object) string {
	accessor, _ := meta.Accessor(obj)
	return objectKey(accessor.GetNamespace(), accessor.GetName())
}

// recordLocked sets the version of object, stores it, and wakes the watches. It returns the
// object. A dry run changes nothing.
func (f *Server) recordLocked(gvr schema.GroupVersionResource, key string, kind watch.EventType, object, old runtime.Object) runtime.Object {
	accessor, _ := meta.Accessor(object)
	if f.dryRun {
		return object
	}
	f.version++
	f.garbage = f.garbage || canBeGarbage(kind, accessor)
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
	if len(f.history) > maxHistory {
		f.compactLocked(f.history[len(f.history)/2].version)
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return object
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

// createLocked creates an object. It does not keep obj.
func (f *Server) createLocked(gvr schema.GroupVersionResource, namespace string, obj runtime.Object) (runtime.Object, error) {
	kind := f.kinds[gvr]
	obj = obj.DeepCopyObject()
	accessor, _ := meta.Accessor(obj)
	switch {
	case accessor.GetName() == "":
		return nil, apierrors.NewBadRequest("name or generateName is required")
	case kind.ClusterScoped:
		namespace = ""
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
		accessor.SetCreationTimestamp(now())
	}
	if kind.traits.generation && accessor.GetGeneration() == 0 {
		accessor.SetGeneration(1)
	}
	obj.GetObjectKind().SetGroupVersionKind(kind.GVK())
	return f.recordLocked(gvr, key, watch.Added, obj, nil), nil
}

// replaceLocked replaces old by obj, which it keeps, and returns the object with its version.
// If the last finalizer of a deleted object is gone, it deletes the object. As on a real
// server, watches then get the last state that was stored, and obj gets no new version.
func (f *Server) replaceLocked(gvr schema.GroupVersionResource, key string, old, obj runtime.Object) runtime.Object {
	obj.GetObjectKind().SetGroupVersionKind(f.kinds[gvr].GVK())
	if equality.Semantic.DeepEqual(old, obj) {
		return old
	}
	accessor, _ := meta.Accessor(obj)
	if accessor.GetDeletionTimestamp() != nil && len(accessor.GetFinalizers()) == 0 {
		f.removeLocked(gvr, key, old)
		return obj
	}
	return f.recordLocked(gvr, key, watch.Modified, obj, old)
}

func (f *Server) removeLocked(gvr schema.GroupVersionResource, key string, old runtime.Object) {
	f.recordLocked(gvr, key, watch.Deleted, old.DeepCopyObject(), old)
}

func now() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }

// listLocked returns a page, in the order of the keys, and its list metadata.
func (f *Server) listLocked(gvr schema.GroupVersionResource, sel selection, opts metav1.ListOptions) (objects []runtime.Object, list metav1.ListMeta, err error) {
	version := f.version
	switch {
	case opts.Continue != "":
		pages := f.pages[opts.Continue]
		if pages == nil {
			if !strings.HasPrefix(opts.Continue, gvr.Resource+"-") {
				return nil, list, apierrors.NewBadRequest("continue key is not valid")
			}
			return nil, list, apierrors.NewResourceExpired("the continue token has expired; list again")
		}
		version, objects = pages.version, pages.objects
	default:
		wanted, err := parseVersion(opts.ResourceVersion)
		if err != nil {
			return nil, list, apierrors.NewBadRequest(err.Error())
		}
		if wanted > version {
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
		if f.pageKeys = append(f.pageKeys, list.Continue); len(f.pageKeys) > maxTokens {
			delete(f.pages, f.pageKeys[0])
			f.pageKeys = f.pageKeys[1:]
		}
	}
	return objects, list, nil
}

// parseVersion parses a resource version. An empty one is 0.
func parseVersion(version string) (uint64, error) {
	if version == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("invalid resource version %q", version)
	}
	return v, nil
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

func toMap(obj runtime.Object) (map[string]any, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u.DeepCopy().Object, nil
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
}
