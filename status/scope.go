// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"fmt"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/watchlist"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
)

// scope is what one informer reads: the objects of a kind in all namespaces or in one,
// or one object. It reads by list and watch, or by get.
type scope struct {
	kind      schema.GroupKind
	namespace string
	name      string
	get       bool
}

func (s scope) String() string {
	text := s.kind.String()
	if s.namespace != "" || s.name != "" {
		text += " " + (ID{Namespace: s.namespace, Name: s.name}).Key().String()
	}
	if s.get {
		text += " by get"
	}
	return text
}

// scopeReader lists and watches a scope, as a stream if the engine has a StreamFunc.
// Its first request looks up the resource of the kind.
type scopeReader struct {
	*Engine
	scope scope

	mu      sync.Mutex
	mapping *meta.RESTMapping
	stale   bool // the server no longer serves the mapping
}

var _ source.Streamer = (*scopeReader)(nil)

// errNamespaceMissing is the error of an ID that lacks its namespace.
type errNamespaceMissing struct{ id ID }

func (e errNamespaceMissing) Error() string {
	return fmt.Sprintf("%s: the kind is namespaced, and the ID has no namespace: give one", e.id)
}

// resolve returns the mapping of the kind.
func (r *scopeReader) resolve(ctx context.Context) (*meta.RESTMapping, error) {
	r.mu.Lock()
	mapping, stale := r.mapping, r.stale
	r.mu.Unlock()
	if mapping != nil && !stale {
		return mapping, nil
	}
	mapping, err := r.cfg.Mapping(ctx, r.scope.kind, stale)
	if err != nil {
		return nil, err
	}
	if r.scope.name != "" && r.scope.namespace == "" && mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return nil, errNamespaceMissing{ID{Name: r.scope.name, GroupKind: r.scope.kind}}
	}
	r.mu.Lock()
	r.mapping, r.stale = mapping, false
	r.mu.Unlock()
	return mapping, nil
}

// namespaced reports whether the kind is known to be namespaced.
func (r *scopeReader) namespaced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mapping != nil && r.mapping.Scope.Name() == meta.RESTScopeNameNamespace
}

// namespaceIn returns the namespace of requests: none for a cluster-scoped kind.
func (r *scopeReader) namespaceIn(m *meta.RESTMapping) string {
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return ""
	}
	return r.scope.namespace
}

// failed returns err. The next request looks the kind up again if the server does not
// have it any more.
func (r *scopeReader) failed(err error) error {
	if apierrors.IsNotFound(err) {
		r.mu.Lock()
		r.stale = true
		r.mu.Unlock()
	}
	return err
}

func (r *scopeReader) selected(opts metav1.ListOptions) metav1.ListOptions {
	if r.scope.name != "" {
		opts.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, r.scope.name).String()
	}
	return opts
}

// ListWithContext implements cache.ListerWithContext.
func (r *scopeReader) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	m, err := r.resolve(ctx)
	if err != nil {
		return nil, err
	}
	if r.scope.get {
		return r.getAsList(ctx, m)
	}
	var list runtime.Object
	if r.metadataOnly() {
		list, err = r.cfg.Metadata.Resource(m.Resource).Namespace(r.namespaceIn(m)).List(ctx, r.selected(opts))
	} else {
		list, err = r.cfg.Dynamic.Resource(m.Resource).Namespace(r.namespaceIn(m)).List(ctx, r.selected(opts))
	}
	if err != nil {
		return nil, r.listFailed(m, err)
	}
	return list, nil
}

// listFailed is failed for a list. A server that rejects the list of one object does
// not select by name, so the object may be readable by get.
func (r *scopeReader) listFailed(m *meta.RESTMapping, err error) error {
	if r.scope.name != "" && informer.CauseOf(err) == informer.CauseRejected {
		unsupported := apierrors.NewMethodNotSupported(m.Resource.GroupResource(), "list by name")
		unsupported.ErrStatus.Message += ": " + err.Error()
		return unsupported
	}
	return r.failed(err)
}

// WatchWithContext implements cache.WatcherWithContext.
func (r *scopeReader) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	m, err := r.resolve(ctx)
	if err != nil {
		return nil, err
	}
	var w watch.Interface
	switch {
	case r.scope.get: // the informer then polls
		return nil, apierrors.NewMethodNotSupported(m.Resource.GroupResource(), "watch")
	case r.metadataOnly():
		w, err = r.cfg.Metadata.Resource(m.Resource).Namespace(r.namespaceIn(m)).Watch(ctx, r.selected(opts))
	default:
		w, err = r.cfg.Dynamic.Resource(m.Resource).Namespace(r.namespaceIn(m)).Watch(ctx, r.selected(opts))
	}
	if err != nil {
		return nil, r.failed(err)
	}
	return w, nil
}

// Stream implements source.Streamer.
func (r *scopeReader) Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	m, err := r.resolve(ctx)
	if err != nil {
		return nil, err
	}
	body, err := r.cfg.Stream(ctx, m.Resource, r.namespaceIn(m), r.metadataOnly(), r.selected(opts))
	switch {
	case err == nil:
		return body, nil
	case opts.Watch:
		return nil, r.failed(err)
	}
	return nil, r.listFailed(m, err)
}

// ObjectType implements source.Streamer.
func (r *scopeReader) ObjectType() runtime.Object {
	switch {
	case !r.streams():
		return nil
	case r.metadataOnly():
		return &metav1.PartialObjectMetadata{}
	}
	u := &unstructured.Unstructured{}
	u.SetKind(r.scope.kind.Kind)
	return u
}

func (r *scopeReader) streams() bool { return r.cfg.Stream != nil && !r.scope.get }

// getAsList gets one object and returns it as a list, which is empty if there is none.
func (r *scopeReader) getAsList(ctx context.Context, m *meta.RESTMapping) (runtime.Object, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(m.GroupVersionKind.GroupVersion().WithKind(m.GroupVersionKind.Kind + "List"))
	obj, err := r.cfg.Dynamic.Resource(m.Resource).Namespace(r.namespaceIn(m)).Get(ctx, r.scope.name, metav1.GetOptions{})
	switch {
	case err == nil:
		list.Items = append(list.Items, *obj)
	case !namesObject(err, r.scope.name):
		return nil, r.failed(err)
	}
	return list, nil
}

// namesObject reports whether err means that the object does not exist. If it does not,
// the resource may not exist.
func namesObject(err error, name string) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	status, ok := err.(apierrors.APIStatus)
	return ok && status.Status().Details != nil && status.Status().Details.Name == name &&
		!apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func (r *scopeReader) metadataOnly() bool {
	return (r.cfg.Metadata != nil || r.cfg.Stream != nil) && !r.scope.get && r.cfg.Rules.MetadataOnly(r.scope.kind)
}

// IsWatchListSemanticsUnSupported reports whether the client cannot stream initial
// events. client-go's fakes cannot.
func (r *scopeReader) IsWatchListSemanticsUnSupported() bool {
	switch {
	case r.streams():
		return false
	case r.metadataOnly():
		return watchlist.DoesClientNotSupportWatchListSemantics(r.cfg.Metadata)
	}
	return watchlist.DoesClientNotSupportWatchListSemantics(r.cfg.Dynamic)
}

// List implements cache.Lister.
func (r *scopeReader) List(opts metav1.ListOptions) (runtime.Object, error) {
	return r.ListWithContext(context.Background(), opts)
}

// Watch implements cache.Watcher.
func (r *scopeReader) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return r.WatchWithContext(context.Background(), opts)
}
