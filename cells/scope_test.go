// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"strings"
	"testing"

	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
)

func TestResourceBadOptions(t *testing.T) {
	empty := runtime.NewScheme()
	for _, c := range []struct {
		cell cell.Cell
		want string
	}{
		{Resource[*corev1.Pod](WithLabelSelector("a in (")), "cells.WithLabelSelector"},
		{Resource[*corev1.Pod](WithFieldSelector("a")), "cells.WithFieldSelector"},
		{Resource[*corev1.Pod](InNamespace("A_B")), "cells.InNamespace"},
		{Resource[*corev1.Pod](WithScheme(nil)), "cells.WithScheme"},
		{Resource[*corev1.Pod](WithScheme(empty)), "cells.WithScheme"},
		{Resource[*corev1.Pod](Unstructured("pods")), "leave them out"},
		{Resource[*corev1.PodList](), "list"},
		{Resource[*Slim](), "cells.From"},
		{Resource[runtime.Object](), "pointer to a struct"},
		{Resource[*Widget](WithScheme(widgetScheme(&Widget{}))), "WidgetList"},
	} {
		err := run(t, quiet(), nil, withFake(fakeapi.New()), c.cell, cell.Invoke(
			func(in struct {
				cell.In
				A resource.Resource[*corev1.Pod]     `optional:"true"`
				B resource.Resource[*corev1.PodList] `optional:"true"`
				C resource.Resource[*Slim]           `optional:"true"`
				D resource.Resource[runtime.Object]  `optional:"true"`
				E resource.Resource[*Widget]         `optional:"true"`
			}) {
			}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	for _, opts := range [][]Option{nil, {Unstructured("")}, {Unstructured("a/b")}, {Metadata("pods")}, {Unstructured(schema.GroupVersionKind{})}} {
		err := run(t, quiet(), nil, withFake(fakeapi.New()), Resource[*unstructured.Unstructured](opts...),
			cell.Invoke(func(resource.Resource[*unstructured.Unstructured]) {}))
		if err == nil {
			t.Error("no error")
		}
	}
	err := run(t, quiet(), nil, withFake(fakeapi.New()), ResourceAs[xPods, *corev1.Pod](nil), cell.Invoke(func(xPods) {}))
	if err == nil {
		t.Error("no error")
	}
}

func TestParseKind(t *testing.T) {
	for s, want := range map[string]target{
		"pods":                   {Resource: "pods"},
		"Pod":                    {Kind: "Pod"},
		"pods.v1":                {Resource: "pods", Version: "v1"},
		"pods.v1.":               {Resource: "pods", Version: "v1"},
		"widgets.example.com":    {Resource: "widgets", Group: "example.com"},
		"widgets.v1.example.com": {Resource: "widgets", Version: "v1", Group: "example.com"},
		"W.v2beta1.example.com":  {Kind: "W", Version: "v2beta1", Group: "example.com"},
		"deployments.apps":       {Resource: "deployments", Group: "apps"},
	} {
		if got, err := parseKind(s); got != want || err != nil {
			t.Errorf("%s: %+v %v", s, got, err)
		}
	}
}

// What is private is seen in its module, and a selector may depend on a flag.
func TestResourcePrivateAndConfigured(t *testing.T) {
	api := fakeapi.New()
	one := pod("a", "one")
	one.Spec.NodeName = "n1"
	if err := api.Add(one, pod("a", "two")); err != nil {
		t.Fatal(err)
	}
	var private, configured []string
	err := run(t, quiet(), []string{"--node=n1"}, withFake(api),
		cell.Module("one", "One", Resource[*corev1.Pod](Private()),
			atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
				private = keys(storeOf(t, ctx, r))
				return nil
			})),
		cell.Module("two", "Two", cell.Config(nodeConfig{}),
			cell.ProvidePrivate(func(p Params, cfg nodeConfig) (resource.Resource[*corev1.Pod], error) {
				return NewResource[*corev1.Pod](p, WithFieldSelector("spec.nodeName="+cfg.Node))
			}),
			atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
				configured = keys(storeOf(t, ctx, r))
				return nil
			})),
		cell.Invoke(func(in struct {
			cell.In
			R resource.Resource[*corev1.Pod] `optional:"true"`
		}) {
			if in.R != nil {
				t.Error("the private resource is seen outside")
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, private, "a/one", "a/two")
	expect(t, configured, "a/one")
}

type nodeConfig struct{ Node string }

func (nodeConfig) Flags(flags *pflag.FlagSet) { flags.String("node", "", "") }

// Fields leaves the other fields out, for resources, mirrors and pushes alike.
func TestFields(t *testing.T) {
	api := fakeapi.New()
	p := pod("a", "one", "app", "x")
	p.Spec.NodeName, p.Spec.Hostname = "node", "host"
	if err := api.Add(p); err != nil {
		t.Fatal(err)
	}
	only := []Option{Fields("metadata.labels"), Fields("spec.nodeName")}
	want := func(who string, got *corev1.Pod) {
		if got.Name != "one" || got.Labels["app"] != "x" || got.Spec.NodeName != "node" || got.Spec.Hostname != "" {
			t.Errorf("%s: got %v", who, got)
		}
	}
	mirrored := make(chan *corev1.Pod, 1)
	consumer := pageConsumer{make(chan *corev1.Pod, 1)}
	err := run(t, quiet(), nil, withFake(api), Resource[*corev1.Pod](only...),
		cell.Provide(func() pageConsumer { return consumer }), Push[*corev1.Pod, pageConsumer](only...),
		cell.Invoke(func(p Params) error {
			_, err := NewMirror("mirror", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
				AddFunc: func(_ context.Context, obj informer.Object[*corev1.Pod]) error { mirrored <- obj.Object; return nil },
			}}, only...)
			return err
		}),
		atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
			want("resource", storeOf(t, ctx, r).List()[0])
			want("mirror", <-mirrored)
			want("push", <-consumer.pods)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// pageConsumer sends the objects of the pages that it gets.
type pageConsumer struct{ pods chan *corev1.Pod }

func (c pageConsumer) BeginSnapshot(context.Context, push.SnapshotInfo) error { return nil }
func (c pageConsumer) SnapshotPage(_ context.Context, _ push.SnapshotInfo, page []informer.Object[*corev1.Pod]) error {
	for _, obj := range page {
		c.pods <- obj.Object
	}
	return nil
}
func (c pageConsumer) EndSnapshot(context.Context, push.SnapshotInfo) error   { return nil }
func (c pageConsumer) AbortSnapshot(push.SnapshotInfo, error)                 {}
func (c pageConsumer) OnBatch(context.Context, push.Batch[*corev1.Pod]) error { return nil }
