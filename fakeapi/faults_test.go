// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/fakeapi"
)

// The function of Intercept sees what is written, and can answer in place of the server.
func TestInterceptAnswers(t *testing.T) {
	api := fakeapi.New()
	c := clientsOf(t, api)
	ctx := soon(t)
	pods := c.kubernetes.CoreV1().Pods("a")
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if created, ok := r.Object.(*corev1.Pod); ok && r.Verb == "create" {
			answer := created.DeepCopy()
			answer.Labels = map[string]string{"from": "intercept"}
			r.Answer(answer)
		}
		return nil
	})
	got, err := pods.Create(ctx, pod("a", "one"), metav1.CreateOptions{})
	if err != nil || got.Name != "one" || got.Labels["from"] != "intercept" {
		t.Error(got, err)
	}
	if n := len(api.Summary()); n > 0 {
		t.Errorf("%d resources have objects", n)
	}
	if _, err := pods.Patch(ctx, "one", types.MergePatchType, []byte(`{"x":1}`), metav1.PatchOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	requests := api.Requests()
	if len(requests) != 2 || requests[0].Object.(*corev1.Pod).Name != "one" || string(requests[1].Patch) != `{"x":1}` {
		t.Errorf("%+v", requests)
	}
}

// The function of Intercept can delay a request until its client gives up.
func TestInterceptDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		c := clientsOf(t, api)
		api.Intercept(func(ctx context.Context, _ fakeapi.Request) error {
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.kubernetes.CoreV1().Pods("a").List(ctx, metav1.ListOptions{}); err == nil || ctx.Err() == nil {
			t.Error(err)
		}
	})
}

func TestForbid(t *testing.T) {
	api := fakeapi.New(widgets)
	c := clientsOf(t, api)
	ctx := soon(t)
	forbidden := func() string {
		var out strings.Builder
		try := func(name string, err error) {
			if apierrors.IsForbidden(err) {
				out.WriteString(name + " ")
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := c.kubernetes.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
		try("list-pods", err)
		w, err := c.kubernetes.CoreV1().Pods("a").Watch(ctx, metav1.ListOptions{})
		try("watch-pods", err)
		if err == nil {
			w.Stop()
		}
		_, err = c.dynamic.Resource(widgets.GVR()).List(ctx, metav1.ListOptions{})
		try("list-widgets", err)
		return out.String()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return api.Forbid("list", "pods") }, "list-pods "},
		{func() error { return api.Forbid("*", "pods") }, "list-pods watch-pods "},
		{func() error { return api.Allow("list", "pods") }, "list-pods watch-pods "},
		{func() error { return api.Allow("*", "pods") }, ""},
		{func() error { return api.Forbid("list", "*") }, "list-pods list-widgets "},
		{func() error { return api.Forbid("watch", "Pod") }, "list-pods watch-pods list-widgets "},
		{func() error { return api.Allow("*", "*") }, ""},
	} {
		must(step.do())
		if got := forbidden(); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	if api.Forbid("list", "unknown") == nil || api.Allow("list", "unknown") == nil {
		t.Error("an unknown resource was accepted")
	}
	must(api.Forbid("list", "pods"))
	_, err := c.kubernetes.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
	if want := `pods is forbidden: User "fake" cannot list resource "pods" in API group "" in the namespace "a"`; err == nil || err.Error() != want {
		t.Error(err)
	}
}

// After Expire, no client can resume, even from the newest version.
func TestExpire(t *testing.T) {
	api := fakeapi.New()
	c := clientsOf(t, api)
	ctx := soon(t)
	pods := c.kubernetes.CoreV1().Pods("a")
	if err := api.Add(pod("a", "one"), pod("a", "two")); err != nil {
		t.Fatal(err)
	}
	list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	opts := metav1.ListOptions{ResourceVersion: list.ResourceVersion}
	open, err := pods.Watch(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	api.Expire()
	if e, ok := <-open.ResultChan(); ok {
		t.Error(e)
	}
	w, err := pods.Watch(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if e := next(t, w); e.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Error(e)
	}
	if _, err := pods.List(ctx, metav1.ListOptions{Limit: 1, Continue: list.Continue}); !apierrors.IsResourceExpired(err) {
		t.Error(err)
	}
	if list, err = pods.List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Error(list, err)
	}
}
