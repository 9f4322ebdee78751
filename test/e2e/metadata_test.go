// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// The metadata that a check reads, in pages, has the keys, UIDs and versions of the list.
func TestListMetadata(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig(), "a", "b", "c")
	src := source.FromListerWatcher[*corev1.ConfigMap](source.NewListWatchFromClient(w.kube.CoreV1().RESTClient(), "configmaps", w.ns), nil)
	lister, ok := src.(informer.MetadataLister)
	if !ok {
		t.Fatalf("%T is no MetadataLister", src)
	}
	var whole, metas []store.Meta
	_, err := src.List(t.Context(), metav1.ListOptions{Limit: 500}, func(item informer.Item[*corev1.ConfigMap]) error {
		whole = append(whole, item.Meta())
		return nil
	})
	must(t, err)
	opts := metav1.ListOptions{Limit: 2}
	for {
		page, err := lister.ListMetadata(t.Context(), opts, func(m store.Meta) error {
			metas = append(metas, m)
			return nil
		})
		must(t, err)
		if opts.Continue = page.Continue; page.Continue == "" {
			break
		}
	}
	if len(whole) < 3 || !slices.Equal(metas, whole) {
		t.Errorf("metadata of %v, the list has %v", metas, whole)
	}
}
