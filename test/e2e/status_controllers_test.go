// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controllers do what controllers of workloads do, when a test says so.
type controllers struct {
	t      *testing.T
	server clients
	ns     string
}

func template(app string) corev1.PodTemplateSpec {
	pod := newPod(app)
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec}
}

func selects(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

// controlledBy makes the metadata of what an object controls.
func controlledBy(kind, name, app string, owner metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"app": app},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, appsv1.SchemeGroupVersion.WithKind(kind))},
	}
}

func (c controllers) deployment(name string, replicas int32) *appsv1.Deployment {
	c.t.Helper()
	d, err := c.server.kube.AppsV1().Deployments(c.ns).Create(c.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: selects(name), Template: template(name)},
	}, metav1.CreateOptions{})
	must(c.t, err)
	return d
}

func (c controllers) replicaSet(deployment, name string, replicas int32) *appsv1.ReplicaSet {
	c.t.Helper()
	owner, err := c.server.kube.AppsV1().Deployments(c.ns).Get(c.t.Context(), deployment, metav1.GetOptions{})
	must(c.t, err)
	rs, err := c.server.kube.AppsV1().ReplicaSets(c.ns).Create(c.t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: controlledBy("Deployment", name, deployment, owner),
		Spec:       appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: selects(deployment), Template: template(deployment)},
	}, metav1.CreateOptions{})
	must(c.t, err)
	return rs
}

func (c controllers) pod(replicaSet, name string) *corev1.Pod {
	c.t.Helper()
	owner, err := c.server.kube.AppsV1().ReplicaSets(c.ns).Get(c.t.Context(), replicaSet, metav1.GetOptions{})
	must(c.t, err)
	p, err := c.server.kube.CoreV1().Pods(c.ns).Create(c.t.Context(), &corev1.Pod{
		ObjectMeta: controlledBy("ReplicaSet", name, owner.Labels["app"], owner), Spec: newPod(name).Spec,
	}, metav1.CreateOptions{})
	must(c.t, err)
	return p
}

func readyPod() corev1.PodStatus {
	return corev1.PodStatus{
		Phase:             corev1.PodRunning,
		Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Ready: true}},
	}
}

func (c controllers) podStatus(pod *corev1.Pod, status corev1.PodStatus) {
	c.t.Helper()
	p := pod.DeepCopy()
	p.ResourceVersion, p.Status = "", status
	_, err := c.server.kube.CoreV1().Pods(c.ns).UpdateStatus(c.t.Context(), p, metav1.UpdateOptions{})
	must(c.t, err)
}

// ready has all replicas of a deployment, and of its only set, be ready.
func (c controllers) ready(deployment, set string, replicas int32) {
	c.t.Helper()
	sets := c.server.kube.AppsV1().ReplicaSets(c.ns)
	rs, err := sets.Get(c.t.Context(), set, metav1.GetOptions{})
	must(c.t, err)
	rs.Status = appsv1.ReplicaSetStatus{
		Replicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas, FullyLabeledReplicas: replicas, ObservedGeneration: rs.Generation,
	}
	_, err = sets.UpdateStatus(c.t.Context(), rs, metav1.UpdateOptions{})
	must(c.t, err)
	c.deploymentStatus(deployment, func(d *appsv1.Deployment) {
		d.Status = appsv1.DeploymentStatus{
			Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas, ObservedGeneration: d.Generation,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
			},
		}
	})
}

// failProgress has the progress deadline of a deployment be over.
func (c controllers) failProgress(deployment string) {
	c.t.Helper()
	c.deploymentStatus(deployment, func(d *appsv1.Deployment) {
		d.Status.ObservedGeneration = d.Generation
		d.Status.Conditions = []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"},
		}
	})
}

func (c controllers) deploymentStatus(name string, change func(*appsv1.Deployment)) {
	c.t.Helper()
	client := c.server.kube.AppsV1().Deployments(c.ns)
	d, err := client.Get(c.t.Context(), name, metav1.GetOptions{})
	must(c.t, err)
	change(d)
	_, err = client.UpdateStatus(c.t.Context(), d, metav1.UpdateOptions{})
	must(c.t, err)
}
