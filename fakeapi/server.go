// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package fakeapi is an API server in memory, for tests: clients get their *rest.Config
// from [Server.Config]. It imports nothing of this library.
package fakeapi

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// Server is an API server in memory, as far as clients and informers need one.
// The clients in front of it are the real ones: whatever one of them writes, all of
// them see, and what goes between is what goes over a wire, protobuf included.
//
// What holds, and does not for client-go's fake clientsets:
//
//   - Every change gets a resource version of its own, greater than all before.
//     Lists bear the version that they show, in pages if they are asked for. A
//     watch from a version gets everything after it, so nothing that happens
//     between a list and a watch is lost. Watches with initial events work, and
//     bookmarks come every minute to watches that ask for them.
//   - Selectors work, in lists and watches: an object that stops matching is
//     deleted for the watch. A field selector may name any field that is not in a
//     list.
//   - UIDs are set, and differ for each incarnation. Creating what exists,
//     updating an old version, and changing what is not there fail as they do in
//     reality. A write that changes nothing makes no new version. Finalizers hold
//     back deletions.
//
// What it does not do: authenticate, default, validate, admit, collect garbage, or
// run controllers. Of subresources it knows status. Apply is a merge patch that
// creates what is missing; it keeps no managed fields.
//
// Its methods may be called from any goroutine.
type Server struct {
	mu      sync.Mutex
	kinds   map[schema.GroupVersionResource]Kind
	version uint64
	uid     uint64
	objects map[schema.GroupVersionResource]map[string]runtime.Object

	// history holds what happened after version compacted, in order.
	history   []change
	compacted uint64
	changed   chan struct{} // closed, and replaced, with each change

	pages     map[string]*pageSet // by continue token
	pageKeys  []string
	pageCount int

	intercept func(context.Context, Request) error
	requests  []Request

	// live is cancelled, and replaced, by Disconnect.
	live    context.Context
	hangUp  context.CancelFunc
	streams map[chan struct{}]bool // closed when the watch has ended
}

// Kind is a kind that a [Server] serves.
type Kind struct {
	// Group, Version and Kind name it; Group is empty for the core group.
	Group, Version, Kind string

	// Resource is its plural name in URLs. Default: guessed from Kind.
	Resource string

	// ClusterScoped is true if its objects have no namespace.
	ClusterScoped bool
}

// Request describes a request to a [Server].
type Request struct {
	// Verb is get, list, watch, create, update, patch, delete or
	// deletecollection, or empty if the request is not about objects.
	Verb string

	// Resource, Namespace, Name and Subresource say what it is about.
	Resource    schema.GroupVersionResource
	Namespace   string
	Name        string
	Subresource string

	// Path is that of the URL.
	Path string

	// Options are the options of a list or a watch.
	Options metav1.ListOptions

	// Accept, ContentType and UserAgent are headers.
	Accept, ContentType, UserAgent string
}

// New returns a Server that serves the kinds of client-go's scheme and the
// further ones given. It holds no objects.
func New(kinds ...Kind) *Server {
	f := &Server{
		kinds:   map[schema.GroupVersionResource]Kind{},
		objects: map[schema.GroupVersionResource]map[string]runtime.Object{},
		changed: make(chan struct{}),
		pages:   map[string]*pageSet{},
		streams: map[chan struct{}]bool{},
		version: 1,
	}
	f.live, f.hangUp = context.WithCancel(context.Background())
	for gvk := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version != runtime.APIVersionInternal && scheme.Scheme.Recognizes(listOf(gvk)) {
			f.Install(Kind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, ClusterScoped: clusterScoped[gvk.Kind]})
		}
	}
	for _, kind := range kinds {
		f.Install(kind)
	}
	return f
}

// Config is the configuration for clients of f: they call it directly, without a
// connection. Server is an http.Handler as well, for a server of package httptest
// if there must be connections.
func (f *Server) Config() *rest.Config {
	return &rest.Config{Host: "http://fake.invalid", Transport: &transport{api: f}, QPS: -1}
}

// Install has a kind served, as when a custom resource definition is created.
func (f *Server) Install(kind Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kinds[kind.GVR()] = kind
}

// Uninstall takes a kind away with its objects. Watches on it end.
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

// Intercept has fn called with each request before it is served, watches included,
// but not those under way: Disconnect has them made anew. An error is the answer:
// one of apimachinery's package api/errors as it is, any other as a connection that
// breaks. fn may block until the context of the request ends, and may call f. Nil
// ends it.
func (f *Server) Intercept(fn func(context.Context, Request) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intercept = fn
}

// Requests returns the requests there were, in the order in which they came.
func (f *Server) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.requests...)
}

// Disconnect ends the watches that are under way, and waits for them to have
// ended. New ones may follow.
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

// Compact forgets what happened up to now: a watch or a next page from an older
// version is told that it expired. Watches under way go on.
func (f *Server) Compact() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compactLocked(f.version)
	f.pages, f.pageKeys = map[string]*pageSet{}, nil
}

// ServeHTTP implements http.Handler.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f.serve(w, r); err != nil {
		// The handler of a broken connection is to end so.
		panic(http.ErrAbortHandler)
	}
}
