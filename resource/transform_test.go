// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/apiary-go/apiary/resource"
)

type oddStreamer struct{ data []byte }

func (oddStreamer) List(metav1.ListOptions) (runtime.Object, error)   { panic("not called") }
func (oddStreamer) Watch(metav1.ListOptions) (watch.Interface, error) { panic("not called") }
func (oddStreamer) ObjectType() runtime.Object                        { return &corev1.Pod{} }
func (oddStreamer) IsWatchListSemanticsUnSupported() bool             { return true }
func (s oddStreamer) Stream(ctx context.Context, o metav1.ListOptions) (io.ReadCloser, error) {
	if !o.Watch {
		return io.NopCloser(bytes.NewReader(s.data)), nil
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	return r, nil
}

// A transform may modify and return what it is given.
func TestTransformModifies(t *testing.T) {
	list := &corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "100"}}
	for i := range 6 {
		list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("web-", i), Namespace: "shop", UID: "u", ResourceVersion: fmt.Sprint(i + 1),
			Labels: map[string]string{"app": "web", "tier": "front"}}})
	}
	var data bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(list, &data); err != nil {
		t.Fatal(err)
	}
	lc := &cell.DefaultLifecycle{}
	r := resource.New[*corev1.Pod](lc, oddStreamer{data.Bytes()}, resource.WithTransform(func(p *corev1.Pod) (*corev1.Pod, error) {
		p.Labels["name"] = p.Name
		return p, nil
	}))
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if err := lc.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	defer lc.Stop(log, context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for e := range r.Events(ctx) {
		e.Done(nil)
		if e.Kind == resource.Sync {
			break
		}
		if got := e.Object.Labels["name"]; got != e.Object.Name {
			text, _ := json.Marshal(e.Object.Labels)
			t.Errorf("%s: %s", e.Object.Name, text)
		}
	}
}
