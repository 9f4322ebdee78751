// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
)

// lamp is a custom resource with a Go type, and lampList its list.
type lamp struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              struct {
		Color string `json:"color,omitempty"`
	} `json:"spec"`
	Status struct {
		Lit bool `json:"lit,omitempty"`
	} `json:"status"`
}

type lampList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []lamp `json:"items"`
}

func (l *lamp) DeepCopyObject() runtime.Object {
	out := *l
	l.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

func (l *lampList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = slices.Clone(l.Items)
	return &out
}

var lampVersion = schema.GroupVersion{Group: "example.com", Version: "v1"}

func lampScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	s.AddKnownTypes(lampVersion, &lamp{}, &lampList{})
	metav1.AddToGroupVersion(s, lampVersion)
	return s
}

func newLamp(name, color string) *lamp {
	l := &lamp{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}
	l.Spec.Color = color
	return l
}

// Objects of a user's Go types are served, and returned in their types.
func TestScheme(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(newLamp("one", "red")); err == nil || !strings.Contains(err.Error(), "InstallScheme") {
		t.Error(err)
	}
	api.InstallScheme(lampScheme())
	lit := newLamp("one", "red")
	lit.Status.Lit = true
	if err := api.Add(lit); err != nil {
		t.Fatal(err)
	}
	c := clientsOf(t, api)
	lamps := c.dynamic.Resource(lampVersion.WithResource("lamps")).Namespace("a")
	u, err := lamps.Get(soon(t), "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lit, _, _ := unstructured.NestedBool(u.Object, "status", "lit"); !lit || u.GetKind() != "Lamp" && u.GetKind() != "lamp" {
		t.Error(u)
	}
	// The type has a status, so updates of the object do not change it.
	unstructured.RemoveNestedField(u.Object, "status")
	if err := unstructured.SetNestedField(u.Object, "blue", "spec", "color"); err != nil {
		t.Fatal(err)
	}
	if _, err := lamps.Update(soon(t), u, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	obj, err := api.Get("lamps", "a", "one")
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := obj.(*lamp); !ok || !l.Status.Lit || l.Spec.Color != "blue" || l.Generation != 2 {
		t.Errorf("%T %v", obj, obj)
	}
	stale := newLamp("one", "green")
	stale.ResourceVersion = "1"
	if err := api.Update(stale); !apierrors.IsConflict(err) {
		t.Error(err)
	}
	if err := api.Update(newLamp("two", "green")); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	if err := api.Apply(newLamp("one", "white"), newLamp("two", "white")); err != nil {
		t.Fatal(err)
	}
	list, err := api.List("lamp.example.com", "a")
	if err != nil || len(list) != 2 || list[0].(*lamp).Spec.Color != "white" {
		t.Error(list, err)
	}
	if err := api.Delete("lamps", "a", "two"); err != nil {
		t.Error(err)
	}
	if err := api.Delete("lamps", "a", "two"); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	if n := api.Summary(); len(n) != 1 || n[lampVersion.WithResource("lamps")] != 1 {
		t.Error(n)
	}
}

func TestManifests(t *testing.T) {
	api := fakeapi.New(gadgets)
	files := fstest.MapFS{
		"b/pod.yaml": {Data: []byte("# a comment\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: one, namespace: a}\n---\n" +
			"apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {size: 1}\n")},
		"list.json":   {Data: []byte(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}]}`)},
		"README.md":   {Data: []byte("nothing")},
		"a/empty.yml": {},
	}
	if err := api.AddManifests(files); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][3]string{{"pods", "a", "one"}, {"Gadget", "", "g"}, {"nodes.v1", "", "n"}} {
		if _, err := api.Get(want[0], want[1], want[2]); err != nil {
			t.Error(err)
		}
	}
	for text, want := range map[string]string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: one, namespace: a}\nspec: {nodename: typo}\n": "nodename",
		"apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: one}\n":                       "not installed",
		"metadata: {name: one}\n": "kind",
		"{":                       "bad.yaml",
	} {
		if err := api.AddManifests(fstest.MapFS{"bad.yaml": {Data: []byte(text)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestResourceNames(t *testing.T) {
	api := fakeapi.New(widgets)
	for name, want := range map[string]string{
		"pods":                            "/v1, Resource=pods",
		"Pod":                             "/v1, Resource=pods",
		"v1.pods":                         "/v1, Resource=pods",
		"events":                          "/v1, Resource=events",
		"deployments":                     "apps/v1, Resource=deployments",
		"deployment.apps":                 "apps/v1, Resource=deployments",
		"deployments.v1beta1.apps":        "apps/v1beta1, Resource=deployments",
		"apps/v1/deployments":             "apps/v1, Resource=deployments",
		"horizontalpodautoscalers":        "autoscaling/v2, Resource=horizontalpodautoscalers",
		"example.com.v1.widgets":          "example.com/v1, Resource=widgets",
		"networkpolicies":                 "networking.k8s.io/v1, Resource=networkpolicies",
		"widgets.example.com":             "example.com/v1, Resource=widgets",
		"events.v1.events.k8s.io":         "events.k8s.io/v1, Resource=events",
		"endpointslices.discovery.k8s.io": "discovery.k8s.io/v1, Resource=endpointslices",
	} {
		if got, err := api.Resource(name); err != nil || got.String() != want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	if _, err := api.Resource("pod.apps"); err == nil {
		t.Error("a pod in apps")
	}
	all := api.Resources()
	if !slices.Contains(all, widgets.GVR()) || all[0].Group != "" {
		t.Error(all)
	}
}
