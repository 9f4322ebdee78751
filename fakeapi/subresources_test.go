// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"context"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/fakeapi"
)

// Clients scale a Deployment. The conformance test of test/e2e compares other calls and
// kinds with a real server.
func TestScale(t *testing.T) {
	api := fakeapi.New()
	deployments := clientsOf(t, api).kubernetes.AppsV1().Deployments("a")
	if err := api.Add(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "d"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"x": "y"}}},
		Status:     appsv1.DeploymentStatus{Replicas: 4},
	}); err != nil {
		t.Fatal(err)
	}
	scale, err := deployments.GetScale(soon(t), "d", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if scale.Spec.Replicas != 1 || scale.Status != (autoscalingv1.ScaleStatus{Replicas: 4, Selector: "x=y"}) {
		t.Errorf("got %+v", scale)
	}
	scale.Spec.Replicas = 3
	if scaled, err := deployments.UpdateScale(soon(t), "d", scale, metav1.UpdateOptions{}); err != nil || scaled.Spec.Replicas != 3 {
		t.Fatal(scaled, err)
	}
	if _, err := deployments.UpdateScale(soon(t), "d", scale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of an old version: %v", err)
	}
	if _, err := deployments.Patch(soon(t), "d", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}, "scale"); err != nil {
		t.Fatal(err)
	}
	if d, err := deployments.Get(soon(t), "d", metav1.GetOptions{}); err != nil || *d.Spec.Replicas != 0 || d.Generation != 3 || d.Status.Replicas != 4 {
		t.Errorf("got %+v, %v", d, err)
	}
}

// Clients bind and evict a Pod, and a test can make the eviction fail.
func TestBindAndEvict(t *testing.T) {
	api := fakeapi.New()
	pods := clientsOf(t, api).kubernetes.CoreV1().Pods("a")
	if err := api.Add(pod("a", "p")); err != nil {
		t.Fatal(err)
	}
	name := metav1.ObjectMeta{Namespace: "a", Name: "p"}
	bind := &corev1.Binding{ObjectMeta: name, Target: corev1.ObjectReference{Kind: "Node", Name: "n"}}
	if err := pods.Bind(soon(t), bind, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if p, err := pods.Get(soon(t), "p", metav1.GetOptions{}); err != nil || p.Spec.NodeName != "n" {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := pods.Bind(soon(t), bind, metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("a second binding: %v", err)
	}

	budget := apierrors.NewTooManyRequests("the pod's disruption budget allows none", 1)
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if _, ok := r.Object.(*policyv1.Eviction); ok && r.Subresource == "eviction" {
			return budget
		}
		return nil
	})
	eviction := &policyv1.Eviction{ObjectMeta: name}
	if err := pods.EvictV1(soon(t), eviction); !apierrors.IsTooManyRequests(err) {
		t.Errorf("with a budget: %v", err)
	}
	api.Intercept(nil)
	if err := pods.EvictV1(soon(t), eviction); err != nil {
		t.Error(err)
	}
	if err := pods.EvictV1(soon(t), eviction); !apierrors.IsNotFound(err) {
		t.Errorf("of no pod: %v", err)
	}
}

// Discovery lists the subresources with their kinds.
func TestDiscoveryOfSubresources(t *testing.T) {
	api := fakeapi.New()
	discovery := clientsOf(t, api).kubernetes.Discovery()
	for _, want := range []struct {
		groupVersion string
		resource     metav1.APIResource
	}{
		{"v1", metav1.APIResource{Name: "pods/binding", Version: "v1", Kind: "Binding", Namespaced: true, Verbs: metav1.Verbs{"create"}}},
		{"v1", metav1.APIResource{Name: "pods/eviction", Group: "policy", Version: "v1", Kind: "Eviction", Namespaced: true, Verbs: metav1.Verbs{"create"}}},
		{"apps/v1", metav1.APIResource{Name: "statefulsets/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true, Verbs: metav1.Verbs{"get", "patch", "update"}}},
	} {
		list, err := discovery.ServerResourcesForGroupVersion(want.groupVersion)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.String() == want.resource.String() }) {
			t.Errorf("%s is not listed", want.resource.Name)
		}
	}
}
