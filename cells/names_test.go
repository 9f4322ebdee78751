// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
)

// A resource has one name, whether the client is enabled or disabled, and in a unit test.
func TestResourceName(t *testing.T) {
	noCluster(t)
	expectName[*corev1.Service](t, "Service.v1")
	expectName[*appsv1.Deployment](t, "Deployment.v1.apps")
	expectName[*corev1.Service](t, "web", resource.WithName("web"))
}

func expectName[T runtime.Object](t *testing.T, want string, opts ...resource.Option) {
	t.Helper()
	expect(t, []string{nameOf(resourcetest.New[T](t, opts...).Resource())}, want)
	for state, client := range map[string]cell.Cell{"enabled": FakeClient, "disabled": Client} {
		health := newHealthLog()
		var r resource.Resource[T]
		err := run(t, quiet(), nil, client, cell.Provide(func() cell.Health { return health }), Resource[T](With(opts...)),
			cell.Invoke(func(got resource.Resource[T]) { r = got }))
		if err != nil {
			t.Fatal(err)
		}
		if name := nameOf(r); name != want {
			t.Errorf("%s: got %q, want %q", state, name, want)
		}
		health.await(t, want+" Stopped")
		if _, err := r.Store(t.Context()); err == nil || !strings.Contains(err.Error(), "resource "+want+" ") && !strings.HasPrefix(err.Error(), want+" ") {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// Log lines of resources, mirrors and pushes have the name as the attribute resource, once
// and under no other name.
func TestLogAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(pod("a", "one")); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		h := hive.New(withFake(api), Resource[*corev1.Pod](With(resource.WithName("r"))),
			cell.Invoke(func(p Params, r resource.Resource[*corev1.Pod]) error {
				go func() { _, _ = r.Store(context.Background()) }()
				_, err1 := NewMirror("m", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
					AddFunc: func(context.Context, informer.Object[*corev1.Pod]) error { return errors.New("refused") },
				}})
				_, err2 := NewPush("p", p, push.BatcherConfig[*corev1.Pod]{
					Consumer: &inventory{calls: make(chan string, 100), refuse: true},
				}, InNamespace("a"))
				return errors.Join(err1, err2)
			}))
		if err := h.Start(log, t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := api.Add(pod("a", "two")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := h.Stop(log, context.Background()); err != nil {
			t.Error(err)
		}
		for message, want := range map[string][]string{
			`"List is complete"`:                    {`module=k8s-pod-v1 selects=Pod.v1 resource=r `, `selects=Pod.v1 resource=m `, `selects="Pod.v1 in namespace a" resource=p `},
			`"The consumer failed, will try again"`: {`selects=Pod.v1 resource=m key=a/one `, `selects="Pod.v1 in namespace a" resource=p `},
		} {
			for _, attrs := range want {
				if !strings.Contains(out.String(), "msg="+message+" "+attrs) {
					t.Errorf("no line %s %s", message, attrs)
				}
			}
		}
		if t.Failed() || strings.Contains(out.String(), " mirror=") || strings.Contains(out.String(), " push=") {
			t.Error(out.String())
		}
	})
}
