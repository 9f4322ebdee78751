// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/fakeapi"
)

// An object that is created between the list and the watch is not lost.
func TestListWatchGap(t *testing.T) {
	api := fakeapi.New(widgets)
	c := clientsOf(t, api)
	ctx := soon(t)
	pods := c.kubernetes.CoreV1().Pods("a")
	gvr := widgets.GVR()
	for i := range 300 {
		name := fmt.Sprintf("p%d", i)
		list, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Half of the rounds race the creation with the watch.
		created := make(chan error, 1)
		create := func() {
			_, err := pods.Create(ctx, pod("a", name), metav1.CreateOptions{})
			created <- err
		}
		if i%2 == 0 {
			create()
		} else {
			go create()
		}
		w, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != watch.Added || e.Object.(*corev1.Pod).Name != name {
			t.Fatalf("round %d: %v %v", i, e.Type, e.Object)
		}
		w.Stop()
		if err := <-created; err != nil {
			t.Fatal(err)
		}

		// The same by the dynamic client, seen by the metadata client.
		partial, err := c.metadata.Resource(gvr).Namespace("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.dynamic.Resource(gvr).Namespace("a").Create(ctx, custom(widgets, "a", name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w, err = c.metadata.Resource(gvr).Namespace("a").Watch(ctx, metav1.ListOptions{ResourceVersion: partial.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != watch.Added || e.Object.(*metav1.PartialObjectMetadata).Name != name {
			t.Fatalf("round %d: %v %v", i, e.Type, e.Object)
		}
		w.Stop()
	}
}

func TestStreamedList(t *testing.T) {
	api := fakeapi.New(gadgets)
	c := clientsOf(t, api)
	if err := api.Add(pod("a", "one"), custom(gadgets, "", "one")); err != nil {
		t.Fatal(err)
	}
	send := true
	opts := metav1.ListOptions{
		SendInitialEvents: &send, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}
	for name, open := range map[string]func() (watch.Interface, error){
		"typed":   func() (watch.Interface, error) { return c.kubernetes.CoreV1().Pods("").Watch(soon(t), opts) },
		"dynamic": func() (watch.Interface, error) { return c.dynamic.Resource(gadgets.GVR()).Watch(soon(t), opts) },
		"metadata": func() (watch.Interface, error) {
			return c.metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Watch(soon(t), opts)
		},
	} {
		w, err := open()
		if err != nil {
			t.Fatal(name, err)
		}
		if e := next(t, w); e.Type != watch.Added {
			t.Error(name, e)
		}
		e := next(t, w)
		if m, ok := e.Object.(metav1.Object); e.Type != watch.Bookmark || !ok || m.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" {
			t.Error(name, e)
		}
		w.Stop()
	}
}

func TestExpiryAndDisconnect(t *testing.T) {
	api := fakeapi.New()
	c := clientsOf(t, api)
	ctx := soon(t)
	pods := c.kubernetes.CoreV1().Pods("a")
	list, err := pods.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Add(pod("a", "one")); err != nil {
		t.Fatal(err)
	}
	api.Compact()
	w, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, w); e.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Error(e)
	}
	w.Stop()
	if _, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: "999"}); !apierrors.IsTimeout(err) {
		t.Error(err)
	}
	if w, err = pods.Watch(ctx, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, w); e.Type != watch.Added {
		t.Error(e)
	}
	api.Disconnect()
	if _, open := <-w.ResultChan(); open {
		t.Error("the watch goes on")
	}
	if err := api.Remove(pod("a", "one")); err != nil {
		t.Fatal(err)
	}
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Verb == "list" {
			return apierrors.NewForbidden(r.Resource.GroupResource(), "", nil)
		}
		return errors.New("broken") // client-go would try again after an EOF
	})
	if _, err := pods.List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Error(err)
	}
	if _, err := pods.Get(ctx, "one", metav1.GetOptions{}); err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		t.Error(err)
	}
}

// An idle watch gets bookmarks, so that its client does not end it.
func TestBookmarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		c := clientsOf(t, api)
		w, err := c.kubernetes.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{AllowWatchBookmarks: true})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		began := time.Now()
		if e := next(t, w); e.Type != watch.Bookmark || time.Since(began) > time.Minute {
			t.Errorf("after %v: %v", time.Since(began), e)
		}
	})
}
