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
// [Server.Add], [Server.Get] and others change and read the server without a client.
// [Server.Intercept], [Server.Forbid], [Server.Disconnect] and [Server.Expire] make trouble.
//
// # What differs from a real server
//
// A test sends the same calls to a Server and to a real API server, and compares the answers.
// These differences are deliberate:
//
//   - There is no authentication, no authorization except Forbid, and no admission. Namespaces
//     need not exist, and their deletion does not delete what is in them.
//   - Objects get no defaults, except the generation and the phases Pending and Active. Only
//     the metadata is validated.
//   - The subresources are status, scale of Deployments, ReplicaSets, StatefulSets and
//     ReplicationControllers, and eviction and binding of Pods. An eviction ignores disruption
//     budgets, and must be of policy/v1. A scale cannot be applied. Custom resources have no
//     scale.
//   - A write of the status changes only the status; of some built-in kinds, a real server
//     accepts labels and annotations as well.
//   - A deleted Pod does not wait for its kubelet. A Job or a ReplicationController deleted
//     without a policy does not orphan its pods. There is no garbage collector without
//     [Server.CollectGarbage].
//   - Each version of a kind has its own objects: autoscaling/v1 does not show those of
//     autoscaling/v2.
//   - Managed fields are recorded from the first apply to an object on. What it had before
//     belongs to the manager "before-first-apply".
//   - Unknown fields of custom resources are kept. Strict field validation does nothing.
//   - A list of an exact version works for the current version only. A watch from a version
//     in the future fails at once.
//   - Some texts of errors are different. Codes and reasons are not.
//
// The package imports no other package of this library.
package fakeapi

import (
	"context"
	"net/http"
	"sync"

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
//     watch gets a deletion. Field selectors can have the fields that a real server has for
//     the kind. A clientset applies label selectors to lists, and no selector to watches.
//   - Lists have pages. A clientset ignores the limit.
//   - An update of an old version is a conflict, and one that changes nothing makes no new
//     version. A clientset overwrites.
//   - A watch can be 50000 changes behind before it ends with 410 Expired. A clientset panics
//     if a watch is more than 100 events behind.
//   - Watches with initial events work. Watches that request bookmarks get one every minute.
//   - Each incarnation of an object has its own UID. Finalizers delay deletions.
//   - An update does not change the status of a kind that has the status subresource, and
//     counts in the generation only if it changes the spec.
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
	dryRun    bool          // the request that is being served changes nothing

	collecting bool // CollectGarbage was called
	garbage    bool // there can be something to collect

	pages     map[string]*pageSet // by continue token
	pageKeys  []string
	pageCount int

	intercept func(context.Context, Request) error
	forbidden map[rule]bool
	requests  []Request

	schemes []*runtime.Scheme // of InstallScheme

	// live is cancelled, and replaced, by Disconnect.
	live    context.Context
	hangUp  context.CancelFunc
	streams map[chan struct{}]bool // closed when the watch has ended
}

// New returns a Server of the kinds of client-go's scheme and the given kinds. It has no
// objects. See [Server.InstallScheme] for custom resources with Go types.
func New(kinds ...Kind) *Server {
	f := &Server{
		kinds:   map[schema.GroupVersionResource]Kind{},
		objects: map[schema.GroupVersionResource]map[string]runtime.Object{},
		changed: make(chan struct{}),
		pages:   map[string]*pageSet{},
		streams: map[chan struct{}]bool{},
		version: 1,

		forbidden: map[rule]bool{},
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

// ServeHTTP implements http.Handler.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f.serve(w, r); err != nil {
		// This panic makes package http break the connection.
		panic(http.ErrAbortHandler)
	}
}
