// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// notSynced asks for the store, and checks why there is none.
func notSynced[T runtime.Object](t *testing.T, r resource.Resource[T], cause informer.Cause, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := r.Store(ctx)
	var why *resource.NotSyncedError
	if !errors.As(err, &why) || why.Cause != cause || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v (%+v), want the cause %q and the text %q", err, why, cause, text)
	}
}

// A user who may not read pods, and then may. Another resource is not held up.
func TestForbiddenThenAllowed(t *testing.T) {
	cluster := sharedCluster(t)
	read := func(resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: resources, Verbs: []string{"get", "list", "watch"}}
	}
	user, err := cluster.AddUser(t.Context(), "reader", read("configmaps"))
	must(t, err)
	var pods resource.Resource[*corev1.Pod]
	var maps resource.Resource[*corev1.ConfigMap]
	startApp(t, user.Kubeconfig(), get(&pods), get(&maps),
		cells.Resource[*corev1.Pod](), cells.Resource[*corev1.ConfigMap]())
	rec := record(t, pods)
	notSynced(t, pods, informer.CauseForbidden, `cannot`)
	notSynced(t, pods, informer.CauseForbidden, `resource "pods"`)
	_, err = maps.Store(t.Context())
	must(t, err)
	must(t, user.SetRules(t.Context(), read("configmaps", "pods")))
	rec.waitSynced(t)
}

func TestUnauthorized(t *testing.T) {
	cluster := sharedCluster(t)
	config, err := os.ReadFile(cluster.Kubeconfig())
	must(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(config), cluster.Token(), "nobody")), 0o600))
	var pods resource.Resource[*corev1.Pod]
	startApp(t, path, get(&pods), cells.Resource[*corev1.Pod]())
	notSynced(t, pods, informer.CauseUnauthorized, "nauthorized")
}

const widgetCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
`

type widgets resource.Resource[*unstructured.Unstructured]

// A kind that is installed after the start of the application, and goes again.
func TestCustomResourceInstalledLater(t *testing.T) {
	cluster := sharedCluster(t)
	var r widgets
	server := startApp(t, cluster.Kubeconfig(), get(&r),
		cells.ResourceAs(func(r resource.Resource[*unstructured.Unstructured]) widgets { return r },
			cells.Unstructured("widgets.v1.example.org"),
			cells.With(resource.WithSettings(informer.Settings{Backoff: informer.Backoff{Denied: time.Second, Max: 2 * time.Second}}))))
	rec := record[*unstructured.Unstructured](t, r)
	notSynced[*unstructured.Unstructured](t, r, informer.CauseNotInstalled, "widgets")

	must(t, cluster.InstallCRDs(t.Context(), []byte(widgetCRD)))
	rec.waitSynced(t)
	client := server.dynamic.Resource(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "widgets"}).Namespace("default")
	widget := func(name string, size int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.org/v1", "kind": "Widget",
			"metadata": map[string]any{"name": name},
			"spec":     map[string]any{"size": size},
		}}
	}
	a, err := client.Create(t.Context(), widget("a", 1), metav1.CreateOptions{})
	must(t, err)
	b, err := client.Create(t.Context(), widget("b", 1), metav1.CreateOptions{})
	must(t, err)
	rec.waitFor(t, a, b)
	must(t, unstructured.SetNestedField(a.Object, int64(2), "spec", "size"))
	a, err = client.Update(t.Context(), a, metav1.UpdateOptions{})
	must(t, err)
	must(t, client.Delete(t.Context(), "b", metav1.DeleteOptions{}))
	rec.waitFor(t, a)
	if size, _, _ := unstructured.NestedInt64(rec.objects[store.Key{Namespace: "default", Name: "a"}].Object, "spec", "size"); size != 2 {
		t.Errorf("the size is %d", size)
	}

	crds := server.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	must(t, crds.Delete(t.Context(), "widgets.example.org", metav1.DeleteOptions{}))
	rec.waitFor(t)
	rec.check(t, rec.state)
}
