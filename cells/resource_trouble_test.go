// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// differs says in what the pods of the server differ from those of the store.
func differs(t *testing.T, api *fakeapi.Server, s resource.Store[*corev1.Pod]) string {
	list, err := fakeClients(t, api).Kubernetes.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	held := map[store.Key]string{}
	for i := range list.Items {
		held[store.KeyOf(&list.Items[i])] = list.Items[i].ResourceVersion
	}
	if _, done := held[store.Key{Namespace: "a", Name: "last"}]; !done || len(held) != len(s.List()) {
		return fmt.Sprintf("%d objects, the server has %d", len(s.List()), len(held))
	}
	for key, p := range s.All() {
		if held[key] != p.ResourceVersion {
			return fmt.Sprintf("%s is at %s, the server has %s", key, p.ResourceVersion, held[key])
		}
	}
	return ""
}

// What changes while a resource starts, loses its watch, and finds its version
// expired, is there in the end.
func TestResourceNothingLost(t *testing.T) {
	for round := range 100 {
		api := fakeapi.New()
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
					if diff = differs(t, api, s); diff == "" {
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
	api := fakeapi.New()
	asked := make(chan struct{}, 100)
	api.Intercept(func(ctx context.Context, _ fakeapi.Request) error {
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
