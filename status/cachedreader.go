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

// CachedReader reads from what an [Engine] watches: a [ClusterReader] for status
// readers that exist already, of which nothing is polled. The first read of a kind in a
// namespace blocks until that is there, or it turns out that it cannot be had; later
// ones make no request. While the server cannot be reached, reads of what is there fail
// with the error of the server, since nobody knows whether it is still so. It may be used
// by several goroutines.
//
// A kind is read in the version that the server prefers. To ask for another one is an
// error; to ask for none is not. When the server comes to prefer another version the
// objects of what is open stay of the one before, and say so.
//
// Objects are trimmed as those of the engine are: a reader that looks at other parts of
// the spec needs a rule with [Rules.Keep], or without. They are copies, and the
// caller's.
type CachedReader struct {
	engine *Engine
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	opened map[scope]*opened
	kinds  map[schema.GroupKind]*meta.RESTMapping // as they were found
}

var (
	_ ClusterReader = (*CachedReader)(nil)
	_ io.Closer     = (*CachedReader)(nil)
)

// keepUnread is how long a reader keeps what nobody reads.
const keepUnread = 10 * time.Minute

// opened is a source that is kept while it is read, and for a while after that.
type opened struct {
	source  collection
	release func()

	// Guarded by the mutex of the reader.
	reads int // that have not returned
	last  time.Time
	rest  *time.Timer
}

// ClusterReader returns a reader that keeps open what it reads until ctx ends or
// [CachedReader.Close] is called, after which its methods fail; and what has not been
// read for ten minutes no longer than that. Readers share what they read with all
// others who use the engine, so that many cost little more than one.
func (e *Engine) ClusterReader(ctx context.Context) *CachedReader {
	r := &CachedReader{engine: e, opened: map[scope]*opened{}, kinds: map[schema.GroupKind]*meta.RESTMapping{}}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(r.ctx, r.giveBack)
	return r
}

// Close ends the reader, also for those who read. It returns nil. A [PollerEngine]
// closes the reader of a Poll at its end, so each Poll needs one of its own.
func (r *CachedReader) Close() error {
	r.cancel(errClosed)
	r.giveBack()
	return nil
}

// giveBack releases all, at the end of the reader.
func (r *CachedReader) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.opened {
		o.end()
	}
	clear(r.opened)
}

func (o *opened) end() {
	o.rest.Stop()
	o.release()
}

// Get reads the object of the kind that obj says and with the given key into obj. The
// error is one that apimachinery's errors.IsNotFound recognises if there is none, one
// that IsForbidden recognises if it may not be read in any way, and else that of the
// server, or the cause of ctx; or it says that the version, or the lack of a namespace,
// makes no sense.
func (r *CachedReader) Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error {
	gvk := obj.GroupVersionKind()
	kind := gvk.GroupKind()
	all := scope{kind: kind, namespace: key.Namespace}
	if !r.missing(all) {
		m, err := r.served(ctx, gvk)
		switch {
		case err == nil && key.Namespace == "" && m.Scope != nil && m.Scope.Name() == meta.RESTScopeNameNamespace:
			return errNamespaceMissing{ID{Name: key.Name, GroupKind: kind}}
		case err != nil && informer.CauseOf(err) != informer.CauseNotInstalled: // what is opened says that, too
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

// ListNamespaceScoped reads the objects of the kind that list says, with or without
// the ending List, which are in the namespace and have matching labels. Errors are as
// those of Get.
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

// ListClusterScoped is ListNamespaceScoped for all namespaces, or for a kind that has
// none.
func (r *CachedReader) ListClusterScoped(ctx context.Context, list *unstructured.UnstructuredList, selector labels.Selector) error {
	return r.ListNamespaceScoped(ctx, list, "", selector)
}

// Sync does nothing: what is watched is as new as it gets, and a read fails if that is
// not as new as it should be.
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

// list returns all in a namespace that is of the kind of a list.
func (r *CachedReader) list(ctx context.Context, gvk schema.GroupVersionKind, namespace string) (resource.Store[*unstructured.Unstructured], error) {
	kind, err := r.kindOf(ctx, gvk, namespace)
	if err != nil {
		return nil, err
	}
	return r.open(ctx, scope{kind: kind, namespace: namespace})
}

// kindOf is the kind of the objects of a list that is said to be of gvk, with or without
// the ending List.
func (r *CachedReader) kindOf(ctx context.Context, gvk schema.GroupVersionKind, namespace string) (schema.GroupKind, error) {
	ctx = asking(ctx)
	of := gvk
	if kind := strings.TrimSuffix(gvk.Kind, "List"); kind != "" {
		of.Kind = kind
	}
	if r.missing(scope{kind: of.GroupKind(), namespace: namespace}) {
		return of.GroupKind(), nil
	}
	if r.known(of.GroupKind()) == nil && r.known(gvk.GroupKind()) != nil {
		of = gvk // a kind with such a name
	}
	_, err := r.served(ctx, of)
	if of != gvk && informer.CauseOf(err) == informer.CauseNotInstalled {
		if _, as := r.served(ctx, gvk); informer.CauseOf(as) != informer.CauseNotInstalled {
			return gvk.GroupKind(), as
		}
	}
	if informer.CauseOf(err) == informer.CauseNotInstalled {
		err = nil // what is opened says so, too, and finds out when it is installed
	}
	return of.GroupKind(), err
}

// served returns what the kind of gvk is read as, or an error if that is not in the
// version of gvk.
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
	return nil, fmt.Errorf("reading %s in version %s: it is read in %s: ask for that, or for none", kind, gvk.Version, m.GroupVersionKind.Version)
}

// known returns what served has found for a kind, or nil.
func (r *CachedReader) known(kind schema.GroupKind) *meta.RESTMapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kinds[kind]
}

// missing reports whether a scope is open whose kind is not installed, so that there is
// no use in asking for the kind.
func (r *CachedReader) missing(s scope) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.opened[s]
	if o == nil || o.source.contact.now().cause != informer.CauseNotInstalled {
		return false
	}
	delete(r.kinds, s.kind) // it may come again as something else
	return true
}

// open returns what a scope holds, once that is complete, or why it cannot be read.
func (r *CachedReader) open(ctx context.Context, s scope) (resource.Store[*unstructured.Unstructured], error) {
	o, err := r.lease(s)
	if err != nil {
		return nil, err
	}
	defer r.leave(o)
	contact := o.source.contact
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	giveUp := func() {
		if tr := contact.now(); tr.final() {
			cancel(tr.reading(s))
		}
	}
	l := &lease{}
	contact.listen(l, giveUp)
	defer contact.unlisten(l)
	giveUp()
	defer context.AfterFunc(r.ctx, func() { cancel(r.ended(s)) })()
	// What was there before may be old; what is complete now is not, though it may take
	// a moment until that is noted.
	inspector, known := o.source.Resource.(resource.Inspector)
	old := !known || inspector.Stats().Synced
	st, err := o.source.Store(wait)
	switch tr := contact.now(); {
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

// reading is the error of reading a scope.
func (t trouble) reading(s scope) error { return fmt.Errorf("reading %s: %w", s, t.err) }

// ended is the error of reading a scope after the end of the reader or of its engine,
// or nil before.
func (r *CachedReader) ended(s scope) error {
	for _, ctx := range []context.Context{r.engine.ctx, r.ctx} {
		if ctx.Err() != nil {
			return fmt.Errorf("reading %s: the reader has ended: %w", s, context.Cause(ctx))
		}
	}
	return nil
}

// final reports whether there is no point in waiting for the end of the trouble.
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
		o.rest = time.AfterFunc(keepUnread, func() { r.expire(s, o) })
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

// expire gives a source back that is not read any more.
func (r *CachedReader) expire(s scope, o *opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unread := time.Since(o.last)
	switch {
	case r.opened[s] != o:
	case o.reads > 0:
		o.rest.Reset(keepUnread)
	case unread < keepUnread:
		o.rest.Reset(keepUnread - unread)
	default:
		delete(r.opened, s)
		o.end()
	}
}
