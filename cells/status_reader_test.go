// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

func podVersion(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: kind}
}

// A reader on what is watched makes requests for the first read only, follows what
// changes, and gives copies.
func TestStatusClusterReader(t *testing.T) {
	one := podIn(corev1.PodRunning, "a", "one", 0)
	one.Labels = map[string]string{"app": "x"}
	playStatus(t, status.Config{Linger: -1}, func(r *statusRig) {
		ctx, cancel := context.WithCancel(r.Context())
		reader := r.engine.ClusterReader(ctx)
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(podVersion("Pod"))
		if err := reader.Get(ctx, types.NamespacedName{Namespace: "a", Name: "one"}, obj); err != nil || obj.GetName() != "one" {
			r.Fatal(obj, err)
		}
		obj.SetName("changed")
		for _, kind := range []string{"Pod", "PodList"} {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(podVersion(kind))
			if err := reader.ListNamespaceScoped(ctx, list, "a", labels.SelectorFromSet(labels.Set{"app": "x"})); err != nil {
				r.Fatal(err)
			}
			if len(list.Items) != 1 || list.Items[0].GetName() != "one" {
				r.Errorf("listed %v", list.Items)
			}
		}
		if err := reader.Sync(ctx); err != nil {
			r.Error(err)
		}
		synctest.Wait()
		since := len(r.api.Requests())
		r.remove(one)
		obj.SetName("")
		obj.SetGroupVersionKind(podVersion("Pod"))
		if err := reader.Get(ctx, types.NamespacedName{Namespace: "a", Name: "one"}, obj); !apierrors.IsNotFound(err) {
			r.Errorf("got %v", err)
		}
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("asked %q", asked)
		}
		all := &unstructured.UnstructuredList{}
		all.SetGroupVersionKind(podVersion("PodList"))
		if err := reader.ListClusterScoped(ctx, all, nil); err != nil || len(all.Items) != 1 {
			r.Errorf("listed %v, %v", all.Items, err)
		}
		cancel()
		if err := reader.Get(r.Context(), types.NamespacedName{Namespace: "b", Name: "x"}, obj); !errors.Is(err, context.Canceled) {
			r.Errorf("after its end: %v", err)
		}
		time.Sleep(time.Minute)
		since = len(r.api.Requests())
		time.Sleep(time.Hour)
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("after its end it asks %q", asked)
		}
	}, one, podIn(corev1.PodRunning, "a", "other", 0))
}

// What may not be read at all is an error, what may be read by itself is read so, and
// what is not installed does not block.
func TestStatusClusterReaderDenied(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		r.forbid(func(req fakeapi.Request) bool { return req.Verb != "get" })
		reader := r.engine.ClusterReader(r.Context())
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(podVersion("Pod"))
		if err := reader.Get(r.Context(), types.NamespacedName{Namespace: "a", Name: "one"}, obj); err != nil {
			r.Errorf("by get: %v", err)
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(podVersion("PodList"))
		if err := reader.ListNamespaceScoped(r.Context(), list, "a", nil); !apierrors.IsForbidden(err) {
			r.Errorf("listing: %v", err)
		}
		r.forbid(func(fakeapi.Request) bool { return true })
		if err := reader.Get(r.Context(), types.NamespacedName{Namespace: "b", Name: "x"}, obj); !apierrors.IsForbidden(err) {
			r.Errorf("forbidden: %v", err)
		}
		obj.SetGroupVersionKind(schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Widget"})
		if err := reader.Get(r.Context(), types.NamespacedName{Namespace: "a", Name: "x"}, obj); err == nil || apierrors.IsNotFound(err) {
			r.Errorf("not installed: %v", err)
		}
		r.api.Intercept(func(ctx context.Context, _ fakeapi.Request) error { <-ctx.Done(); return ctx.Err() })
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		obj.SetGroupVersionKind(podVersion("Pod"))
		if err := reader.Get(ctx, types.NamespacedName{Namespace: "c", Name: "x"}, obj); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("no answer: %v", err)
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// noting is a mapper that notes for which kinds it was asked.
type noting struct {
	meta.RESTMapper
	kinds []string
}

func (m *noting) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m.kinds = append(m.kinds, kind.Kind)
	return m.RESTMapper.RESTMapping(kind, versions...)
}

// A list has a mapper asked for the kind of its objects, and not for one that there is
// not, for which it would ask the server; unless the kind has such a name.
func TestStatusReaderLists(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(podIn(corev1.PodRunning, "a", "one", 0)); err != nil {
		t.Fatal(err)
	}
	known := meta.NewDefaultRESTMapper(nil)
	known.Add(podVersion("Pod"), meta.RESTScopeNamespace)
	core := schema.GroupVersion{Version: "v1"}
	known.AddSpecific(podVersion("AllowList"), core.WithResource("pods"), core.WithResource("pod"), meta.RESTScopeNamespace)
	for kind, want := range map[string]string{"Pod": "Pod", "PodList": "Pod", "AllowList": "Allow AllowList", "AllowListList": "AllowList"} {
		m := &noting{RESTMapper: known}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(podVersion(kind))
		if err := status.NewReader(fakeClients(t, api).Dynamic, m).List(t.Context(), list, "a", metav1.ListOptions{}); err != nil || len(list.Items) != 1 {
			t.Errorf("%s: listed %v, %v", kind, list.Items, err)
		}
		if got := strings.Join(m.kinds, " "); got != want {
			t.Errorf("%s: the mapper was asked for %q, want %q", kind, got, want)
		}
	}
}
