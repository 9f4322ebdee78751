// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/resource"
)

// allowPods lets a user read the pods of one namespace, by a Role and a RoleBinding.
func allowPods(t *testing.T, admin clients, namespace, user string) {
	t.Helper()
	_, err := admin.kube.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = admin.kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "pods"},
	}, metav1.CreateOptions{})
	must(t, err)
}

// Roles in the namespaces are enough for a set of namespaces, which changes. A namespace without
// a Role is named, and does not hold up the others.
func TestNamespacesByRoles(t *testing.T) {
	cluster := sharedCluster(t)
	admin := startApp(t, cluster.Kubeconfig())
	a, b, c, other := admin.namespace(t), admin.namespace(t), admin.namespace(t), admin.namespace(t)
	user, err := cluster.AddUser(t.Context(), "tenant")
	must(t, err)
	allowPods(t, admin, a, "tenant")
	allowPods(t, admin, b, "tenant")
	create := func(namespace, name string) *corev1.Pod {
		p, err := admin.kube.CoreV1().Pods(namespace).Create(t.Context(), newPod(name), metav1.CreateOptions{})
		must(t, err)
		return p
	}
	ax, bx, cx := create(a, "x"), create(b, "x"), create(c, "x")
	create(other, "x")

	set, err := namespaces.NewSet(a, b)
	must(t, err)
	var pods resource.Resource[*corev1.Pod]
	startApp(t, user.Kubeconfig(), get(&pods), cells.Resource[*corev1.Pod](cells.InNamespaceSet(set),
		cells.With(resource.WithSettings(informer.Settings{Backoff: denied}))))
	rec := record(t, pods)
	rec.waitSynced(t)
	rec.waitFor(t, ax, bx)

	must(t, set.Set(b, c)) // there is no Role in c
	rec.waitFor(t, bx)
	by := create(b, "y")
	rec.waitFor(t, bx, by)
	allowPods(t, admin, c, "tenant")
	rec.waitFor(t, bx, by, cx)
	must(t, set.Set(a, c))
	rec.waitFor(t, ax, cx)
	must(t, admin.kube.CoreV1().Pods(c).Delete(t.Context(), "x", now()))
	rec.waitFor(t, ax)
}

// The error of Store names the namespace that has no Role.
func TestNamespaceWithoutRole(t *testing.T) {
	cluster := sharedCluster(t)
	admin := startApp(t, cluster.Kubeconfig())
	a, b := admin.namespace(t), admin.namespace(t)
	user, err := cluster.AddUser(t.Context(), "tenant-of-one")
	must(t, err)
	allowPods(t, admin, a, "tenant-of-one")
	var pods resource.Resource[*corev1.Pod]
	startApp(t, user.Kubeconfig(), get(&pods), cells.Resource[*corev1.Pod](cells.InNamespaces(a, b),
		cells.With(resource.WithSettings(informer.Settings{Backoff: denied}))))
	notSynced(t, pods, informer.CauseForbidden, "in namespace "+b)
	for _, m := range pods.(resource.Inspector).Stats().Namespaces {
		if synced := m.Passes > 0; synced != (m.Namespace == a) {
			t.Errorf("namespace %s: synced %t, %v", m.Namespace, synced, m.Err)
		}
	}
	allowPods(t, admin, b, "tenant-of-one")
	_, err = pods.Store(t.Context())
	must(t, err)
}
