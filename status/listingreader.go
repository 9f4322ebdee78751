// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// NewListingReader is a [ClusterReaderFactory], the default of a [PollerEngine]. Its
// readers list a kind in a namespace when it is first read, once a cycle at most, and
// answer all reads from the list. Where list is not allowed they get each object.
func NewListingReader(reader Reader, _ meta.RESTMapper, _ []ID) (ClusterReader, error) {
	if reader == nil {
		return nil, errors.New("the Reader is nil: give one, such as status.NewReader")
	}
	return &listingReader{reader: reader, panics: usercode.New("status", nil), listings: map[listingOf]*listing{}}, nil
}

type listingReader struct {
	reader Reader
	panics *usercode.Panics

	mu       sync.Mutex
	listings map[listingOf]*listing // of this cycle
}

// listingOf is what one list reads.
type listingOf struct {
	gvk       schema.GroupVersionKind
	namespace string
}

// listing is a list of this cycle. It is read-only once done is closed.
type listing struct {
	done      chan struct{}
	err       error
	abandoned bool // err is of a context that ended, not of the server
	objects   map[store.Key]*unstructured.Unstructured
	owned     map[types.UID][]*unstructured.Unstructured
}

// Sync implements [ClusterReader]. It drops all lists.
func (r *listingReader) Sync(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listings = map[listingOf]*listing{}
	return nil
}

// listing returns the list of this cycle. The first caller reads it. If that caller
// gives up, the next one does.
func (r *listingReader) listing(ctx context.Context, of listingOf) (*listing, error) {
	for {
		r.mu.Lock()
		l, ok := r.listings[of]
		if !ok {
			l = &listing{done: make(chan struct{})}
			r.listings[of] = l
		}
		r.mu.Unlock()
		if !ok {
			r.read(ctx, of, l)
			return l, l.err
		}
		select {
		case <-l.done:
			if !l.abandoned {
				return l, l.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// read reads the list for its first caller.
func (r *listingReader) read(ctx context.Context, of listingOf, l *listing) {
	defer close(l.done)
	l.err = r.panics.Try("List of the Reader", store.Key{}, func() error { return l.read(ctx, r.reader, of) })
	if ctx.Err() == nil {
		return
	}
	l.abandoned = true
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listings[of] == l {
		delete(r.listings, of)
	}
}

func (l *listing) read(ctx context.Context, r Reader, of listingOf) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(of.gvk.GroupVersion().WithKind(of.gvk.Kind + "List"))
	l.objects = map[store.Key]*unstructured.Unstructured{}
	l.owned = map[types.UID][]*unstructured.Unstructured{}
	if err := listAll(ctx, r, list, of.namespace, metav1.ListOptions{}); err != nil {
		return err
	}
	for i := range list.Items {
		obj := &list.Items[i]
		l.objects[store.KeyOf(obj)] = obj
		if owner := metav1.GetControllerOf(obj); owner != nil {
			l.owned[owner.UID] = append(l.owned[owner.UID], obj)
		}
	}
	return nil
}

// Get implements [ClusterReader].
func (r *listingReader) Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error {
	gvk := obj.GroupVersionKind()
	l, err := r.listing(ctx, listingOf{gvk, key.Namespace})
	if denied := apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err); denied {
		return r.reader.Get(ctx, key, obj)
	}
	if err != nil {
		return err
	}
	t := tracked{id: ID{Namespace: key.Namespace, Name: key.Name}}
	for _, at := range t.keys() {
		if found := l.objects[at]; found != nil {
			found.DeepCopyInto(obj)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: strings.ToLower(gvk.Kind)}, key.Name)
}

// ListNamespaceScoped implements [ClusterReader].
func (r *listingReader) ListNamespaceScoped(ctx context.Context, list *unstructured.UnstructuredList, namespace string, selector labels.Selector) error {
	gvk := list.GroupVersionKind()
	gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
	l, err := r.listing(ctx, listingOf{gvk, namespace})
	if err != nil {
		return err
	}
	list.Items = nil
	for _, obj := range l.objects {
		if selector == nil || selector.Matches(labels.Set(obj.GetLabels())) {
			list.Items = append(list.Items, *obj.DeepCopy())
		}
	}
	return nil
}

// ListClusterScoped implements [ClusterReader].
func (r *listingReader) ListClusterScoped(ctx context.Context, list *unstructured.UnstructuredList, selector labels.Selector) error {
	return r.ListNamespaceScoped(ctx, list, "", selector)
}

// ownedBy implements ownerReader.
func (r *listingReader) ownedBy(ctx context.Context, gvk schema.GroupVersionKind, namespace string, owner types.UID) ([]*unstructured.Unstructured, error) {
	l, err := r.listing(ctx, listingOf{gvk, namespace})
	if err != nil {
		return nil, err
	}
	return l.owned[owner], nil
}
