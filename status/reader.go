// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/informer"
)

// Reader reads the cluster for a [PollerEngine]. Its methods are called from many
// goroutines.
type Reader interface {
	// Get reads the object with the key into obj, which has the kind and version.
	Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error

	// List reads one page of the objects in a namespace into list, which has the kind
	// and version. The kind can have the suffix List. An empty namespace means all.
	List(ctx context.Context, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error
}

// ClusterReader reads the cluster for a [StatusReader]. It can be a cache. Its methods
// are called from many goroutines, also during Sync, since an object can take longer
// than a cycle. The caller owns the objects that they return.
type ClusterReader interface {
	// Get reads the object with the key into obj, which has the kind and version. It
	// fails if there is none.
	Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error

	// ListNamespaceScoped reads the objects with matching labels in a namespace into
	// list, which has the kind and version.
	ListNamespaceScoped(ctx context.Context, list *unstructured.UnstructuredList, namespace string, selector labels.Selector) error

	// ListClusterScoped is ListNamespaceScoped for a cluster-scoped kind.
	ListClusterScoped(ctx context.Context, list *unstructured.UnstructuredList, selector labels.Selector) error

	// Sync makes later reads as new as the cluster. It is called before each cycle.
	Sync(ctx context.Context) error
}

// ClusterReaderFactory makes the ClusterReader of a Poll. At its end, Poll closes a
// reader that implements io.Closer.
type ClusterReaderFactory interface {
	New(reader Reader, mapper meta.RESTMapper, ids []ID) (ClusterReader, error)
}

// ClusterReaderFactoryFunc makes a function a [ClusterReaderFactory].
type ClusterReaderFactoryFunc func(Reader, meta.RESTMapper, []ID) (ClusterReader, error)

// New implements [ClusterReaderFactory].
func (f ClusterReaderFactoryFunc) New(reader Reader, mapper meta.RESTMapper, ids []ID) (ClusterReader, error) {
	return f(reader, mapper, ids)
}

// NewReader returns a Reader that uses a dynamic client.
func NewReader(client dynamic.Interface, mapper meta.RESTMapper) Reader {
	return dynamicReader{client, mapper}
}

type dynamicReader struct {
	client dynamic.Interface
	mapper meta.RESTMapper
}

func (r dynamicReader) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	m, err := r.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		namespace = ""
	}
	return r.client.Resource(m.Resource).Namespace(namespace), nil
}

// Get implements [Reader].
func (r dynamicReader) Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error {
	client, err := r.resource(obj.GroupVersionKind(), key.Namespace)
	if err != nil {
		return err
	}
	got, err := client.Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	obj.Object = got.Object
	return nil
}

// List implements [Reader].
func (r dynamicReader) List(ctx context.Context, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error {
	gvk := list.GroupVersionKind()
	of := gvk
	of.Kind = strings.TrimSuffix(gvk.Kind, "List") // tried first: for an unknown kind a mapper asks the server
	client, err := r.resource(of, namespace)
	if meta.IsNoMatchError(err) && of != gvk {
		client, err = r.resource(gvk, namespace)
	}
	if err != nil {
		return err
	}
	got, err := client.List(ctx, opts)
	if err != nil {
		return err
	}
	list.Object, list.Items = got.Object, got.Items
	return nil
}

// NewDirectReader is a [ClusterReaderFactory]. Its readers keep nothing: each Get and
// each page of a list is a request.
func NewDirectReader(reader Reader, _ meta.RESTMapper, _ []ID) (ClusterReader, error) {
	if reader == nil {
		return nil, errors.New("the Reader is nil: give one, such as status.NewReader")
	}
	return directReader{reader}, nil
}

type directReader struct{ Reader }

// ListNamespaceScoped implements [ClusterReader].
func (r directReader) ListNamespaceScoped(ctx context.Context, list *unstructured.UnstructuredList, namespace string, selector labels.Selector) error {
	var opts metav1.ListOptions
	if selector != nil {
		opts.LabelSelector = selector.String()
	}
	return listAll(ctx, r.Reader, list, namespace, opts)
}

// ListClusterScoped implements [ClusterReader].
func (r directReader) ListClusterScoped(ctx context.Context, list *unstructured.UnstructuredList, selector labels.Selector) error {
	return r.ListNamespaceScoped(ctx, list, "", selector)
}

// Sync implements [ClusterReader].
func (directReader) Sync(context.Context) error { return nil }

// pageSize is the limit of objects in a page of a list.
const pageSize = 500

// listAll reads all pages into list. If the continue token expires it starts over once,
// and lists without pages.
func listAll(ctx context.Context, r Reader, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error {
	opts.Limit = pageSize
	gvk := list.GroupVersionKind()
	var items []unstructured.Unstructured
	for {
		page := &unstructured.UnstructuredList{}
		page.SetGroupVersionKind(gvk)
		err := r.List(ctx, page, namespace, opts)
		if informer.CauseOf(err) == informer.CauseExpired && opts.Continue != "" && opts.Limit > 0 {
			opts.Limit, opts.Continue, items = 0, "", nil
			continue
		}
		if err != nil {
			return err
		}
		items = append(items, page.Items...)
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			list.Object, list.Items = page.Object, items
			return nil
		}
	}
}
