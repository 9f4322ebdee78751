// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Request describes a request to a [Server].
type Request struct {
	// Verb is get, list, watch, create, update, patch, delete or deletecollection. It is
	// empty for requests that are not about objects, such as discovery.
	Verb string

	// Resource, Namespace, Name and Subresource identify the object or the collection.
	Resource    schema.GroupVersionResource
	Namespace   string
	Name        string
	Subresource string

	// Object is the object of a create or an update. It must not be modified. It is nil if
	// the server cannot decode it.
	Object runtime.Object

	// Patch is the patch, in the format of ContentType.
	Patch []byte

	// Path is the path of the URL.
	Path string

	// Options are the options of a list or a watch.
	Options metav1.ListOptions

	// Accept, ContentType and UserAgent are headers.
	Accept, ContentType, UserAgent string

	answer *answer // in the function of Intercept
}

// answer is what the function of Intercept answers with.
type answer struct{ object runtime.Object }

// Answer makes the server answer with obj, such as an object or a list, and code 200. It
// does not serve the request. A watch cannot be answered. Only the function of [Server.Intercept] can call Answer.
func (r Request) Answer(obj runtime.Object) { r.answer.object = obj }

// setBody sets the fields that depend on the body.
func (r *Request) setBody(body []byte, kind Kind, installed bool) {
	switch {
	case r.Verb == "patch":
		r.Patch = body
	case installed && (r.Verb == "create" || r.Verb == "update"):
		if sub, ok := kind.subresource(r.Subresource); ok {
			kind = sub.kind
		}
		if obj, err := decodeBody(body, kind, r.ContentType); err == nil {
			r.Object = obj
		}
	}
}

// Intercept sets a function that is called before each request, including watches. It is
// not called for open watches; call Disconnect to make clients open them again. It takes the
// place of the reactors of client-go's fake clientsets:
//
//   - It can fail: if it returns an error of apimachinery's package api/errors, the client
//     gets this error. Any other error breaks the connection.
//   - It can answer, with [Request.Answer].
//   - It can delay, until the context of the request ends.
//   - Otherwise it returns nil, and the server serves the request.
//
// It can call f. Nil removes the function. For example:
//
//	api.Intercept(func(ctx context.Context, r fakeapi.Request) error {
//		if r.Verb == "create" && r.Resource.Resource == "pods" {
//			return apierrors.NewInternalError(errors.New("the webhook failed"))
//		}
//		return nil
//	})
func (f *Server) Intercept(fn func(context.Context, Request) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intercept = fn
}

// Requests returns all requests so far, in the order of their arrival.
func (f *Server) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.requests...)
}

// rule identifies requests that are forbidden. "*" is any verb, and the zero resource is any
// resource.
type rule struct {
	verb     string
	resource schema.GroupResource
}

// Forbid makes the server refuse a verb for a resource with "Forbidden" (403), before the
// function of Intercept is called. The verb "*" is any verb, and the resource "*" is any
// resource. Resources are named as in [Server.Resource], all versions of the group at once.
// Open watches continue, as on a real server.
func (f *Server) Forbid(verb, resource string) error {
	return f.setForbidden(verb, resource, func(r rule) { f.forbidden[r] = true })
}

// Allow undoes Forbid with the same arguments. Allow("*", "*") undoes all.
func (f *Server) Allow(verb, resource string) error {
	return f.setForbidden(verb, resource, func(r rule) {
		if r.verb == "*" {
			maps.DeleteFunc(f.forbidden, func(other rule, _ bool) bool {
				return r.resource == other.resource || r.resource.Empty()
			})
		}
		delete(f.forbidden, r)
	})
}

func (f *Server) setForbidden(verb, resource string, set func(rule)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := rule{verb: verb}
	if resource != "*" {
		gvr, err := f.lookupLocked(resource)
		if err != nil {
			return err
		}
		r.resource = gvr.GroupResource()
	}
	set(r)
	return nil
}

func (f *Server) forbiddenLocked(req Request) bool {
	if req.Verb == "" {
		return false
	}
	for _, verb := range []string{req.Verb, "*"} {
		for _, resource := range []schema.GroupResource{req.Resource.GroupResource(), {}} {
			if f.forbidden[rule{verb, resource}] {
				return true
			}
		}
	}
	return false
}

func forbiddenError(req Request) error {
	scope := "at the cluster scope"
	if req.Namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", req.Namespace)
	}
	resource := req.Resource.Resource
	if req.Subresource != "" {
		resource += "/" + req.Subresource
	}
	return apierrors.NewForbidden(req.Resource.GroupResource(), req.Name, fmt.Errorf("%s %q cannot %s resource %q in API group %q %s",
		"User", "fake", req.Verb, resource, req.Resource.Group, scope))
}

// Disconnect ends all open watches, and waits for their end. Clients can open new ones.
func (f *Server) Disconnect() {
	f.mu.Lock()
	f.hangUpLocked()
	streams := slices.Collect(maps.Keys(f.streams))
	f.mu.Unlock()
	for _, ended := range streams {
		<-ended
	}
}

func (f *Server) hangUpLocked() {
	f.hangUp()
	f.live, f.hangUp = context.WithCancel(context.Background())
}

// Compact removes the history up to now. A watch from an older version, or the next page of
// a list, then gets "Expired" (410). Open watches continue.
func (f *Server) Compact() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compactLocked(f.version)
	f.pages, f.pageKeys = map[string]*pageSet{}, nil
}

// Expire ends all open watches, and makes all versions that clients have expire: to resume a
// watch, or to read the next page of a list, is "Expired" (410). Clients must list again.
func (f *Server) Expire() {
	f.mu.Lock()
	f.version++
	f.compactLocked(f.version)
	f.pages, f.pageKeys = map[string]*pageSet{}, nil
	f.mu.Unlock()
	f.Disconnect()
}
