// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// A program that prints the names of pods as they come and go.
func Example() {
	h := hive.New(
		cells.Client,
		cells.Resource[*corev1.Pod](cells.WithLabelSelector("app=web")),
		cell.Invoke(func(pods resource.Resource[*corev1.Pod]) {
			events := pods.Events(context.Background())
			go func() { // ends with the resource, which closes the channel
				for event := range events {
					fmt.Println(event.Kind, event.Key)
					event.Done(nil)
				}
			}()
		}),
	)
	cmd := &cobra.Command{Use: "pods", RunE: func(*cobra.Command, []string) error {
		return h.Run(slog.Default())
	}}
	h.RegisterFlags(cmd.Flags())
	cmd.AddCommand(h.Command()) // the inspection command
	if err := cmd.Execute(); err != nil {
		log.Fatal(err)
	}
}

// Without a server, in a test.
func ExampleFakeClient() {
	web := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0"}}
	h := hive.New(
		cells.FakeClient,
		cells.Resource[*corev1.Pod](),
		cell.Invoke(func(lc cell.Lifecycle, api *fakeapi.Server, pods resource.Resource[*corev1.Pod]) error {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				store, err := pods.Store(ctx)
				if err != nil {
					return err
				}
				for key := range store.All() {
					fmt.Println(key)
				}
				return nil
			}})
			return api.Add(web)
		}),
	)
	quiet := slog.New(slog.DiscardHandler)
	if err := h.Start(quiet, context.Background()); err != nil {
		fmt.Println(err)
	}
	if err := h.Stop(quiet, context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: shop/web-0
}

// LocalPods are the pods of one node, beside a resource of all pods.
type LocalPods resource.Resource[*corev1.Pod]

// Widgets are custom resources without a Go type.
type Widgets resource.Resource[*unstructured.Unstructured]

// Several resources of the same type in one hive.
func ExampleResourceAs() {
	_ = hive.New(
		cells.Client,
		cells.Resource[*corev1.Pod](),
		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) LocalPods { return r },
			cells.WithFieldSelector("spec.nodeName=node-1")),
		cells.ResourceAs(func(r resource.Resource[*unstructured.Unstructured]) Widgets { return r },
			cells.Unstructured("widgets.v1.example.com")),
		cell.Invoke(func(resource.Resource[*corev1.Pod], LocalPods, Widgets) {}),
	)
}

// The logger of the hive itself, and of everything in it.
func ExampleNewLogger() {
	logger, err := cells.NewLogger(cells.DefaultLoggerConfig)
	if err != nil {
		log.Fatal(err)
	}
	h := hive.New(
		cells.Logger, // flags --log-level, --log-format and --log-output
		cells.Metrics,
		cells.FakeClient,
	)
	if err := h.Start(logger, context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := h.Stop(logger, context.Background()); err != nil {
		log.Fatal(err)
	}
}

// A resource of pods with a few of their fields, of the same type.
func ExampleFields() {
	_ = hive.New(
		cells.Client,
		cells.Resource[*corev1.Pod](cells.Fields("metadata.labels", "spec.nodeName", "status.podIP", "status.phase")),
		cell.Invoke(func(resource.Resource[*corev1.Pod]) {}),
	)
}

// The status of objects, for whoever asks, and as the health of the program.
func ExampleStatus() {
	ids := []status.ID{{Namespace: "shop", Name: "web", GroupKind: schema.GroupKind{Group: "apps", Kind: "Deployment"}}}
	_ = hive.New(
		cells.Client,
		cells.Status,
		cell.SimpleHealthCell,
		cells.StatusHealth("shop", ids...),
		cell.Invoke(func(lc cell.Lifecycle, engine *status.Engine) {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				_, err := engine.Wait(ctx, ids, status.OrFailed(status.All(status.Current)))
				return err
			}})
		}),
	)
}
