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

// Reader is how a [PollerEngine] reads the cluster. Any number of goroutines call it.
type Reader interface {
	// Get reads the object with the key, of the kind and version that are set in
	// obj, into obj.
	Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error

	// List reads one page of the objects in a namespace, or in all if it is empty,
	// into list, of the kind and version that are set in it, with or without the
	// ending List.
	List(ctx context.Context, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error
}

// ClusterReader is how a [StatusReader] reads the cluster. In between may be a cache:
// Sync is called before each cycle. Any number of goroutines call its methods, also
// while one Syncs, since an object may take longer than a cycle. What they return is
// the caller's.
type ClusterReader interface {
	// Get reads the object with the key, of the kind and version that are set in
	// obj, into obj. It fails if there is none.
	Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error

	// ListNamespaceScoped reads the objects in a namespace that have matching
	// labels into list, of the kind and version that are set in it.
	ListNamespaceScoped(ctx context.Context, list *unstructured.UnstructuredList, namespace string, selector labels.Selector) error

	// ListClusterScoped does so for objects of a kind without namespaces.
	ListClusterScoped(ctx context.Context, list *unstructured.UnstructuredList, selector labels.Selector) error

	// Sync has what is kept be as new as the cluster.
	Sync(ctx context.Context) error
}

// ClusterReaderFactory makes the ClusterReader of a Poll. One that implements
// io.Closer is closed when the Poll has ended.
type ClusterReaderFactory interface {
	New(reader Reader, mapper meta.RESTMapper, ids []ID) (ClusterReader, error)
}

// ClusterReaderFactoryFunc is a function that is a [ClusterReaderFactory].
type ClusterReaderFactoryFunc func(Reader, meta.RESTMapper, []ID) (ClusterReader, error)

// New implements [ClusterReaderFactory].
func (f ClusterReaderFactoryFunc) New(reader Reader, mapper meta.RESTMapper, ids []ID) (ClusterReader, error) {
	return f(reader, mapper, ids)
}

// NewReader returns a Reader by a dynamic client.
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
	of.Kind = strings.TrimSuffix(gvk.Kind, "List") // a mapper that does not know a kind asks the server again
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

// NewDirectReader is a [ClusterReaderFactory] of readers that keep nothing: each Get
// is a request, and each list one for each page.
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

// pageSize is how many objects are listed at once.
const pageSize = 500

// listAll reads all pages into list. If the server forgets what is left of them it
// starts over, once, and asks for all at once.
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
