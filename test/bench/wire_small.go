// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/resource"
)

// smallPod is what is kept of a pod by who needs four fields of it.
type smallPod struct {
	namespace, name, version string

	labels   map[string]string
	nodeName string
	podIP    string
	phase    corev1.PodPhase
}

// GetObjectKind implements runtime.Object.
func (*smallPod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object; nobody changes one.
func (p *smallPod) DeepCopyObject() runtime.Object { return p }

func smallPodOf(pod *corev1.Pod) (*smallPod, error) {
	return &smallPod{
		namespace: pod.Namespace, name: pod.Name, version: pod.ResourceVersion,
		labels: pod.Labels, nodeName: pod.Spec.NodeName, podIP: pod.Status.PodIP, phase: pod.Status.Phase,
	}, nil
}

// podStreamer is what lists and watches pods for a resource of another type: it says what
// the server sends, so that this is read as a stream all the same.
type podStreamer struct {
	cache.ListerWatcher
	client *rest.RESTClient
}

// Stream implements informer.Streamer.
func (s podStreamer) Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	return s.client.Get().Resource("pods").VersionedParams(&opts, scheme.ParameterCodec).Stream(ctx)
}

// ObjectType implements informer.Streamer.
func (podStreamer) ObjectType() runtime.Object { return &corev1.Pod{} }

// smallReader is a Resource that transforms.
type smallReader struct{ ourReader[*smallPod] }

func newSmallReader(t wireTask, subscribers []func()) (wireReader, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	lw, err := t.listWatch()
	if err != nil {
		return nil, err
	}
	r := &smallReader{}
	r.open(podStreamer{lw, client}, subscribers, resource.WithTransform(smallPodOf))
	return r, nil
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
