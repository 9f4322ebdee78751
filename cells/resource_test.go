// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// Nothing is requested before the first use; then discovery of one group, and the
// list, in protobuf, with the selectors.
func TestResourceLazy(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(pod("a", "one", "app", "x"), pod("a", "two", "app", "y"), pod("b", "three", "app", "x")); err != nil {
		t.Fatal(err)
	}
	type pods = resource.Resource[*corev1.Pod]
	err := run(t, quiet(), nil, withFake(api),
		Resource[*corev1.Pod](InNamespace("a"), WithLabelSelector("app=x"), WithFieldSelector("metadata.name!=zero"), WithLabelSelector("!gone"), nil),
		atStart(t, func(ctx context.Context, r pods) error {
			if n := len(api.Requests()); n != 0 {
				t.Errorf("%d requests before the first use", n)
			}
			expect(t, keys(storeOf(t, ctx, r)), "a/one")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	requests := api.Requests()
	if len(requests) < 2 || requests[0].Path != "/api/v1" || requests[1].Path != "/api/v1/namespaces/a/pods" {
		t.Fatalf("%+v", requests)
	}
	for _, r := range requests[1:] {
		if r.Options.LabelSelector != "app=x,!gone" || r.Options.FieldSelector != "metadata.name!=zero" {
			t.Errorf("%+v", r)
		}
		if !strings.HasPrefix(r.Accept, "application/vnd.kubernetes.protobuf") || !strings.Contains(r.Accept, "application/json") {
			t.Error(r.Accept)
		}
	}
}

type (
	xPods   resource.Resource[*corev1.Pod]
	yPods   resource.Resource[*corev1.Pod]
	Widgets resource.Resource[*unstructured.Unstructured]
	Gadgets resource.Resource[*unstructured.Unstructured]
)

// Two selections of one type, two unstructured kinds and the metadata of a third,
// in one hive; the groups are discovered once.
func TestResourceScopes(t *testing.T) {
	api := fakeapi.New(widgets, gadgets)
	err := api.Add(pod("a", "one", "app", "x"), pod("a", "two", "app", "y"), pod("b", "three", "app", "y"),
		custom(widgets, "a", "w"), custom(gadgets, "", "g"))
	if err != nil {
		t.Fatal(err)
	}
	type all struct {
		cell.In
		X        xPods
		Y        yPods
		Widgets  Widgets
		Gadgets  Gadgets
		Metadata resource.Resource[*metav1.PartialObjectMetadata]
	}
	err = run(t, quiet(), nil, withFake(api),
		ResourceAs(func(r resource.Resource[*corev1.Pod]) xPods { return r }, WithLabelSelector("app=x")),
		ResourceAs(func(r resource.Resource[*corev1.Pod]) yPods { return r }, WithLabelSelector("app=y")),
		ResourceAs(func(r resource.Resource[*unstructured.Unstructured]) Widgets { return r }, Unstructured("widgets.v1.example.com")),
		ResourceAs(func(r resource.Resource[*unstructured.Unstructured]) Gadgets { return r }, Unstructured("Gadget.example.com")),
		Resource[*metav1.PartialObjectMetadata](Metadata(corev1.SchemeGroupVersion.WithKind("Pod")), InNamespace("b")),
		atStart(t, func(ctx context.Context, r all) error {
			expect(t, keys(storeOf(t, ctx, r.X)), "a/one")
			expect(t, keys(storeOf(t, ctx, r.Y)), "a/two", "b/three")
			expect(t, keys(storeOf(t, ctx, r.Widgets)), "a/w")
			expect(t, keys(storeOf(t, ctx, r.Gadgets)), "g")
			expect(t, keys(storeOf(t, ctx, r.Metadata)), "b/three")
			if name := r.X.(resource.Inspector).Stats().Name; name != "cells.xPods" {
				t.Error(name)
			}
			events := r.Widgets.Events(ctx)
			for e := range events {
				e.Done(nil)
				if e.Kind == resource.Sync {
					break
				}
			}
			if err := api.Add(custom(widgets, "a", "w2")); err != nil {
				return err
			}
			e := <-events
			if e.Done(nil); e.Kind != resource.Upsert || e.Key.Name != "w2" || e.Object.GetKind() != "Widget" {
				t.Error(e)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	discovered := map[string]int{}
	for _, r := range api.Requests() {
		if r.Verb == "" {
			discovered[r.Path]++
		}
	}
	if len(discovered) != 3 || discovered["/api/v1"] != 1 || discovered["/apis/example.com/v1"] != 1 || discovered["/apis/example.com"] != 1 {
		t.Error(discovered)
	}
}

// A kind that is not there is reported as such, found when it is installed, lost
// when it is taken away, and found again under another name.
func TestResourceInstalledLater(t *testing.T) {
	api := fakeapi.New()
	occurred := make(chan informer.Cause, 1000)
	observer := informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
		switch o := o.(type) {
		case informer.ListFailed:
			occurred <- o.Cause
		case informer.BackingOff:
			occurred <- o.Cause
		case informer.ListDone, informer.WatchOpened:
			occurred <- informer.CauseNone
		}
	})
	await := func(want informer.Cause) {
		t.Helper()
		timeout := time.After(20 * time.Second)
		for {
			select {
			case got := <-occurred:
				if got == want {
					return
				}
			case <-timeout:
				t.Fatalf("never %q", want)
			}
		}
	}
	err := run(t, quiet(), nil, withFake(api),
		Resource[*unstructured.Unstructured](Unstructured("widgets.v1.example.com"), impatient(), With(resource.WithObserver(observer))),
		atStart(t, func(ctx context.Context, r resource.Resource[*unstructured.Unstructured]) error {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			_, err := r.Store(short)
			var notSynced *resource.NotSyncedError
			if !errors.As(err, &notSynced) || notSynced.Cause != informer.CauseNotInstalled || !meta.IsNoMatchError(notSynced.Err) {
				t.Error(err)
			}
			api.Install(widgets)
			if err := api.Add(custom(widgets, "a", "w")); err != nil {
				return err
			}
			expect(t, keys(storeOf(t, ctx, r)), "a/w")
			await(informer.CauseNone)

			api.Uninstall(widgets)
			api.Compact()
			await(informer.CauseNotInstalled)
			api.Install(widgets)
			await(informer.CauseNone)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// A hive without an API server.
func TestResourceDisabled(t *testing.T) {
	noCluster(t)
	err := run(t, quiet(), nil, Client, Resource[*corev1.Pod](),
		atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
			if _, err := r.Store(ctx); !errors.Is(err, ErrNotConfigured) || !strings.Contains(err.Error(), "--k8s-kubeconfig") {
				t.Error(err)
			}
			if e, open := <-r.Events(ctx); open {
				t.Error(e)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// A cluster scoped kind cannot be held by namespace.
func TestResourceNoNamespaces(t *testing.T) {
	err := run(t, quiet(), nil, withFake(fakeapi.New()), Resource[*corev1.Node](InNamespace("a"), impatient()),
		atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Node]) error {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			if _, err := r.Store(ctx); err == nil || !strings.Contains(err.Error(), "cells.InNamespace") {
				t.Error(err)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}
