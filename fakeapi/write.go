// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	internalvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// call is a request about objects that is being served, with the mutex held.
type call struct {
	Request
	kind    Kind
	sel     selection
	body    []byte
	options metav1.PatchOptions // of a create, an update or a patch
}

// serveObject serves all requests about objects except watches. It returns the answer and
// its HTTP status code.
func (f *Server) serveObject(r *http.Request, req Request, kind Kind, body []byte) (runtime.Object, int, error) {
	c := call{Request: req, kind: kind, body: body}
	var err error
	if c.sel, err = selectionOf(req, kind); err != nil {
		return nil, 0, err
	}
	if err := checkListOptions(req); err != nil {
		return nil, 0, err
	}
	query := r.URL.Query()
	if err := decodeOptions(&c, query); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dryRun = len(c.options.DryRun) > 0
	defer func() {
		f.dryRun = false
		f.collectLocked()
	}()

	old, exists := f.objects[req.Resource][c.key()]
	group := req.Resource.GroupResource()
	if sub, ok := kind.subresource(req.Subresource); ok {
		return f.serveSubresourceLocked(&c, sub, old)
	}
	switch {
	case req.Name == "" && (req.Verb == "update" || req.Verb == "patch"),
		!kind.ClusterScoped && req.Namespace == "" && req.Verb != "list",
		req.Name != "" && req.Verb == "create",
		req.Name == "" && req.Verb == "deletecollection" && kind.Kind == "Namespace" && kind.Group == "",
		req.Subresource != "" && (req.Verb == "delete" || req.Verb == "create"):
		return nil, 0, apierrors.NewMethodNotSupported(group, req.Verb)
	case req.Name != "" && !exists && req.Verb != "patch" && req.Verb != "update":
		return nil, 0, apierrors.NewNotFound(group, req.Name)
	}
	switch req.Verb {
	case "get":
		return old, http.StatusOK, nil
	case "list":
		objects, list, err := f.listLocked(c.Resource, c.sel, c.Options)
		if err != nil {
			return nil, 0, err
		}
		obj, err := makeList(kind, objects, list)
		return obj, http.StatusOK, err
	case "create":
		obj, err := c.decode(body)
		if err != nil {
			return nil, 0, err
		}
		obj, err = f.createFromLocked(&c, obj)
		return obj, http.StatusCreated, err
	case "update":
		obj, err := c.decode(body)
		if err != nil {
			return nil, 0, err
		}
		if err := c.checkName(obj); err != nil {
			return nil, 0, err
		}
		if !exists && kind.traits.createOnUpdate && c.Subresource == "" {
			obj, err = f.createFromLocked(&c, obj)
			return obj, http.StatusCreated, err
		}
		if !exists {
			return nil, 0, apierrors.NewNotFound(group, req.Name)
		}
		obj, err = f.updateFromLocked(&c, old, obj)
		return obj, http.StatusOK, err
	case "patch":
		code := http.StatusOK
		if !exists {
			code = http.StatusCreated
		}
		obj, err := f.patchLocked(&c, types.PatchType(mediaOf(req.ContentType)), old)
		return obj, code, err
	case "delete", "deletecollection":
		return f.deleteFromLocked(&c, old, query)
	}
	return nil, 0, apierrors.NewMethodNotSupported(group, r.Method)
}

func (c *call) key() string { return objectKey(c.Namespace, c.Name) }

// decodeOptions sets and checks the options of a create, an update or a patch.
func decodeOptions(c *call, query url.Values) error {
	if err := metav1.Convert_url_Values_To_v1_PatchOptions(&query, &c.options, nil); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	var errs field.ErrorList
	kind := ""
	switch c.Verb {
	case "create":
		kind, errs = "CreateOptions", metav1validation.ValidateCreateOptions(&metav1.CreateOptions{DryRun: c.options.DryRun, FieldManager: c.options.FieldManager})
	case "update":
		kind, errs = "UpdateOptions", metav1validation.ValidateUpdateOptions(&metav1.UpdateOptions{DryRun: c.options.DryRun, FieldManager: c.options.FieldManager})
	case "patch":
		kind, errs = "PatchOptions", metav1validation.ValidatePatchOptions(&c.options, types.PatchType(mediaOf(c.ContentType)))
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
	}
	return nil
}

// checkListOptions checks the options of a list or a watch.
func checkListOptions(req Request) error {
	o := req.Options
	errs := internalvalidation.ValidateListOptions(&internalversion.ListOptions{
		Watch: req.Verb == "watch", AllowWatchBookmarks: o.AllowWatchBookmarks, SendInitialEvents: o.SendInitialEvents,
		ResourceVersion: o.ResourceVersion, ResourceVersionMatch: o.ResourceVersionMatch,
		Limit: o.Limit, Continue: o.Continue,
	}, true)
	if len(errs) > 0 && (req.Verb == "list" || req.Verb == "watch") {
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
	}
	return nil
}

// decode reads an object of the kind.
func (c *call) decode(body []byte) (runtime.Object, error) {
	if len(body) == 0 {
		return nil, apierrors.NewBadRequest("the body of the request is empty")
	}
	obj, err := decodeBody(body, c.kind, c.ContentType)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	accessor, _ := meta.Accessor(obj)
	switch namespace := accessor.GetNamespace(); {
	case c.kind.ClusterScoped:
		accessor.SetNamespace("")
	case namespace == "":
		accessor.SetNamespace(c.Namespace)
	case namespace != c.Namespace:
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return obj, nil
}

func (c *call) checkName(obj runtime.Object) error {
	accessor, _ := meta.Accessor(obj)
	switch name := accessor.GetName(); name {
	case c.Name:
		return nil
	case "":
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object is empty; it must be %q", c.Name))
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", name, c.Name))
	}
}

func decodeBody(body []byte, kind Kind, contentType string) (runtime.Object, error) {
	gvk := kind.GVK()
	var (
		obj runtime.Object
		is  *schema.GroupVersionKind
		err error
	)
	if !kind.traits.custom {
		obj, is, err = scheme.Codecs.UniversalDeserializer().Decode(body, &gvk, nil)
	} else {
		if mediaOf(contentType) == runtime.ContentTypeYAML {
			body, err = yaml.YAMLToJSON(body)
		}
		u := &unstructured.Unstructured{}
		if err == nil {
			err = u.UnmarshalJSON(body)
		}
		obj, is = u, new(u.GroupVersionKind())
	}
	if err == nil && *is != gvk {
		err = fmt.Errorf("the object is a %s, not a %s", is, gvk)
	}
	return obj, err
}

// createFromLocked creates an object that a client sends.
func (f *Server) createFromLocked(c *call, obj runtime.Object) (runtime.Object, error) {
	accessor, _ := meta.Accessor(obj)
	if accessor.GetName() == "" && accessor.GetGenerateName() != "" {
		accessor.SetName(accessor.GetGenerateName() + utilrand.String(5))
	}
	if accessor.GetResourceVersion() != "" {
		return nil, apierrors.NewInternalError(errors.New("resourceVersion should not be set on objects to be created"))
	}
	accessor.SetCreationTimestamp(metav1.Time{})
	accessor.SetDeletionTimestamp(nil)
	accessor.SetDeletionGracePeriodSeconds(nil)
	accessor.SetSelfLink("")
	if c.kind.traits.generation {
		accessor.SetGeneration(0)
	}
	if c.kind.traits.status && !c.kind.traits.keepsStatus {
		copyStatus(obj, nil)
		setPhase(obj, c.kind.traits.phase)
	}
	if err := c.invalid(accessor, validation.ValidateObjectMetaAccessor(accessor, !c.kind.ClusterScoped,
		c.kind.traits.name, field.NewPath("metadata"))); err != nil {
		return nil, err
	}
	return f.createLocked(c.Resource, c.Namespace, obj)
}

func (c *call) invalid(accessor metav1.Object, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(c.kind.GVK().GroupKind(), accessor.GetName(), errs)
}

// updateFromLocked replaces old, or its status, by the object that a client sends.
func (f *Server) updateFromLocked(c *call, old, obj runtime.Object) (runtime.Object, error) {
	was, _ := meta.Accessor(old)
	is, _ := meta.Accessor(obj)
	path := field.NewPath("metadata")
	if _, err := parseVersion(is.GetResourceVersion()); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if c.kind.traits.versioned && is.GetResourceVersion() == "" {
		return nil, c.invalid(is, field.ErrorList{field.Invalid(path.Child("resourceVersion"), 0, "must be specified for an update")})
	}
	if c.Subresource == "status" {
		merged := old.DeepCopyObject()
		copyStatus(merged, obj)
		accessor, _ := meta.Accessor(merged)
		accessor.SetResourceVersion(is.GetResourceVersion())
		accessor.SetUID(is.GetUID())
		accessor.SetManagedFields(is.GetManagedFields())
		obj, is = merged, accessor
	} else if c.kind.traits.status {
		copyStatus(obj, old)
	}
	is.SetGeneration(was.GetGeneration())
	if t := c.kind.traits; t.generation && (!sameSpec(old, obj, t.status) ||
		t.annotations && !maps.Equal(was.GetAnnotations(), is.GetAnnotations())) {
		is.SetGeneration(was.GetGeneration() + 1)
	}
	if is.GetUID() == "" {
		is.SetUID(was.GetUID())
	}
	is.SetCreationTimestamp(was.GetCreationTimestamp())
	is.SetDeletionTimestamp(was.GetDeletionTimestamp())
	is.SetDeletionGracePeriodSeconds(was.GetDeletionGracePeriodSeconds())
	is.SetSelfLink("")
	uid := is.GetUID()
	if c.Verb == "patch" {
		is.SetUID("") // the validation below refuses another UID
	}
	if err := checkVersion(c.Resource, was, is); err != nil {
		return nil, err
	}
	is.SetUID(uid)
	is.SetResourceVersion(was.GetResourceVersion())
	errs := validation.ValidateObjectMetaAccessor(is, !c.kind.ClusterScoped, c.kind.traits.name, path)
	if err := c.invalid(is, append(errs, validation.ValidateObjectMetaAccessorUpdate(is, was, path)...)); err != nil {
		return nil, err
	}
	if c.ContentType != string(types.ApplyYAMLPatchType) {
		obj = trackUpdate(c, old, obj)
	}
	return f.replaceLocked(c.Resource, c.key(), old, obj), nil
}

// deleteFromLocked deletes an object or a collection for a client.
func (f *Server) deleteFromLocked(c *call, old runtime.Object, query url.Values) (runtime.Object, int, error) {
	opts := &metav1.DeleteOptions{}
	err := metav1.Convert_url_Values_To_v1_DeleteOptions(&query, opts, nil)
	if err == nil && len(c.body) > 0 {
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(c.body, nil, opts)
	}
	if err != nil {
		return nil, 0, apierrors.NewBadRequest(err.Error())
	}
	if errs := metav1validation.ValidateDeleteOptions(opts); len(errs) > 0 {
		return nil, 0, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "DeleteOptions"}, "", errs)
	}
	f.dryRun = f.dryRun || len(opts.DryRun) > 0
	if c.Verb == "deletecollection" {
		list := c.Options
		list.Limit, list.Continue = 0, ""
		objects, meta, err := f.listLocked(c.Resource, c.sel, list)
		if err != nil {
			return nil, 0, err
		}
		for _, obj := range objects {
			if current := f.objects[c.Resource][keyOf(obj)]; current != nil { // not collected meanwhile
				f.deleteLocked(c.Resource, keyOf(obj), current, opts)
			}
		}
		answer, err := makeList(c.kind, objects, meta)
		return answer, http.StatusOK, err
	}
	accessor, _ := meta.Accessor(old)
	if err := checkPreconditions(c, accessor, opts.Preconditions); err != nil {
		return nil, 0, err
	}
	left, deleted := f.deleteLocked(c.Resource, c.key(), old, opts)
	if !deleted || c.kind.traits.returnsDeleted {
		return left, http.StatusOK, nil
	}
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: c.Name, Group: c.Resource.Group, Kind: c.Resource.Resource, UID: accessor.GetUID()},
	}, http.StatusOK, nil
}

// checkPreconditions returns a conflict if an object is not the one to be deleted.
func checkPreconditions(c *call, is metav1.Object, p *metav1.Preconditions) error {
	group := schema.GroupResource{Group: c.kind.Group, Resource: c.kind.Kind} // as on a real server
	switch {
	case p == nil:
	case p.UID != nil && *p.UID != is.GetUID():
		return apierrors.NewConflict(group, c.Name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s)", *p.UID, is.GetUID()))
	case p.ResourceVersion != nil && *p.ResourceVersion != is.GetResourceVersion():
		return apierrors.NewConflict(group, c.Name, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s)",
			*p.ResourceVersion, is.GetResourceVersion()))
	}
	return nil
}

// checkVersion returns a conflict if a write names another version or another UID.
func checkVersion(gvr schema.GroupVersionResource, was, is metav1.Object) error {
	if v := is.GetResourceVersion(); v != "" && v != was.GetResourceVersion() {
		return apierrors.NewConflict(gvr.GroupResource(), was.GetName(),
			errors.New("the object has been modified; please apply your changes to the latest version and try again"))
	}
	if uid := is.GetUID(); uid != "" && uid != was.GetUID() {
		return apierrors.NewConflict(gvr.GroupResource(), was.GetName(),
			fmt.Errorf("the UID is %s, not %s", was.GetUID(), uid))
	}
	return nil
}

// readBody reads the body of a request.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, apierrors.NewBadRequest(strings.TrimSpace(err.Error()))
	}
	return body, nil
}
