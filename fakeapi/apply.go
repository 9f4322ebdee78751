// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// patchLocked applies a patch to old, which is nil if there is no object.
func (f *Server) patchLocked(c *call, patchType types.PatchType, old runtime.Object) (runtime.Object, error) {
	if patchType == types.ApplyYAMLPatchType {
		return f.applyLocked(c, old)
	}
	obj, err := c.patched(patchType, old)
	if err != nil {
		return nil, err
	}
	return f.updateFromLocked(c, old, obj)
}

// patched returns old, of the kind of c, with the patch, which is not an apply.
func (c *call) patched(patchType types.PatchType, old runtime.Object) (runtime.Object, error) {
	group := c.Resource.GroupResource()
	unsupported := func() error {
		return apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", group, c.Name,
			"the body of the request was in an unknown format", 0, true)
	}
	switch patchType {
	case types.StrategicMergePatchType:
		if c.kind.traits.custom {
			return nil, unsupported()
		}
	case types.JSONPatchType, types.MergePatchType:
	default:
		return nil, unsupported()
	}
	if patchType == types.MergePatchType && !json.Valid(c.body) {
		return nil, apierrors.NewBadRequest("error decoding patch: it is not JSON")
	}
	if old == nil {
		return nil, apierrors.NewNotFound(group, c.Name)
	}
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var after []byte
	switch patchType {
	case types.JSONPatchType:
		var ops jsonpatch.Patch
		if ops, err = jsonpatch.DecodePatch(c.body); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if after, err = ops.Apply(before); err != nil {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
		}
	case types.MergePatchType:
		after, err = jsonpatch.MergePatch(before, c.body)
	case types.StrategicMergePatchType:
		after, err = strategicpatch.StrategicMergePatch(before, c.body, old)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	obj, err := decodeBody(after, c.kind, runtime.ContentTypeJSON)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return obj, c.checkName(obj)
}

// applyLocked is server-side apply. It creates a missing object.
func (f *Server) applyLocked(c *call, old runtime.Object) (runtime.Object, error) {
	data, err := yaml.YAMLToJSON(c.body)
	if err != nil {
		return nil, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	applied := &unstructured.Unstructured{}
	if err := applied.UnmarshalJSON(data); err != nil {
		return nil, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	if applied.GroupVersionKind() != c.kind.GVK() {
		return nil, apierrors.NewBadRequest("the object is a " + applied.GroupVersionKind().String() + ", not a " + c.kind.GVK().String())
	}
	if err := c.checkName(applied); err != nil {
		return nil, err
	}
	if c.Subresource == "" && c.kind.traits.status {
		delete(applied.Object, "status")
	} else if c.Subresource == "status" {
		if old == nil {
			return nil, apierrors.NewNotFound(c.Resource.GroupResource(), c.Name)
		}
		delete(applied.Object, "spec")
	}
	var live runtime.Object
	if old != nil {
		live = old.DeepCopyObject()
	} else if live, err = newObject(c.kind.GVK()); err != nil {
		return nil, err
	} else {
		applied.SetNamespace(c.Namespace)
	}
	manager, err := fieldManager(c)
	if err != nil {
		return nil, err
	}
	force := c.options.Force != nil && *c.options.Force
	obj, err := manager.Apply(live, applied, c.options.FieldManager, force)
	if err == nil && obj == nil {
		return old, nil // nothing changes
	}
	if err == nil {
		obj, err = builtIn(obj)
	}
	if err != nil {
		if apierrors.ReasonForError(err) == "" {
			err = apierrors.NewInternalError(err)
		}
		return nil, err
	}
	if old == nil {
		return f.createFromLocked(c, obj)
	}
	keepTimes(old, obj)
	return f.updateFromLocked(c, old, obj)
}

// keepTimes sets the times of managed fields that did not change, so that a write that
// changes nothing else makes no new version.
func keepTimes(old, obj runtime.Object) {
	was, _ := meta.Accessor(old)
	is, _ := meta.Accessor(obj)
	entries := is.GetManagedFields()
	for i := range entries {
		for _, before := range was.GetManagedFields() {
			entry := entries[i]
			if entry.Time = before.Time; equality.Semantic.DeepEqual(entry, before) {
				entries[i].Time = before.Time
			}
		}
	}
	is.SetManagedFields(entries)
}

// trackUpdate returns obj with the managed fields after an update or a patch. Fields are
// tracked from the first apply on.
func trackUpdate(c *call, old, obj runtime.Object) runtime.Object {
	was, _ := meta.Accessor(old)
	if len(was.GetManagedFields()) == 0 {
		return obj
	}
	manager, err := fieldManager(c)
	if err != nil {
		return obj
	}
	name := c.options.FieldManager
	if name == "" {
		name, _, _ = strings.Cut(c.UserAgent, "/")
	}
	obj.GetObjectKind().SetGroupVersionKind(c.kind.GVK())
	out, err := builtIn(manager.UpdateNoErrors(old.DeepCopyObject(), obj, name))
	if err != nil {
		return obj
	}
	keepTimes(old, out)
	return out
}

var builtInConverter = sync.OnceValue(func() managedfields.TypeConverter {
	return applyconfigurations.NewTypeConverter(scheme.Scheme)
})

func fieldManager(c *call) (*managedfields.FieldManager, error) {
	gvk := c.kind.GVK()
	if c.kind.traits.custom {
		return managedfields.NewDefaultCRDFieldManager(managedfields.NewDeducedTypeConverter(), oneVersion{}, oneVersion{},
			oneVersion{}, gvk, gvk.GroupVersion(), c.Subresource, nil)
	}
	return managedfields.NewDefaultFieldManager(builtInConverter(), oneVersion{}, oneVersion{},
		oneVersion{}, gvk, gvk.GroupVersion(), c.Subresource, nil)
}

// newObject returns an empty object of a kind, in the type that the server stores.
func newObject(gvk schema.GroupVersionKind) (runtime.Object, error) {
	if !scheme.Scheme.Recognizes(gvk) {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(gvk)
		return u, nil
	}
	obj, err := scheme.Scheme.New(gvk)
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return obj, nil
}

// oneVersion is the converter, defaulter and constructor of objects that have one version.
type oneVersion struct{}

func (oneVersion) Convert(_, _, _ any) error { return nil }

func (oneVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (oneVersion) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

func (oneVersion) Default(runtime.Object) {}

func (oneVersion) New(gvk schema.GroupVersionKind) (runtime.Object, error) { return newObject(gvk) }
