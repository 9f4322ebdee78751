// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The wait command on a real API server.
func TestEndToEndWait(t *testing.T) {
	cluster, client := startCluster(t)
	file := filepath.Join(t.TempDir(), "app.yaml")
	if err := os.WriteFile(file, []byte(confManifest+webManifest), 0o644); err != nil {
		t.Fatal(err)
	}
	wait := func(args ...string) *example {
		t.Helper()
		return startExample(t, append([]string{"wait", "-f", file, "--k8s-kubeconfig", cluster.Kubeconfig()}, args...)...)
	}

	// Neither is there, and the time is up.
	p := wait("--timeout", "2s")
	p.mustEnd(exitTimeout, 10*time.Second)
	p.expect("  ConfigMap/default/conf  NotFound", "  Deployment/default/web  NotFound", "timed out: 0 of 2 are Current, 2s\n")

	// So it is for somebody who may read only one of them, by its name.
	jane, err := cluster.AddUser(t.Context(), "jane", rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"conf"}, Verbs: []string{"get"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p = wait("--timeout", "2s", "--kubeconfig", jane.Kubeconfig())
	p.mustEnd(exitTimeout, 10*time.Second)
	p.expect("  ConfigMap/default/conf  NotFound", "  Deployment/default/web  Forbidden", `User "jane" cannot get resource "deployments"`)

	// Both come, and get ready.
	p = wait()
	p.waitFor("Deployment/default/web  NotFound")
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "conf"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	created, err := client.AppsV1().Deployments("default").Create(t.Context(), realDeployment(), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.waitFor("ConfigMap/default/conf  Current")
	p.waitFor("Deployment/default/web  InProgress")
	created.Status = web(1, 1).Status
	created.Status.ObservedGeneration = created.Generation
	if _, err := client.AppsV1().Deployments("default").UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.mustEnd(0, 10*time.Second)
	p.expect("Deployment/default/web  Current", "all 2 are Current")

	// They go.
	p = wait("--for", "deleted")
	p.waitFor("Deployment/default/web  Current")
	if err := client.CoreV1().ConfigMaps("default").Delete(t.Context(), "conf", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.waitFor("ConfigMap/default/conf  NotFound")
	if err := client.AppsV1().Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.mustEnd(0, 10*time.Second)
	p.expect("all 2 are gone")

	// Ctrl-C.
	p = wait()
	p.waitFor("Deployment/default/web  NotFound")
	p.signal(os.Interrupt)
	p.mustEnd(130, 5*time.Second)
	p.expect("interrupted: 0 of 2 are Current")
	p.expectNothingLeft()
}

// realDeployment is complete enough for a real API server.
func realDeployment() *appsv1.Deployment {
	labels := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: webPod().Spec},
		},
	}
}
