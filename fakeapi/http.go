// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kubeversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
)

// serve serves a request. If it returns an error, the connection must break.
func (f *Server) serve(w http.ResponseWriter, r *http.Request) error {
	req, isObject := parseRequest(r)
	f.mu.Lock()
	f.requests = append(f.requests, req)
	intercept := f.intercept
	kind, installed := f.kinds[req.Resource]
	f.mu.Unlock()

	if intercept != nil {
		if err := intercept(r.Context(), req); err != nil {
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				return err
			}
			writeError(w, err)
			return nil
		}
	}
	if !isObject {
		f.serveDiscovery(w, req.Path)
		return nil
	}
	if !installed || req.Subresource != "" && req.Subresource != "status" {
		writeError(w, apierrors.NewGenericServerResponse(http.StatusNotFound, req.Verb, req.Resource.GroupResource(), req.Name,
			"404 page not found", 0, true))
		return nil
	}
	out := negotiate(r, kind)
	if req.Verb == "watch" {
		return f.serveWatch(w, r, req, out)
	}
	obj, err := f.serveObject(r, req, kind)
	if err != nil {
		writeError(w, err)
		return nil
	}
	data, err := out.encode(obj)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", out.mediaType)
	if req.Verb == "create" {
		w.WriteHeader(http.StatusCreated)
	}
	_, err = w.Write(data)
	return err
}

// parseRequest parses a request, and returns true if it is about objects.
func parseRequest(r *http.Request) (Request, bool) {
	req := Request{
		Path:        r.URL.Path,
		Accept:      r.Header.Get("Accept"),
		ContentType: r.Header.Get("Content-Type"),
		UserAgent:   r.Header.Get("User-Agent"),
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		req.Resource.Version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		req.Resource.Group, req.Resource.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return req, false
	}
	if len(parts) > 2 && parts[0] == "namespaces" && parts[2] != "status" && parts[2] != "finalize" {
		req.Namespace, parts = parts[1], parts[2:]
	}
	req.Resource.Resource = parts[0]
	if len(parts) > 1 {
		req.Name = parts[1]
	}
	if len(parts) > 2 {
		req.Subresource = strings.Join(parts[2:], "/")
	}
	query := r.URL.Query()
	// Options that cannot be decoded are ignored, like unknown ones.
	_ = metav1.Convert_url_Values_To_v1_ListOptions(&query, &req.Options, nil)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		switch {
		case req.Name != "":
			req.Verb = "get"
		case isWatch(r):
			req.Verb = "watch"
		default:
			req.Verb = "list"
		}
	case http.MethodPost:
		req.Verb = "create"
	case http.MethodPut:
		req.Verb = "update"
	case http.MethodPatch:
		req.Verb = "patch"
	case http.MethodDelete:
		req.Verb = "delete"
		if req.Name == "" {
			req.Verb = "deletecollection"
		}
	}
	return req, true
}

func (f *Server) serveDiscovery(w http.ResponseWriter, path string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var doc any
	switch {
	case path == "/api":
		doc = &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case path == "/apis":
		doc = f.groups()
	case len(parts) == 2 && parts[0] == "api":
		doc = f.describe(schema.GroupVersion{Version: parts[1]})
	case len(parts) == 3 && parts[0] == "apis":
		doc = f.describe(schema.GroupVersion{Group: parts[1], Version: parts[2]})
	case len(parts) == 2 && parts[0] == "apis":
		for _, group := range f.groups().Groups {
			if group.Name == parts[1] {
				group.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
				doc = &group
			}
		}
	case path == "/version":
		doc = &kubeversion.Info{Major: "1", Minor: "37", GitVersion: "v1.37.0-fake"}
	case path == "/readyz" || path == "/livez" || path == "/healthz":
		_, _ = io.WriteString(w, "ok")
		return
	}
	if doc == nil {
		writeError(w, apierrors.NewGenericServerResponse(http.StatusNotFound, "get", schema.GroupResource{}, "", "404 page not found", 0, true))
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	_ = json.NewEncoder(w).Encode(doc)
}

// serveObject serves all requests about objects except watches.
func (f *Server) serveObject(r *http.Request, req Request, kind Kind) (runtime.Object, error) {
	if kind.ClusterScoped && req.Namespace != "" {
		return nil, apierrors.NewBadRequest(kind.Kind + " has no namespace")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	sel, err := selectionOf(req)
	if err != nil {
		return nil, err
	}
	gvr, key := req.Resource, objectKey(req.Namespace, req.Name)

	f.mu.Lock()
	defer f.mu.Unlock()
	old, exists := f.objects[gvr][key]
	if req.Name == "" && (req.Verb == "update" || req.Verb == "patch") {
		return nil, apierrors.NewMethodNotSupported(gvr.GroupResource(), req.Verb+" without a name")
	}
	if req.Name != "" && !exists && req.Verb != "patch" {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), req.Name)
	}
	switch req.Verb {
	case "get":
		return old, nil
	case "list":
		objects, list, err := f.listLocked(gvr, sel, req.Options)
		if err != nil {
			return nil, err
		}
		return makeList(kind, objects, list)
	case "create":
		return f.createFromLocked(req, kind, body)
	case "update":
		return f.updateFromLocked(req, kind, old, body)
	case "patch":
		return f.patchLocked(req, kind, types.PatchType(mediaOf(req.ContentType)), body)
	case "delete":
		if err := checkPreconditions(body, req, old); err != nil {
			return nil, err
		}
		f.deleteLocked(gvr, key, old)
		return success(), nil
	case "deletecollection":
		opts := req.Options
		opts.Limit, opts.Continue = 0, ""
		objects, _, err := f.listLocked(gvr, sel, opts)
		if err != nil {
			return nil, err
		}
		for _, obj := range objects {
			f.deleteLocked(gvr, keyOf(obj), obj)
		}
		return success(), nil
	}
	return nil, apierrors.NewMethodNotSupported(gvr.GroupResource(), r.Method)
}

// createFromLocked creates the object in body.
func (f *Server) createFromLocked(req Request, kind Kind, body []byte) (runtime.Object, error) {
	obj, err := decodeBody(body, kind)
	if err != nil {
		return nil, err
	}
	return f.createLocked(req.Resource, req.Namespace, obj)
}

// updateFromLocked replaces old, or its status, by the object in body.
func (f *Server) updateFromLocked(req Request, kind Kind, old runtime.Object, body []byte) (runtime.Object, error) {
	obj, err := decodeBody(body, kind)
	if err == nil && req.Subresource == "status" {
		obj, err = withStatus(old, obj)
	}
	if err != nil {
		return nil, err
	}
	return f.updateLocked(req.Resource, objectKey(req.Namespace, req.Name), old, obj)
}

// checkPreconditions checks the preconditions of the DeleteOptions in body.
func checkPreconditions(body []byte, req Request, obj runtime.Object) error {
	opts := &metav1.DeleteOptions{}
	if len(body) > 0 {
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, opts); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	accessor, _ := meta.Accessor(obj)
	if p := opts.Preconditions; p != nil && (p.UID != nil && *p.UID != accessor.GetUID() ||
		p.ResourceVersion != nil && *p.ResourceVersion != accessor.GetResourceVersion()) {
		return apierrors.NewConflict(req.Resource.GroupResource(), req.Name, errors.New("the preconditions do not hold"))
	}
	return nil
}

func success() runtime.Object {
	return &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}
}

// statusOf returns the Status that is sent for an error.
func statusOf(err error) *metav1.Status {
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		api = apierrors.NewInternalError(err)
	}
	status := api.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return &status
}

func writeError(w http.ResponseWriter, err error) {
	status := statusOf(err)
	code := int(status.Code)
	if code == 0 {
		code = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(status.Details.RetryAfterSeconds))
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(status)
}

// decodeBody reads an object of a kind.
func decodeBody(body []byte, kind Kind) (runtime.Object, error) {
	gvk := kind.GVK()
	var (
		obj runtime.Object
		is  *schema.GroupVersionKind
		err error
	)
	if scheme.Scheme.Recognizes(gvk) {
		obj, is, err = scheme.Codecs.UniversalDeserializer().Decode(body, &gvk, nil)
	} else {
		u := &unstructured.Unstructured{}
		err = json.Unmarshal(body, &u.Object)
		obj, is = u, new(u.GroupVersionKind())
	}
	if err == nil && *is != gvk {
		err = fmt.Errorf("the object is a %s, not a %s", is, gvk)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return obj, nil
}

// fakeSelection selects the objects of a list or a watch.
type fakeSelection struct {
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

func selectionOf(req Request) (fakeSelection, error) {
	sel := fakeSelection{namespace: req.Namespace}
	var err error
	if sel.labels, err = labels.Parse(req.Options.LabelSelector); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	if sel.fields, err = fields.ParseSelector(req.Options.FieldSelector); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	return sel, nil
}

func (s fakeSelection) matches(obj runtime.Object) bool {
	accessor, _ := meta.Accessor(obj)
	if s.namespace != "" && accessor.GetNamespace() != s.namespace || !s.labels.Matches(labels.Set(accessor.GetLabels())) {
		return false
	}
	if s.fields.Empty() {
		return true
	}
	m, err := toMap(obj)
	if err != nil {
		return false
	}
	set := fields.Set{}
	for _, r := range s.fields.Requirements() {
		value, _, _ := unstructured.NestedFieldNoCopy(m, strings.Split(r.Field, ".")...)
		if value != nil {
			set[r.Field] = fmt.Sprint(value)
		}
	}
	return s.fields.Matches(set)
}

// withLive returns a context that ends with ctx, and when f disconnects. Disconnect waits
// until the cancel function is called.
func (f *Server) withLive(ctx context.Context) (context.Context, context.CancelFunc) {
	ended := make(chan struct{})
	f.mu.Lock()
	live := f.live
	f.streams[ended] = true
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(live, cancel)
	return ctx, func() {
		stop()
		cancel()
		f.mu.Lock()
		delete(f.streams, ended)
		f.mu.Unlock()
		close(ended)
	}
}

// isWatch returns true if the response to req does not end by itself.
func isWatch(req *http.Request) bool {
	query := req.URL.Query()
	for _, name := range []string{"watch", "follow"} {
		if v := query.Get(name); v == "true" || v == "1" {
			return true
		}
	}
	return false
}
