// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"flag"
	"log/slog"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

var bytesObjects = flag.Int("bytes-objects", 5_000, "objects of TestBytesAreThoseOfTheHeap")

// The bytes in the stats of a resource are within 20 % of the growth of the heap, with
// objects that have much in common.
func TestBytesAreThoseOfTheHeap(t *testing.T) {
	fields := resource.WithSourceOptions(source.WithFields("metadata.labels", "spec.nodeName", "status.podIP"))
	t.Run("pods in protobuf", func(t *testing.T) { compareBytes[*corev1.Pod](t, wireProtobuf) })
	t.Run("fields of pods", func(t *testing.T) { compareBytes[*corev1.Pod](t, wireProtobuf, fields) })
	t.Run("pods in JSON", func(t *testing.T) { compareBytes[*corev1.Pod](t, wireJSON) })
	t.Run("pods without sharing", func(t *testing.T) {
		compareBytes[*corev1.Pod](t, wireProtobuf, resource.WithSourceOptions(source.WithoutSharing()))
	})
	t.Run("widgets", func(t *testing.T) { compareBytes[*unstructured.Unstructured](t, wireWidgets) })
}

func compareBytes[T kruntime.Object](t *testing.T, form string, opts ...resource.Option) {
	collection, err := newWireCollection(form, *bytesObjects, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newWireServer([]*wireCollection{collection}, time.Minute, func() {}))
	defer server.Close()
	task := wireTask{}
	task.Form, task.Address = form, server.URL
	client, err := task.client()
	if err != nil {
		t.Fatal(err)
	}
	lc := &cell.DefaultLifecycle{}
	r := resource.New[T](lc, source.NewListWatchFromClient(client, task.resource().Resource, metav1.NamespaceAll), opts...)
	log := slog.New(slog.DiscardHandler)
	if err := lc.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	before := heap()
	if _, err := r.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	grown := heap() - before
	estimated := r.(resource.Inspector).Stats().Bytes
	t.Logf("estimated %d bytes, the heap grew by %d: %.2f", estimated, grown, float64(estimated)/float64(grown))
	if ratio := float64(estimated) / float64(grown); math.Abs(ratio-1) > 0.2 {
		t.Errorf("estimated %d bytes, the heap grew by %d: %.2f", estimated, grown, ratio)
	}
	if err := lc.Stop(log, context.Background()); err != nil {
		t.Fatal(err)
	}
}
