// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
)

// pods that have much in common.
func WirePods(n int) *corev1.PodList {
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "100"}}
	for i := range n {
		list.Items = append(list.Items, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: fmt.Sprint("web-", i), UID: "u", ResourceVersion: fmt.Sprint(i + 1),
				Labels: map[string]string{"app": "web", "tier": "front"}, Annotations: map[string]string{"i": fmt.Sprint(i)},
			},
			Spec:   corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "c", Image: "registry.example.com/web:1", Args: []string{"-v"}}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprint("10.0.0.", i)},
		})
	}
	return list
}

// Encode is obj as a server sends it.
func Encode(t testing.TB, format string, obj runtime.Object) []byte {
	t.Helper()
	info, ok := runtime.SerializerInfoForMediaType(clientscheme.Codecs.SupportedMediaTypes(), format)
	if !ok {
		t.Fatal(format)
	}
	data, err := runtime.Encode(clientscheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), obj)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Hidden is a ListerWatcher of which nothing else is known.
type Hidden struct{ cache.ListerWatcherWithContext }

func (h Hidden) List(opts metav1.ListOptions) (runtime.Object, error) {
	return h.ListWithContext(context.Background(), opts)
}

func (h Hidden) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return h.WatchWithContext(context.Background(), opts)
}

// Bodies is a Streamer that answers each list with the next of its bodies, and no watch.
type Bodies struct {
	Hidden
	Left *[][]byte
}

// IsWatchListSemanticsUnSupported has lists read, not streamed.
func (Bodies) IsWatchListSemanticsUnSupported() bool { return true }

func (Bodies) ObjectType() runtime.Object { return &corev1.Pod{} }

func (b Bodies) Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	if opts.Watch || len(*b.Left) == 0 {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	next := (*b.Left)[0]
	*b.Left = (*b.Left)[1:]
	return io.NopCloser(bytes.NewReader(next)), nil
}
