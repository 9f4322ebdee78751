// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/fakeapi"
)

// tree adds a grandparent, its child and its grandchildren, one of which has another owner.
func tree(t *testing.T, api *fakeapi.Server) {
	t.Helper()
	uids := map[string]types.UID{}
	for _, o := range [][]string{{"grandparent"}, {"other"}, {"parent", "grandparent"}, {"child", "parent"}, {"shared", "parent", "other"}, {"alone"}} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: o[0]}}
		for _, owner := range o[1:] {
			cm.OwnerReferences = append(cm.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: owner, UID: uids[owner]})
		}
		if err := api.Add(cm); err != nil {
			t.Fatal(err)
		}
		obj, err := api.Get("configmaps", "a", o[0])
		if err != nil {
			t.Fatal(err)
		}
		uids[o[0]] = obj.(*corev1.ConfigMap).UID
	}
}

// left returns the names of the configmaps, "!" if they are being deleted, and the number
// of owners.
func left(t *testing.T, api *fakeapi.Server) string {
	t.Helper()
	list, err := api.List("configmaps", "a")
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, obj := range list {
		cm := obj.(*corev1.ConfigMap)
		if out += cm.Name; cm.DeletionTimestamp != nil {
			out += "!"
		}
		if n := len(cm.OwnerReferences); n > 0 {
			out += fmt.Sprint(n)
		}
		out += " "
	}
	return out
}

func TestCollectGarbage(t *testing.T) {
	for policy, want := range map[metav1.DeletionPropagation][2]string{
		"":                                 {"alone child1 other parent1 shared2 ", "alone other shared1 "},
		metav1.DeletePropagationBackground: {"alone child1 other parent1 shared2 ", "alone other shared1 "},
		metav1.DeletePropagationForeground: {"alone child1 grandparent! other parent1 shared2 ", "alone other shared1 "},
		metav1.DeletePropagationOrphan:     {"alone child1 grandparent! other parent1 shared2 ", "alone child1 other parent shared2 "},
	} {
		for i, collect := range []bool{false, true} {
			api := fakeapi.New()
			if collect {
				api.CollectGarbage()
			}
			tree(t, api)
			opts := metav1.DeleteOptions{}
			if policy != "" {
				opts.PropagationPolicy = &policy
			}
			if err := clientsOf(t, api).kubernetes.CoreV1().ConfigMaps("a").Delete(soon(t), "grandparent", opts); err != nil {
				t.Fatal(err)
			}
			if got := left(t, api); got != want[i] {
				t.Errorf("%s, collected %v: got %q, want %q", policy, collect, got, want[i])
			}
		}
	}

	// Without a client, and later.
	api := fakeapi.New()
	tree(t, api)
	if err := api.Delete("configmaps", "a", "grandparent"); err != nil {
		t.Fatal(err)
	}
	api.CollectGarbage()
	if got := left(t, api); got != "alone other shared1 " {
		t.Error(got)
	}
	if err := api.Remove(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "other"}}); err != nil {
		t.Fatal(err)
	}
	if got := left(t, api); got != "alone " {
		t.Error(got)
	}
}

// The collector waits for the finalizers of dependents.
func TestCollectGarbageWaits(t *testing.T) {
	api := fakeapi.New()
	api.CollectGarbage()
	tree(t, api)
	obj, err := api.Get("configmaps", "a", "child")
	if err != nil {
		t.Fatal(err)
	}
	child := obj.(*corev1.ConfigMap)
	child.Finalizers = []string{"example.com/hold"}
	if err := api.Update(child); err != nil {
		t.Fatal(err)
	}
	foreground := metav1.DeletePropagationForeground
	maps := clientsOf(t, api).kubernetes.CoreV1().ConfigMaps("a")
	if err := maps.Delete(soon(t), "parent", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	if got := left(t, api); got != "alone child!1 grandparent other parent!1 shared1 " {
		t.Error(got)
	}
	if _, err := maps.Patch(soon(t), "child", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := left(t, api); got != "alone grandparent other shared1 " {
		t.Error(got)
	}
}
