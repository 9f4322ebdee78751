// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"log/slog"
	"testing"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/devcluster"
	"github.com/apiary-go/apiary/resource"
)

// The test of docs/testing.md on a real API server.
func TestOnARealServer(t *testing.T) {
	cluster, err := devcluster.Start(t.Context(), devcluster.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cluster.Stop(context.Background()) }()

	app := hive.New(
		cells.ClientFrom(cluster.Config()), // in place of cells.Client
		cells.Resource[*corev1.Namespace](),
		cell.Invoke(func(lc cell.Lifecycle, namespaces resource.Resource[*corev1.Namespace]) {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				read, err := namespaces.Store(ctx)
				if err == nil && len(read.List()) == 0 {
					t.Error("there is no namespace")
				}
				return err
			}})
		}),
	)
	log := slog.New(slog.DiscardHandler)
	if err := app.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := app.Stop(log, context.Background()); err != nil {
		t.Error(err)
	}
}
