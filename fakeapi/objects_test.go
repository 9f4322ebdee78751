// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/fakeapi"
)

func TestObjects(t *testing.T) {
	api := fakeapi.New()
	c := clientsOf(t, api)
	ctx := soon(t)
	pods := c.kubernetes.CoreV1().Pods("a")
	version := func(p *corev1.Pod) int {
		n, err := strconv.Atoi(p.ResourceVersion)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	one, err := pods.Create(ctx, pod("a", "one"), metav1.CreateOptions{})
	if err != nil || one.UID == "" || version(one) < 1 {
		t.Fatal(one, err)
	}
	if _, err := pods.Create(ctx, pod("a", "one"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Error(err)
	}
	if _, err := pods.Get(ctx, "two", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	changed := one.DeepCopy()
	changed.Labels = map[string]string{"x": "y"}
	two, err := pods.Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil || version(two) <= version(one) || two.UID != one.UID {
		t.Fatal(two, err)
	}
	if _, err := pods.Update(ctx, changed, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Error(err)
	}
	if same, err := pods.Update(ctx, two, metav1.UpdateOptions{}); err != nil || same.ResourceVersion != two.ResourceVersion {
		t.Error("a write without a change made a version", err)
	}
	running := two.DeepCopy()
	running.Labels = nil
	running.Status.Phase = corev1.PodRunning
	three, err := pods.UpdateStatus(ctx, running, metav1.UpdateOptions{})
	if err != nil || three.Status.Phase != corev1.PodRunning || three.Labels["x"] != "y" {
		t.Error(three, err)
	}
	for patchType, patch := range map[types.PatchType]string{
		types.JSONPatchType:           `[{"op":"add","path":"/metadata/labels/json","value":"1"}]`,
		types.MergePatchType:          `{"metadata":{"labels":{"merge":"1"}}}`,
		types.StrategicMergePatchType: `{"metadata":{"labels":{"strategic":"1"}}}`,
		types.ApplyPatchType:          `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"one","labels":{"apply":"1"}}}`,
	} {
		if _, err := pods.Patch(ctx, "one", patchType, []byte(patch), metav1.PatchOptions{FieldManager: "test"}); err != nil {
			t.Error(patchType, err)
		}
	}
	got, err := pods.Get(ctx, "one", metav1.GetOptions{})
	if err != nil || len(got.Labels) != 5 {
		t.Error(got.Labels, err)
	}

	// A finalizer holds the deletion back.
	got.Finalizers = []string{"example.com/hold"}
	if _, err = pods.Update(ctx, got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err = pods.Get(ctx, "one", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp == nil {
		t.Fatal(got, err)
	}
	got.Finalizers = nil
	if _, err = pods.Update(ctx, got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Get(ctx, "one", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	again, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "one-"}}, metav1.CreateOptions{})
	if err != nil || again.UID == one.UID || again.Name == "one-" {
		t.Error(again, err)
	}
	built := custom(fakeapi.Kind{Version: "v1", Kind: "Pod"}, "a", "built")
	delete(built.Object, "spec")
	if err := api.Add(built); err != nil {
		t.Fatal(err)
	}
	if list, err := pods.List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Error(list, err)
	}
	if err := api.Add(custom(widgets, "a", "w")); err == nil {
		t.Error("a kind that is not installed was accepted")
	}
}

func TestSelectorsAndPages(t *testing.T) {
	api := fakeapi.New()
	c := clientsOf(t, api)
	ctx := soon(t)
	for i := range 10 {
		p := pod([]string{"a", "b"}[i%2], fmt.Sprintf("p%d", i), "app", []string{"x", "y"}[i/5])
		p.Spec.NodeName = fmt.Sprint("n", i%2)
		if err := api.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	names := func(namespace string, opts metav1.ListOptions) (names []string) {
		for {
			list, err := c.kubernetes.CoreV1().Pods(namespace).List(ctx, opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range list.Items {
				names = append(names, p.Name)
			}
			if opts.Continue = list.Continue; opts.Continue == "" {
				return names
			}
			if err := api.Add(pod("a", "p00", "app", "x")); err != nil { // not in this list
				t.Fatal(err)
			}
		}
	}
	if got := names("a", metav1.ListOptions{LabelSelector: "app=y"}); !slices.Equal(got, []string{"p6", "p8"}) {
		t.Error(got)
	}
	if got := names("", metav1.ListOptions{FieldSelector: "spec.nodeName=n1,metadata.name!=p1"}); !slices.Equal(got, []string{"p3", "p5", "p7", "p9"}) {
		t.Error(got)
	}
	if got := names("", metav1.ListOptions{Limit: 3}); len(got) != 10 || slices.Contains(got, "p00") {
		t.Error(got)
	}

	// Leaving and entering a selection.
	list, err := c.kubernetes.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.kubernetes.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{LabelSelector: "app=x", ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for _, step := range []struct {
		app  string
		want watch.EventType
	}{{"y", watch.Deleted}, {"x", watch.Added}} {
		if err := api.Add(pod("a", "p0", "app", step.app)); err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != step.want || e.Object.(*corev1.Pod).Labels["app"] != "x" {
			t.Error(step, e)
		}
	}
}
