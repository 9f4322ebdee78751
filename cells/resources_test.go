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
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
	"github.com/apiary-go/apiary/store"
)

// summary is what the tests compare of all that a hive follows.
func summary(all []Followed) (lines []string) {
	for _, f := range all {
		line := fmt.Sprintf("%s %s (%s): %s, %s", f.Kind, f.Name, f.Scope, f.Level, f.Status)
		if f.Err != nil {
			line += ": " + f.Err.Error()
		}
		lines = append(lines, line)
	}
	return lines
}

// awaitAll waits until the hive follows this.
func awaitAll(t *testing.T, all *Resources, want ...string) {
	t.Helper()
	for range 1000 {
		if slices.Equal(summary(all.All()), want) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("followed:\n%s\nwant:\n%s", strings.Join(summary(all.All()), "\n"), strings.Join(want, "\n"))
}

// A hive shows all that it follows, with what health shows, until it stops.
func TestResources(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(pod("shop", "web")); err != nil {
		t.Fatal(err)
	}
	var all *Resources
	err := run(t, quiet(), nil, withFake(api), Status,
		Resource[*corev1.Pod](InNamespace("shop")), Resource[*appsv1.Deployment](), Resource[*corev1.Secret](),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Params      Params
			Resources   *Resources
			Pods        resource.Resource[*corev1.Pod]
			Deployments resource.Resource[*appsv1.Deployment]
			Secrets     resource.Resource[*corev1.Secret]
			Engine      *status.Engine
		}) error {
			all = in.Resources
			api.Intercept(func(_ context.Context, r fakeapi.Request) error {
				if r.Resource.Resource == "secrets" {
					return forbidden(r)
				}
				return nil
			})
			lc := &cell.DefaultLifecycle{}
			in.Params.Lifecycle = lc
			if _, err := NewMirror("mirror", in.Params, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{}}); err != nil {
				return err
			}
			if _, err := NewPush("push", in.Params, push.BatcherConfig[*corev1.Pod]{Consumer: &inventory{calls: make(chan string, 100)}}); err != nil {
				return err
			}
			if err := lc.Start(quiet(), ctx); err != nil {
				return err
			}
			w, err := in.Engine.Watch(ctx, status.ID{GroupKind: schema.GroupKind{Kind: "Pod"}, Namespace: "shop", Name: "web"})
			if err != nil {
				return err
			}
			defer w.Close()
			storeOf(t, ctx, in.Pods)
			in.Secrets.Events(ctx)
			awaitAll(t, all,
				`resource Pod.v1 (Pod.v1 in namespace shop): ok, synced, 1 object at the last list`,
				`resource Deployment.v1.apps (Deployment.v1.apps): unused, nobody has asked for it`,
				`resource Secret.v1 (Secret.v1): degraded, cannot list: forbidden: list Secret.v1: secrets is forbidden: not for you`,
				`mirror mirror (Pod.v1): ok, synced, 1 object at the last list`,
				`push push (Pod.v1): ok, synced, 1 object at the last list`,
				`status Pod shop/web (Pod shop/web): ok, synced, 1 object at the last list`)
			f, err := all.Get("Pod.v1")
			if err != nil {
				return err
			}
			if want := []ListCount{{Reason: store.ReasonFirst, Streamed: true, Result: "done", Count: 1}}; !slices.Equal(f.Lists, want) || f.Objects != 1 || !f.Synced {
				t.Errorf("got %+v", f)
			}
			if texts := fmt.Sprint(f.Recent); !strings.Contains(texts, "List is complete reason=first") || !strings.Contains(texts, "Watching version=") {
				t.Errorf("recent events: %v", f.Recent)
			}
			if _, err := all.Get("Pods"); err == nil || !strings.Contains(err.Error(), `"Pod.v1" "Deployment.v1.apps"`) {
				t.Errorf("the error of a wrong name is %v", err)
			}
			return lc.Stop(quiet(), ctx)
		}))
	if err != nil {
		t.Fatal(err)
	}
	if left := summary(all.All()); len(left) > 0 {
		t.Errorf("after the stop: %q", left)
	}
}

// With a disabled client everything is listed as stopped, with the reason.
func TestResourcesOfADisabledClient(t *testing.T) {
	noCluster(t)
	err := run(t, quiet(), nil, Client, Resource[*corev1.Pod](),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Pods      resource.Resource[*corev1.Pod]
			Resources *Resources
		}) error {
			for _, line := range summary(in.Resources.All()) {
				if !strings.HasPrefix(line, "resource Pod.v1 (Pod.v1): stopped, disabled: no Kubernetes API server is configured") {
					t.Error(line)
				}
			}
			if len(in.Resources.All()) != 1 {
				t.Error("nothing is listed")
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

// The recorder keeps the last events, and neither pages nor thinned failures. Watches that
// end normally do not evict a failure.
func TestRecorder(t *testing.T) {
	failure := informer.ConsumerFailed{Consumer: informer.Consumer{Subscriber: "programmer", Key: store.Key{Namespace: "ns", Name: "a"}},
		Change: "upsert", Action: informer.ActionRetry, Retries: 3, Next: time.Second, Err: errors.New("map full")}
	thinned := failure
	thinned.Quiet = true
	info := informer.ReflectorInfo{Name: "pods"}
	r := newRecorder()
	r.Observe(info, failure)
	for i := range 1000 {
		r.Observe(info, informer.WatchOpened{Version: fmt.Sprint(i)})
		r.Observe(info, informer.PageRead{})
		r.Observe(info, thinned)
	}
	events := r.recent()
	if len(events) != 1+mostQuiet || events[1].Text != fmt.Sprintf("Watching version=%d", 1000-mostQuiet) || events[mostQuiet].Text != "Watching version=999" {
		t.Errorf("%d events: %v", len(events), events)
	}
	if first := events[0]; first.Level != "WARN" || first.Time.IsZero() ||
		first.Text != `The consumer failed, will try again subscriber=programmer key=ns/a change=upsert retries=3 next=1s error=map full` {
		t.Errorf("the failure is %+v", first)
	}
	for i := range mostRecent {
		r.Observe(info, informer.LeftOutEnded{Key: store.Key{Name: fmt.Sprint(i)}})
	}
	if events := r.recent(); len(events) != mostRecent+mostQuiet || events[0].Text != "Watching version=980" || events[mostQuiet].Text != "Object is no longer left out key=0" {
		t.Errorf("%d events: %v", len(events), events)
	}
}
