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
	"github.com/apiary-go/apiary/resource"
)

func TestResourceBadOptions(t *testing.T) {
	empty := runtime.NewScheme()
	for _, c := range []struct {
		cell cell.Cell
		want string
	}{
		{Resource[*corev1.Pod](WithLabels("a in (")), "cells.WithLabels"},
		{Resource[*corev1.Pod](WithFields("a")), "cells.WithFields"},
		{Resource[*corev1.Pod](InNamespace("A_B")), "cells.InNamespace"},
		{Resource[*corev1.Pod](WithScheme(nil)), "cells.WithScheme"},
		{Resource[*corev1.Pod](WithScheme(empty)), "cells.WithScheme"},
		{Resource[*corev1.Pod](Unstructured("pods")), "which the option"},
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
				return NewResource[*corev1.Pod](p, WithFields("spec.nodeName="+cfg.Node))
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
