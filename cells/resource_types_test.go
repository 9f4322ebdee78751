// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// Slim is what a transform makes of a Deployment.
type Slim struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	Replicas int32
}

func (s *Slim) DeepCopyObject() runtime.Object { c := *s; return &c }

func TestResourceTransform(t *testing.T) {
	api := fakeapi.New()
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
			s, _, _ := storeOf(t, ctx, r).GetByKey(store.Key{Namespace: "a", Name: "d"})
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
	api := fakeapi.New(widgets)
	if err := api.Add(custom(widgets, "a", "w")); err != nil {
		t.Fatal(err)
	}
	err := run(t, quiet(), nil, withFake(api),
		Resource[*Widget](WithScheme(widgetScheme(&Widget{}, &WidgetList{}))),
		atStart(t, func(ctx context.Context, r resource.Resource[*Widget]) error {
			s := storeOf(t, ctx, r)
			w, _, _ := s.GetByKey(store.Key{Namespace: "a", Name: "w"})
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

// Lists wait for the limit that all clients share, and watches, streamed or not, do not.
func TestResourceThrottles(t *testing.T) {
	api := fakeapi.New()
	clients := fakeClients(t, api)
	clients.State.config = rest.CopyConfig(clients.State.config)
	clients.State.config.RateLimiter = flowcontrol.NewFakeNeverRateLimiter()
	p, err := gather(nil).scope(reflect.TypeFor[*corev1.Pod]())
	if err != nil {
		t.Fatal(err)
	}
	l := &listWatch{scope: p, client: clients.State}
	if l.found, err = l.read(found{resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, namespaced: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Stream(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("a list does not wait")
	}
	body, err := l.Stream(t.Context(), metav1.ListOptions{Watch: true})
	if err != nil {
		t.Error("a streamed watch waits:", err)
	} else {
		_ = body.Close()
	}
	w, err := l.Watch(metav1.ListOptions{})
	if err != nil {
		t.Error("a watch waits:", err)
	} else {
		w.Stop()
	}
}
