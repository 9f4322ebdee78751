// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/status"
)

func updateAndWait(ctx context.Context, engine *status.Engine, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
	written, err := client.Update(ctx, obj, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	id := status.IDOf(written)
	versions := map[status.ID]string{id: written.GetResourceVersion()}

	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	_, err = engine.Wait(ctx, []status.ID{id}, status.AtLeast(versions, status.OrFailed(status.All(status.Current))))
	var failed *status.FailedError
	if errors.As(err, &failed) {
		return fmt.Errorf("give up: %w", err)
	}
	return err // names each object that is not Current, and why
}

// An application whose health is that of a Deployment.
func Example_status() {
	web := status.ID{Namespace: "shop", Name: "web", GroupKind: schema.GroupKind{Group: "apps", Kind: "Deployment"}}
	_ = hive.New(
		cells.Client,
		cells.Status,
		cell.SimpleHealthCell,
		cells.StatusHealth("shop", web),
	)
}

// A rule by a condition, the rules for well-known kinds, and Jobs that are awaited.
func Example_statusRules() {
	rules := &status.Rules{
		ByKind: map[schema.GroupKind]status.Rule{
			{Group: "example.com", Kind: "Widget"}: status.ByCondition("Available"),
		},
		WellKnown: true,
		Jobs:      status.JobCompleted,
	}
	_ = cells.StatusWith(status.Config{Rules: rules})
}
