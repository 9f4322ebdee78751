// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// impatient has failures tried again at once.
func impatient() Option {
	return With(resource.WithSettings(resource.Settings{Backoff: informer.Backoff{
		Initial: time.Millisecond, Max: 5 * time.Millisecond, Denied: time.Millisecond, Jitter: -1,
	}}))
}

// withFake is a fake client on api.
func withFake(api *FakeAPI) cell.Cell { return FakeClientWith(func() *FakeAPI { return api }) }

// atStart runs fn in a start hook of what depends on D.
func atStart[D any](t *testing.T, fn func(ctx context.Context, d D) error) cell.Cell {
	return cell.Invoke(func(lc cell.Lifecycle, d D) {
		lc.Append(cell.Hook{OnStart: func(cell.HookContext) error { return fn(soon(t), d) }})
	})
}

func storeOf[T runtime.Object](t *testing.T, ctx context.Context, r resource.Resource[T]) resource.Store[T] {
	t.Helper()
	s, err := r.Store(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keys[T runtime.Object](s resource.Store[T]) (keys []string) {
	for k := range s.IterKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Nothing is requested before the first use; then discovery of one group, and the
// list, in protobuf, with the selectors.
func TestResourceLazy(t *testing.T) {
	api := NewFakeAPI()
	if err := api.Add(pod("a", "one", "app", "x"), pod("a", "two", "app", "y"), pod("b", "three", "app", "x")); err != nil {
		t.Fatal(err)
	}
	type pods = resource.Resource[*corev1.Pod]
	err := run(t, quiet(), nil, withFake(api),
		Resource[*corev1.Pod](InNamespace("a"), WithLabels("app=x"), WithFields("metadata.name!=zero"), WithLabels("!gone"), nil),
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
	api := NewFakeAPI(widgets, gadgets)
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
		ResourceAs(func(r resource.Resource[*corev1.Pod]) xPods { return r }, WithLabels("app=x")),
		ResourceAs(func(r resource.Resource[*corev1.Pod]) yPods { return r }, WithLabels("app=y")),
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
	api := NewFakeAPI()
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

// Slim is what a transform makes of a Deployment.
type Slim struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	Replicas int32
}

func (s *Slim) DeepCopyObject() runtime.Object { c := *s; return &c }

func TestResourceTransform(t *testing.T) {
	api := NewFakeAPI()
	three := int32(3)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "d"}}
	d.Spec.Replicas = &three
	if err := api.Add(d); err != nil {
		t.Fatal(err)
	}
	err := run(t, quiet(), nil, withFake(api),
		Resource[*Slim](From[*appsv1.Deployment](), With(resource.WithTransform(func(d *appsv1.Deployment) (*Slim, error) {
			return &Slim{ObjectMeta: metav1.ObjectMeta{
				Name: d.Name, Namespace: d.Namespace, UID: d.UID, ResourceVersion: d.ResourceVersion,
			}, Replicas: *d.Spec.Replicas}, nil
		}))),
		atStart(t, func(ctx context.Context, r resource.Resource[*Slim]) error {
			s, _, _ := storeOf(t, ctx, r).GetByKey(resource.Key{Namespace: "a", Name: "d"})
			if s == nil || s.Replicas != 3 {
				t.Error(s)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// Widget is a typed custom resource.
type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              struct {
		Size int `json:"size"`
	} `json:"spec"`
}

// WidgetList is a list of them.
type WidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Widget `json:"items"`
}

func (w *Widget) DeepCopyObject() runtime.Object { c := *w; return &c }

func (l *WidgetList) DeepCopyObject() runtime.Object { c := *l; return &c }

func widgetScheme(types ...runtime.Object) *runtime.Scheme {
	s := runtime.NewScheme()
	gv := schema.GroupVersion{Group: "example.com", Version: "v1"}
	s.AddKnownTypes(gv, types...)
	metav1.AddToGroupVersion(s, gv)
	return s
}

func TestResourceTypedCustom(t *testing.T) {
	api := NewFakeAPI(widgets)
	if err := api.Add(custom(widgets, "a", "w")); err != nil {
		t.Fatal(err)
	}
	err := run(t, quiet(), nil, withFake(api),
		Resource[*Widget](WithScheme(widgetScheme(&Widget{}, &WidgetList{}))),
		atStart(t, func(ctx context.Context, r resource.Resource[*Widget]) error {
			s := storeOf(t, ctx, r)
			w, _, _ := s.GetByKey(resource.Key{Namespace: "a", Name: "w"})
			if w == nil || w.Spec.Size != 1 {
				t.Error(w)
			}
			events := r.Events(ctx)
			if err := api.Add(custom(widgets, "a", "w2")); err != nil {
				return err
			}
			for e := range events {
				e.Done(nil)
				if e.Key.Name == "w2" {
					break
				}
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range api.Requests() {
		if r.Verb != "" && strings.Contains(r.Accept, "protobuf") {
			t.Error(r.Accept)
		}
	}
}

// A cluster scoped kind cannot be held by namespace.
func TestResourceNoNamespaces(t *testing.T) {
	err := run(t, quiet(), nil, withFake(NewFakeAPI()), Resource[*corev1.Node](InNamespace("a"), impatient()),
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

// differs says in what the pods of the server differ from those of the store.
func (f *FakeAPI) differs(s resource.Store[*corev1.Pod]) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	held := f.objects[schema.GroupVersionResource{Version: "v1", Resource: "pods"}]
	if _, done := held["a/last"]; !done || len(held) != len(s.List()) {
		return fmt.Sprintf("%d objects, the server has %d", len(s.List()), len(held))
	}
	for key, p := range s.All() {
		if is, ok := held[fakeKey(key.Namespace, key.Name)].(*corev1.Pod); !ok || is.ResourceVersion != p.ResourceVersion {
			return fmt.Sprintf("%s is at %s, the server has %v", key, p.ResourceVersion, is)
		}
	}
	return ""
}

// What changes while a resource starts, loses its watch, and finds its version
// expired, is there in the end.
func TestResourceNothingLost(t *testing.T) {
	for round := range 100 {
		api := NewFakeAPI()
		changed := make(chan error, 1)
		go func() {
			for i := range 20 {
				p := pod("a", fmt.Sprint("p", i%7), "round", fmt.Sprint(i))
				change := api.Add
				if i%5 == 4 {
					change = api.Remove
				}
				if err := change(p); err != nil {
					changed <- err
					return
				}
				switch {
				case i == 8:
					api.Disconnect()
				case i == 12 && round%2 == 0:
					api.Compact()
				}
			}
			changed <- api.Add(pod("a", "last"))
		}()
		err := run(t, quiet(), nil, withFake(api), Resource[*corev1.Pod](impatient()),
			atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
				// The changes of a pass come in the order of the list, so "last"
				// is not the last event; but after that the two agree.
				diff := "no event"
				for e := range r.Events(ctx) {
					e.Done(nil)
					s := storeOf(t, ctx, r)
					if diff = api.differs(s); diff == "" {
						break
					}
				}
				if diff != "" {
					t.Errorf("round %d: %s", round, diff)
				}
				return <-changed
			}))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A server that does not answer discovery does not hold up the stop.
func TestResourceStopDuringDiscovery(t *testing.T) {
	api := NewFakeAPI()
	asked := make(chan struct{}, 100)
	api.Intercept(func(ctx context.Context, _ FakeRequest) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	var stopping time.Time
	err := run(t, quiet(), nil, withFake(api),
		Resource[*corev1.Pod](), Resource[*corev1.Node](),
		cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod], nodes resource.Resource[*corev1.Node]) {
			lc.Append(cell.Hook{
				OnStart: func(cell.HookContext) error {
					pods.Events(soon(t))
					nodes.Events(soon(t))
					<-asked
					return nil
				},
				OnStop: func(cell.HookContext) error { stopping = time.Now(); return nil },
			})
		}))
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(stopping); d > 2*time.Second {
		t.Errorf("the stop took %s", d)
	}
}

func forbidden(r FakeRequest) error {
	return apierrors.NewForbidden(r.Resource.GroupResource(), "", errors.New("not for you"))
}
