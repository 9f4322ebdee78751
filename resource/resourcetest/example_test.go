// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
	"github.com/apiary-go/apiary/store"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// inTest runs a test, in an example.
func inTest(test func(t testing.TB)) {
	t := &recorder{}
	test(t)
	t.end()
	for _, err := range t.errors {
		fmt.Println(err)
	}
}

// printNext is the consumer of the examples: it prints n events.
func printNext(events <-chan resource.Event[*corev1.Pod], n int) {
	for range n {
		e := <-events
		if e.Kind == resource.Sync {
			fmt.Println(e.Kind)
		} else {
			fmt.Println(e.Kind, e.Key)
		}
		e.Done(nil)
	}
}

func ExampleNew() {
	inTest(func(t testing.TB) {
		fake := resourcetest.New[*corev1.Pod](t)
		fake.Upsert(pod("a"))
		fake.Sync()

		events := fake.Resource().Events(context.Background())
		printNext(events, 2)

		fake.Delete(store.Key{Namespace: "ns", Name: "a"})
		printNext(events, 1)
	})
	// Output:
	// upsert ns/a
	// sync
	// delete ns/a
}

// A hive with a Fake in place of the real resource.
func ExampleNewOn() {
	inTest(func(t testing.TB) {
		var fake *resourcetest.Fake[*corev1.Pod]
		h := hive.New(
			cell.Provide(func(lc cell.Lifecycle) resource.Resource[*corev1.Pod] {
				fake = resourcetest.NewOn[*corev1.Pod](t, lc)
				fake.Upsert(pod("a"))
				fake.Sync()
				return fake.Resource()
			}),
			cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod]) { // the consumer
				lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
					store, err := pods.Store(ctx)
					if err == nil {
						fmt.Println("the consumer starts with", len(store.List()), "pod")
					}
					return err
				}})
			}),
		)
		if err := h.Start(discard(), context.Background()); err != nil {
			t.Errorf("start: %v", err)
		}
		if err := h.Stop(discard(), context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	// Output: the consumer starts with 1 pod
}

// The error that a consumer gets when the server forbids its requests.
func ExampleFake_Fail() {
	inTest(func(t testing.TB) {
		fake := resourcetest.New[*corev1.Pod](t, resource.WithName("pods"))
		fake.Fail(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no role allows it")))
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := fake.Resource().Store(ctx)
		var notSynced *resource.NotSyncedError
		fmt.Println(errors.As(err, &notSynced), notSynced.Cause)

		fake.Fail(nil)
		fake.Sync()
		_, err = fake.Resource().Store(context.Background())
		fmt.Println(err)
	})
	// Output:
	// true forbidden
	// <nil>
}

// A consumer gets the changes that it missed while it had no watch.
func ExampleFake_Expire() {
	inTest(func(t testing.TB) {
		fake := resourcetest.New[*corev1.Pod](t)
		fake.Upsert(pod("a"))
		fake.Sync()
		events := fake.Resource().Events(context.Background())
		printNext(events, 2)

		fake.Fail(errors.New("the server is away"))
		fake.Delete(store.Key{Namespace: "ns", Name: "a"})
		fake.Expire()
		fake.Fail(nil)
		printNext(events, 1)
	})
	// Output:
	// upsert ns/a
	// sync
	// delete ns/a
}
