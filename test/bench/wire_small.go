// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

// smallPod has the four fields of a pod that its user needs.
type smallPod struct {
	namespace, name, version string

	labels   map[string]string
	nodeName string
	podIP    string
	phase    corev1.PodPhase
}

// GetObjectKind implements runtime.Object.
func (*smallPod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. Objects are never changed.
func (p *smallPod) DeepCopyObject() runtime.Object { return p }

func smallPodOf(pod *corev1.Pod) (*smallPod, error) {
	return &smallPod{
		namespace: pod.Namespace, name: pod.Name, version: pod.ResourceVersion,
		labels: pod.Labels, nodeName: pod.Spec.NodeName, podIP: pod.Status.PodIP, phase: pod.Status.Phase,
	}, nil
}

// smallReader is a Resource that transforms.
type smallReader struct{ ourReader[*smallPod] }

func newSmallReader(t wireTask, subscribers []func()) (wireReader, error) {
	r := &smallReader{}
	return r, r.open(t, subscribers,
		resource.WithTransform(smallPodOf),
		resource.WithSourceOptions(fourFields, source.WithObjectType(&corev1.Pod{}), source.WithSharing()))
}

func (r *smallReader) stored() map[cache.ObjectName]string {
	store, err := r.resource.Store(context.Background())
	must(err)
	stored := map[cache.ObjectName]string{}
	for _, pod := range store.List() {
		stored[cache.ObjectName{Namespace: pod.namespace, Name: pod.name}] = pod.version
	}
	return stored
}
