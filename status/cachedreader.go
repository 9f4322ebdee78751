// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// CachedReader is a [ClusterReader] that reads from the watches of an [Engine] and
// never polls. The first read of a kind in a namespace blocks until the objects are
// there, or cannot be read; later reads make no request. While the server cannot be
// reached, reads fail with its error, since the objects may be out of date. It is safe
// for concurrent use.
//
// A kind is read in the version that the server prefers. A request for another version
// is an error; a request without a version is not. If the server comes to prefer
// another version, objects of an open watch keep the old one, in their apiVersion too.
//
// Objects are trimmed as by the engine. A status reader that reads other fields needs
// an entry in [Rules.Keep]: see [Rules.Trim]. The objects are copies that the caller owns.
type CachedReader struct {
	engine *Engine
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	opened map[scope]*opened
	kinds  map[schema.GroupKind]*meta.RESTMapping // found by served
}

var (
	_ ClusterReader = (*CachedReader)(nil)
	_ io.Closer     = (*CachedReader)(nil)
)

// opened is a source that a reader keeps open.
type opened struct {
	source  collection
	release func()

	// Guarded by the mutex of the reader.
	reads  int         // in progress
	last   time.Time   // end of the last read
	expiry *time.Timer // nil: it does not expire
}

// ClusterReader returns a reader whose methods fail once ctx has ended or
// [CachedReader.Close] was called. Until then it keeps open what it has read within
// [Config.IdleTimeout]. Readers share their watches with all callers of the engine, so
// many cost little more than one.
func (e *Engine) ClusterReader(ctx context.Context) *CachedReader {
	r := &CachedReader{engine: e, opened: map[scope]*opened{}, kinds: map[schema.GroupKind]*meta.RESTMapping{}}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(r.ctx, r.releaseAll)
	return r
}

// Close ends the reader and its calls in progress. It returns nil. A [PollerEngine]
// closes its reader at the end of a Poll, so each Poll needs its own.
func (r *CachedReader) Close() error {
	r.cancel(errClosed)
	r.releaseAll()
	return nil
}

// releaseAll releases all sources.
func (r *CachedReader) releaseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.opened {
		o.end()
	}
	clear(r.opened)
}

func (o *opened) end() {
	if o.expiry != nil {
		o.expiry.Stop()
	}
	o.release()
}

// Get reads an object into obj, which has its kind. The error satisfies apimachinery's
// errors.IsNotFound if there is no such object, and IsForbidden if no way of reading it
// is allowed. Other errors are those of the server, the cause of ctx, or name a wrong
// version or a missing namespace.
func (r *CachedReader) Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error {
	gvk := obj.GroupVersionKind()
	kind := gvk.GroupKind()
	all := scope{kind: kind, namespace: key.Namespace}
	if !r.missing(all) {
		m, err := r.served(ctx, gvk)
		switch {
		case err == nil && key.Namespace == "" && m.Scope != nil && m.Scope.Name() == meta.RESTScopeNameNamespace:
			return errNamespaceMissing{ID{Name: key.Name, GroupKind: kind}}
		case err != nil && informer.CauseOf(err) != informer.CauseNotInstalled: // open returns that one
			return err
		}
	}
	one := scope{kind: kind, namespace: key.Namespace, name: key.Name}
	byGet := one
	byGet.get = true
	var err error
	for _, s := range []scope{all, one, byGet} {
		var st resource.Store[*unstructured.Unstructured]
		if st, err = r.open(ctx, s); err == nil {
			t := tracked{id: ID{Namespace: key.Namespace, Name: key.Name, GroupKind: kind}}
			if found := t.find(st); found != nil {
				found.DeepCopyInto(obj)
				return nil
			}
			return apierrors.NewNotFound(schema.GroupResource{Group: kind.Group, Resource: strings.ToLower(kind.Kind)}, key.Name)
		}
		if !denied(informer.CauseOf(err)) {
			return err
		}
	}
	return err
}

// ListNamespaceScoped reads the objects with matching labels in a namespace into list.
// Its kind is that of the objects, or that with the suffix List. Errors are as of Get.
func (r *CachedReader) ListNamespaceScoped(ctx context.Context, list *unstructured.UnstructuredList, namespace string, selector labels.Selector) error {
	st, err := r.list(ctx, list.GroupVersionKind(), namespace)
	if err != nil {
		return err
	}
	list.Items = nil
	for _, obj := range st.All() {
		if selector == nil || selector.Matches(labels.Set(obj.GetLabels())) {
			list.Items = append(list.Items, *obj.DeepCopy())
		}
	}
	return nil
}

// ListClusterScoped is ListNamespaceScoped for all namespaces, or for a cluster-scoped
// kind.
func (r *CachedReader) ListClusterScoped(ctx context.Context, list *unstructured.UnstructuredList, selector labels.Selector) error {
	return r.ListNamespaceScoped(ctx, list, "", selector)
}

// Sync does nothing. The watches are up to date, or reads fail.
func (r *CachedReader) Sync(context.Context) error { return nil }

// ownedBy implements ownerReader.
func (r *CachedReader) ownedBy(ctx context.Context, gvk schema.GroupVersionKind, namespace string, owner types.UID) ([]*unstructured.Unstructured, error) {
	gvk.Kind += "List"
	st, err := r.list(ctx, gvk, namespace)
	if err != nil {
		return nil, err
	}
	return st.ByIndex(ownerIndex, string(owner))
}

// list returns the objects of the kind of a list in a namespace.
func (r *CachedReader) list(ctx context.Context, gvk schema.GroupVersionKind, namespace string) (resource.Store[*unstructured.Unstructured], error) {
	kind, err := r.kindOf(ctx, gvk, namespace)
	if err != nil {
		return nil, err
	}
	return r.open(ctx, scope{kind: kind, namespace: namespace})
}

// kindOf returns the kind of the objects of a list of gvk, with or without the suffix
// List.
func (r *CachedReader) kindOf(ctx context.Context, gvk schema.GroupVersionKind, namespace string) (schema.GroupKind, error) {
	ctx = withRequestTime(ctx)
	of := gvk
	if kind := strings.TrimSuffix(gvk.Kind, "List"); kind != "" {
		of.Kind = kind
	}
	if r.missing(scope{kind: of.GroupKind(), namespace: namespace}) {
		return of.GroupKind(), nil
	}
	if r.known(of.GroupKind()) == nil && r.known(gvk.GroupKind()) != nil {
		of = gvk // a kind whose name ends in List
	}
	_, err := r.served(ctx, of)
	if of != gvk && informer.CauseOf(err) == informer.CauseNotInstalled {
		if _, as := r.served(ctx, gvk); informer.CauseOf(as) != informer.CauseNotInstalled {
			return gvk.GroupKind(), as
		}
	}
	if informer.CauseOf(err) == informer.CauseNotInstalled {
		err = nil // open returns it, and detects when the kind is installed
	}
	return of.GroupKind(), err
}

// served returns the mapping of the kind of gvk, or an error if that has another
// version.
func (r *CachedReader) served(ctx context.Context, gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	kind := gvk.GroupKind()
	m := r.known(kind)
	for _, fresh := range []bool{false, true} {
		if m == nil || fresh {
			var err error
			if m, err = r.engine.cfg.Mapping(ctx, kind, fresh); err != nil {
				return nil, fmt.Errorf("looking up %s: %w", kind, err)
			}
			r.mu.Lock()
			r.kinds[kind] = m
			r.mu.Unlock()
		}
		if gvk.Version == "" || gvk.Version == m.GroupVersionKind.Version {
			return m, nil
		}
	}
	return nil, fmt.Errorf("reading %s in version %s: the server prefers %s: ask for that version, or for none", kind, gvk.Version, m.GroupVersionKind.Version)
}

// known returns the mapping that served has found for a kind, or nil.
func (r *CachedReader) known(kind schema.GroupKind) *meta.RESTMapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kinds[kind]
}

// missing reports whether an open scope has found that its kind is not installed. The
// kind need not be looked up then.
func (r *CachedReader) missing(s scope) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.opened[s]
	if o == nil || o.source.health.now().cause != informer.CauseNotInstalled {
		return false
	}
	delete(r.kinds, s.kind) // it may be installed again with another mapping
	return true
}

// open waits until a scope has a complete state and returns its store, or the reason
// why it cannot be read.
func (r *CachedReader) open(ctx context.Context, s scope) (resource.Store[*unstructured.Unstructured], error) {
	o, err := r.lease(s)
	if err != nil {
		return nil, err
	}
	defer r.leave(o)
	health := o.source.health
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	giveUp := func() {
		if tr := health.now(); tr.final() {
			cancel(tr.reading(s))
		}
	}
	l := &lease{}
	health.listen(l, listener{changed: giveUp})
	defer health.unlisten(l)
	giveUp()
	defer context.AfterFunc(r.ctx, func() { cancel(r.ended(s)) })()
	// A store that was complete before can be old. One that is completed now is not, even
	// if health still holds the trouble before it.
	inspector, known := o.source.Resource.(resource.Inspector)
	old := !known || inspector.Stats().Synced
	st, err := o.source.Store(wait)
	switch tr := health.now(); {
	case err == nil && old && tr.cause != informer.CauseNone:
		return nil, tr.reading(s)
	case err == nil || ctx.Err() != nil:
		return st, err
	case wait.Err() != nil:
		return nil, context.Cause(wait)
	case r.ended(s) != nil:
		return nil, r.ended(s)
	}
	return nil, err
}

// reading returns the error of reading a scope.
func (t trouble) reading(s scope) error { return fmt.Errorf("reading %s: %w", s, t.err) }

// ended returns the error of reads after the end of the reader or of its engine.
// Before, it is nil.
func (r *CachedReader) ended(s scope) error {
	for _, ctx := range []context.Context{r.engine.ctx, r.ctx} {
		if ctx.Err() != nil {
			return fmt.Errorf("reading %s: the reader has ended: %w", s, context.Cause(ctx))
		}
	}
	return nil
}

// final reports whether a read does not wait for the end of the trouble.
func (t trouble) final() bool {
	return t.denied() || t.cause == informer.CauseNotInstalled || t.cause == informer.CauseUnauthorized
}

// lease begins a read of a scope.
func (r *CachedReader) lease(s scope) (*opened, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ended(s); err != nil {
		return nil, err
	}
	o := r.opened[s]
	if o == nil {
		got, release, err := r.engine.pool.Get(s)
		if err != nil {
			return nil, err
		}
		o = &opened{source: got.(collection), release: release}
		if idle := r.engine.cfg.IdleTimeout; idle > 0 {
			o.expiry = time.AfterFunc(idle, func() { r.expire(s, o) })
		}
		r.opened[s] = o
	}
	o.reads++
	return o, nil
}

// leave ends a read.
func (r *CachedReader) leave(o *opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.reads--
	o.last = time.Now()
}

// expire releases a source that was not read for Config.IdleTimeout.
func (r *CachedReader) expire(s scope, o *opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	idle, unread := r.engine.cfg.IdleTimeout, time.Since(o.last)
	switch {
	case r.opened[s] != o:
	case o.reads > 0:
		o.expiry.Reset(idle)
	case unread < idle:
		o.expiry.Reset(idle - unread)
	default:
		delete(r.opened, s)
		o.end()
	}
}
