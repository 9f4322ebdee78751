// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// denied is a backoff that does not wait long for people.
var denied = informer.Backoff{Denied: 200 * time.Millisecond, Max: time.Second}

// waitDenied waits until the ErrorHandler is told of the cause, with that text.
func (m *mirrorRun) waitDenied(t *testing.T, cause informer.Cause, text string) {
	t.Helper()
	until(t, "the error handler is told: "+text, func() bool {
		for _, err := range m.errors() {
			if informer.CauseOf(err) == cause && strings.Contains(err.Error(), text) {
				return true
			}
		}
		return false
	}, func() any { return m.errors() })
	if s := m.Stats(); s.Synced || s.Reflector.Cause != cause || s.ResumeVersion != "" {
		t.Errorf("denied, but %+v", s)
	}
}

// The error handler is told that the user may not read. Once allowed, all is well.
func TestMirrorForbiddenThenAllowed(t *testing.T) {
	cluster := sharedCluster(t)
	w := newWorld(t, cluster.Kubeconfig(), "a")
	user, err := cluster.AddUser(t.Context(), "mirror")
	must(t, err)
	reader := world{clients: startApp(t, user.Kubeconfig()), t: t, ns: w.ns}
	db := newDatabase(w.clients, w.ns)
	m := db.start(t, mirrorConfig{ListerWatcher: reader.lw(nil), Settings: informer.Settings{Backoff: denied}})
	m.waitDenied(t, informer.CauseForbidden, `cannot list resource "configmaps"`)
	must(t, user.SetRules(t.Context(),
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list", "watch"}}))
	m.waitSynced(t)
	db.expect(t, m, 0, w.truth(), "add a")
}

// A kind that is installed after the start, and goes again with all that was of it.
func TestMirrorInstalledLater(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	gadgets := server.dynamic.Resource(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "gadgets"}).Namespace("default")
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return gadgets.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			return gadgets.Watch(ctx, opts)
		},
	}
	db := newDatabase(server, "default")
	db.get = nil
	m := db.start(t, mirrorConfig{ListerWatcher: lw, Settings: informer.Settings{Backoff: denied}})
	m.waitDenied(t, informer.CauseNotInstalled, "could not find the requested resource")

	crd := strings.NewReplacer("widget", "gadget", "Widget", "Gadget").Replace(widgetCRD)
	must(t, cluster.InstallCRDs(t.Context(), []byte(crd)))
	m.waitSynced(t)
	gadget, err := gadgets.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": map[string]any{"name": "a"},
	}}, metav1.CreateOptions{})
	must(t, err)
	row := store.MetaOf(gadget)
	db.expect(t, m, 0, map[store.Key]store.Meta{row.Key: row}, "add a")

	crds := server.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	must(t, crds.Delete(t.Context(), "gadgets.example.org", metav1.DeleteOptions{}))
	until(t, "the object is deleted", func() bool { return len(db.table()) == 0 }, func() any { return m.Stats() })
	m.stop()
	for _, broken := range db.violations(nil) {
		t.Error(broken)
	}
}
