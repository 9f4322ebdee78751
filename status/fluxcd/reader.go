// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fluxcd

import (
	"context"
	"errors"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/object"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/apiary-go/apiary/status"
)

// The two interfaces have the same methods.
var (
	_ engine.ClusterReader = status.ClusterReader(nil)
	_ status.ClusterReader = engine.ClusterReader(nil)
)

// Reader returns a [status.Reader] that uses a client of controller-runtime. A caching
// client reads from its caches.
func Reader(c client.Reader) status.Reader { return reader{c} }

type reader struct{ client client.Reader }

// Get implements [status.Reader].
func (r reader) Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error {
	return r.client.Get(ctx, key, obj)
}

// List implements [status.Reader].
func (r reader) List(ctx context.Context, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error {
	return r.client.List(ctx, list, &client.ListOptions{Namespace: namespace, Raw: &opts, Limit: opts.Limit, Continue: opts.Continue})
}

// NewClusterReaderFactory returns a factory for a PollerEngine of cli-utils. All its
// Polls read from one [status.CachedReader], which is kept open until ctx ends, since a
// Poll does not close its reader. A collection that was not read for
// [status.Config.IdleTimeout] is released. The Reader of the PollerEngine is not used. Sync does nothing, so a short
// PollInterval costs no requests.
func NewClusterReaderFactory(ctx context.Context, e *status.Engine) engine.ClusterReaderFactory {
	var shared engine.ClusterReader
	if e != nil {
		shared = e.ClusterReader(ctx)
	}
	return engine.ClusterReaderFactoryFunc(func(client.Reader, meta.RESTMapper, object.ObjMetadataSet) (engine.ClusterReader, error) {
		if shared == nil {
			return nil, errors.New("fluxcd.NewClusterReaderFactory: the status.Engine is nil: give one")
		}
		return shared, nil
	})
}

// StatusReader makes a status reader of cli-utils one for a [status.PollerEngine].
func StatusReader(r engine.StatusReader) status.StatusReader { return statusReader{r} }

type statusReader struct{ reader engine.StatusReader }

// Supports implements [status.StatusReader].
func (r statusReader) Supports(kind schema.GroupKind) bool { return r.reader.Supports(kind) }

// ReadStatus implements [status.StatusReader].
func (r statusReader) ReadStatus(ctx context.Context, cluster status.ClusterReader, id status.ID) (status.ObjectStatus, error) {
	rs, err := r.reader.ReadStatus(ctx, cluster, object.ObjMetadata(id))
	if err != nil {
		return status.ObjectStatus{}, err
	}
	return ObjectStatus(rs), nil
}

// ReadStatusForObject implements [status.StatusReader].
func (r statusReader) ReadStatusForObject(ctx context.Context, cluster status.ClusterReader, obj *unstructured.Unstructured) (status.ObjectStatus, error) {
	rs, err := r.reader.ReadStatusForObject(ctx, cluster, obj)
	if err != nil {
		return status.ObjectStatus{}, err
	}
	return ObjectStatus(rs), nil
}
