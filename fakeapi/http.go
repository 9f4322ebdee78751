// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubeversion "k8s.io/apimachinery/pkg/version"
)

// serve serves a request. If it returns an error, the connection must break.
func (f *Server) serve(w http.ResponseWriter, r *http.Request) error {
	req, isObject := parseRequest(r)
	body, err := readBody(r)
	if err != nil {
		writeError(w, err)
		return nil
	}
	f.mu.Lock()
	kind, installed := f.kinds[req.Resource]
	req.setBody(body, kind, installed)
	f.requests = append(f.requests, req)
	intercept, forbidden := f.intercept, f.forbiddenLocked(req)
	f.mu.Unlock()

	if forbidden {
		writeError(w, forbiddenError(req))
		return nil
	}
	if intercept != nil {
		answer := &answer{}
		req.answer = answer
		if err := intercept(r.Context(), req); err != nil {
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				return err
			}
			writeError(w, err)
			return nil
		}
		if answer.object != nil {
			return writeObject(w, negotiate(r, kind), answer.object, http.StatusOK)
		}
	}
	if !isObject {
		f.serveDiscovery(w, req.Path)
		return nil
	}
	namespaced := kind.ClusterScoped && req.Namespace != ""
	_, served := kind.subresource(req.Subresource)
	unknown := !served && req.Subresource != "" && (req.Subresource != "status" || !kind.traits.status)
	switch {
	case !installed, namespaced && kind.traits.custom:
		http.Error(w, "404 page not found", http.StatusNotFound)
		return nil
	case namespaced, unknown && !kind.traits.custom:
		writeError(w, notServed)
		return nil
	case unknown:
		writeError(w, apierrors.NewNotFound(req.Resource.GroupResource(), req.Name))
		return nil
	}
	out := negotiate(r, kind)
	if req.Verb == "watch" {
		return f.serveWatch(w, r, req, kind, out)
	}
	obj, code, err := f.serveObject(r, req, kind, body)
	if err != nil {
		writeError(w, err)
		return nil
	}
	return writeObject(w, out, obj, code)
}

var notServed = apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "", 0, false)

func writeObject(w http.ResponseWriter, out fakeFormat, obj runtime.Object, code int) error {
	data, err := out.encode(obj)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", out.mediaType)
	w.WriteHeader(code)
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
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	_ = json.NewEncoder(w).Encode(doc)
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
