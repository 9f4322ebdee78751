// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// What reads bodies lists metadata as it lists objects, with the same selectors. What does
// not, and what cannot request metadata, is no MetadataLister.
func TestListMetadata(t *testing.T) {
	api := fakeapi.New()
	for _, name := range []string{"a", "b", "c"} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{"app": name}}}
		if err := api.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	client, err := kubernetes.NewForConfig(api.Config())
	if err != nil {
		t.Fatal(err)
	}
	factory, err := source.NewDynamicListerWatcherFactory(api.Config())
	if err != nil {
		t.Fatal(err)
	}
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	lw := source.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "n", source.WithLabelSelector("app!=b"))
	convert := func(obj runtime.Object) (runtime.Object, error) { return obj, nil }
	for name, src := range map[string]informer.Source[runtime.Object]{
		"of a client": source.FromListerWatcher(lw, convert, source.WithObjectType(&corev1.Pod{})),
		"dynamic": source.FromListerWatcher(factory.ForResourceWithOptions("n", pods, func(o *metav1.ListOptions) {
			o.LabelSelector = "app!=b"
		}), convert),
	} {
		lister, ok := src.(informer.MetadataLister)
		if !ok {
			t.Errorf("%s: %T is no MetadataLister", name, src)
			continue
		}
		var whole, metas []store.Meta
		if _, err := src.List(t.Context(), metav1.ListOptions{Limit: 10}, func(item informer.Item[runtime.Object]) error {
			whole = append(whole, item.Meta())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		before := len(api.Requests())
		page, err := lister.ListMetadata(t.Context(), metav1.ListOptions{Limit: 1}, func(m store.Meta) error {
			metas = append(metas, m)
			return nil
		})
		if err != nil || page.Continue == "" || page.Version == "" {
			t.Errorf("%s: page %+v, error %v", name, page, err)
		}
		stop := errors.New("enough")
		if _, err = lister.ListMetadata(t.Context(), metav1.ListOptions{Limit: 1, Continue: page.Continue}, func(m store.Meta) error {
			metas = append(metas, m)
			return stop
		}); !errors.Is(err, stop) {
			t.Errorf("%s: the error of yield is %v", name, err)
		}
		if !slices.Equal(metas, whole) || len(whole) != 2 {
			t.Errorf("%s: metadata of %v, the list has %v", name, metas, whole)
		}
		for _, r := range api.Requests()[before:] {
			if !strings.Contains(r.Accept, "as=PartialObjectMetadataList") {
				t.Errorf("%s: a request for %q", name, r.Accept)
			}
		}
	}
	other := *lw
	other.ListFunc = lw.ListWithContext
	for name, src := range map[string]any{
		"converted, of a client": source.FromListerWatcher(lw, convert),
		"a function replaced":    source.FromListerWatcher[*corev1.Pod](&other, nil),
	} {
		if _, ok := src.(informer.MetadataLister); ok {
			t.Errorf("%s: a MetadataLister", name)
		}
	}
}
