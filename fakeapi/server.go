// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package fakeapi is an API server in memory, for tests of controllers and other clients.
// The clients are real; they use the *rest.Config of [Server.Config].
//
//	api := fakeapi.New(fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Widget"})
//	defer api.Disconnect()
//	if err := api.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}}); err != nil {
//		return err
//	}
//	client, err := kubernetes.NewForConfig(api.Config())
//	if err != nil {
//		return err
//	}
//	pods, err := client.CoreV1().Pods("ns").List(ctx, metav1.ListOptions{})
//
// It imports no other package of this library.
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

// Server is an API server in memory. It implements what clients and informers need. All
// clients see the writes of all others, and use the real wire formats, including protobuf.
//
// It behaves like a real server where client-go's fake clientsets (as of v0.37) do not:
//
//   - Each change gives its object a new resource version. In a clientset, objects keep the
//     version that they are written with; only lists have versions.
//   - A watch gets all changes after its version. In a clientset, a deletion between the list
//     and the watch is lost. Creations and updates are replayed.
//   - Lists and watches apply label and field selectors. If an object stops matching, the
//     watch gets a deletion. A field selector can use any field that is not in a list. A
//     clientset applies label selectors to lists, and no selector to watches.
//   - Lists have pages. A clientset ignores the limit.
//   - An update of an old version is a conflict, and one that changes nothing makes no new
//     version. A clientset overwrites.
//   - A watch can be 50000 changes behind before it ends with 410 Expired. A clientset panics
//     if a watch is more than 100 events behind.
//   - Watches with initial events work. Watches that request bookmarks get one every minute.
//   - Each incarnation of an object has its own UID. Finalizers delay deletions.
//
// It does not authenticate, default, validate, admit, collect garbage, or run controllers.
// Its only subresource is status. Apply is a merge patch that creates a missing object, and
// keeps no managed fields.
//
// All methods can be called from any goroutine.
type Server struct {
	mu      sync.Mutex
	kinds   map[schema.GroupVersionResource]Kind
	version uint64
	uid     uint64
	objects map[schema.GroupVersionResource]map[string]runtime.Object

	// history holds the changes after version compacted, in order.
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
	// Group, Version and Kind identify the kind. Group is empty for the core group.
	Group, Version, Kind string

	// Resource is the plural name in URLs. Default: guessed from Kind.
	Resource string

	// ClusterScoped is true if the objects have no namespace.
	ClusterScoped bool
}

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

	// Path is the path of the URL.
	Path string

	// Options are the options of a list or a watch.
	Options metav1.ListOptions

	// Accept, ContentType and UserAgent are headers.
	Accept, ContentType, UserAgent string
}

// New returns a Server of the kinds of client-go's scheme and the given kinds. It has no
// objects.
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

// Config returns a configuration for clients that call f directly, without a connection.
// For tests with connections, pass f to package httptest: it is an http.Handler.
func (f *Server) Config() *rest.Config {
	return &rest.Config{Host: "http://fake.invalid", Transport: &transport{api: f}, QPS: -1}
}

// Install adds a kind, like the creation of a custom resource definition.
func (f *Server) Install(kind Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kinds[kind.GVR()] = kind
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

// Intercept sets a function that is called before each request, including watches. It is
// not called for open watches; call Disconnect to make clients open them again. If fn
// returns an error of apimachinery's package api/errors, the client gets this error. Any
// other error breaks the connection. fn can block until the context of the request ends,
// and can call f. Nil removes the function.
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

// ServeHTTP implements http.Handler.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f.serve(w, r); err != nil {
		// This panic makes package http break the connection.
		panic(http.ErrAbortHandler)
	}
}
