// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A Deployment has ReplicaSets of former revisions, and one with Pods.
const (
	statusNamespace = "default"
	statusSets      = 10
	statusPods      = 3
)

// statusWorkload creates the Deployments, and changes them like their controllers would.
type statusWorkload struct{ client kubernetes.Interface }

func newStatusWorkload(config *rest.Config) (*statusWorkload, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	return &statusWorkload{client}, err
}

func ownerName(i int) string { return fmt.Sprintf("owner-%03d", i) }

// create creates Deployments that are Current, eight at a time.
func (w *statusWorkload) create(ctx context.Context, owners int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var making sync.WaitGroup
	for maker := range 8 {
		making.Go(func() {
			for i := maker; i < owners; i += 8 {
				if err := w.createOwner(ctx, ownerName(i)); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	making.Wait()
	return context.Cause(ctx)
}

// controlled returns the metadata of an object that a controller makes for its owner.
func controlled(name, app string, owner metav1.Object, kind string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}}
	if owner != nil {
		m.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, appsv1.SchemeGroupVersion.WithKind(kind))}
	}
	return m
}

func (w *statusWorkload) createOwner(ctx context.Context, name string) error {
	var (
		apps     = w.client.AppsV1()
		pods     = w.client.CoreV1().Pods(statusNamespace)
		spec     = makePod(0).Spec
		selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
		template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: selector.MatchLabels}, Spec: spec}
	)
	template.Spec.NodeName, template.Spec.ServiceAccountName, template.Spec.DeprecatedServiceAccount = "", "", ""
	template.Spec.RestartPolicy = corev1.RestartPolicyAlways
	replicas, none := int32(statusPods), int32(0)
	d, err := apps.Deployments(statusNamespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: controlled(name, name, nil, ""),
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for i := range statusSets {
		rs := &appsv1.ReplicaSet{
			ObjectMeta: controlled(fmt.Sprintf("%s-%d", name, i), name, d, "Deployment"),
			Spec:       appsv1.ReplicaSetSpec{Replicas: &none, Selector: selector, Template: template},
		}
		if i == 0 {
			rs.Spec.Replicas = &replicas
		}
		if rs, err = apps.ReplicaSets(statusNamespace).Create(ctx, rs, metav1.CreateOptions{}); err != nil {
			return err
		}
		n := *rs.Spec.Replicas
		rs.Status = appsv1.ReplicaSetStatus{
			Replicas: n, FullyLabeledReplicas: n, ReadyReplicas: n, AvailableReplicas: n, ObservedGeneration: rs.Generation,
		}
		if rs, err = apps.ReplicaSets(statusNamespace).UpdateStatus(ctx, rs, metav1.UpdateOptions{}); err != nil {
			return err
		}
		for j := range n {
			pod, err := pods.Create(ctx, &corev1.Pod{
				ObjectMeta: controlled(fmt.Sprintf("%s-0-%d", name, j), name, rs, "ReplicaSet"), Spec: template.Spec,
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			pod.Status = makePod(0).Status
			pod.Status.Phase = corev1.PodRunning
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
	}
	return w.progress(ctx, name, corev1.ConditionTrue, "NewReplicaSetAvailable")
}

// fail sets the condition of a Deployment to an exceeded progress deadline, and succeed
// to an available ReplicaSet.
func (w *statusWorkload) fail(ctx context.Context, i int) error {
	return w.progress(ctx, ownerName(i), corev1.ConditionFalse, "ProgressDeadlineExceeded")
}

func (w *statusWorkload) succeed(ctx context.Context, i int) error {
	return w.progress(ctx, ownerName(i), corev1.ConditionTrue, "NewReplicaSetAvailable")
}

func (w *statusWorkload) progress(ctx context.Context, name string, is corev1.ConditionStatus, reason string) error {
	deployments := w.client.AppsV1().Deployments(statusNamespace)
	d, err := deployments.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	d.Status = appsv1.DeploymentStatus{
		Replicas: statusPods, UpdatedReplicas: statusPods, ReadyReplicas: statusPods, AvailableReplicas: statusPods,
		ObservedGeneration: d.Generation,
		Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
			{Type: appsv1.DeploymentProgressing, Status: is, Reason: reason},
		},
	}
	_, err = deployments.UpdateStatus(ctx, d, metav1.UpdateOptions{})
	return err
}
