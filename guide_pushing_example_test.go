// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"errors"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// catalogAPI stands for the client of a remote service.
type catalogAPI interface {
	Replace(ctx context.Context, pods map[store.Key]string) error
	Patch(ctx context.Context, set map[store.Key]string, remove []store.Key) error
}

var errUnknownCatalog = errors.New("the service has no catalog of this cluster")

type catalog struct {
	api      catalogAPI
	snapshot map[store.Key]string
}

func (c *catalog) BeginSnapshot(context.Context, push.SnapshotInfo) error {
	c.snapshot = map[store.Key]string{}
	return nil
}

func (c *catalog) SnapshotPage(_ context.Context, _ push.SnapshotInfo, page []informer.Object[*corev1.Pod]) error {
	for _, pod := range page {
		c.snapshot[pod.Key] = pod.Object.Status.PodIP
	}
	return nil
}

func (c *catalog) EndSnapshot(ctx context.Context, _ push.SnapshotInfo) error {
	return c.api.Replace(ctx, c.snapshot) // what is not in it is gone
}

func (c *catalog) AbortSnapshot(push.SnapshotInfo, error) { c.snapshot = nil }

func (c *catalog) OnBatch(ctx context.Context, batch push.Batch[*corev1.Pod]) error {
	set, remove := map[store.Key]string{}, []store.Key{}
	for _, change := range batch.Changes {
		if change.Kind == push.BatchDeleted {
			remove = append(remove, change.Key)
		} else {
			set[change.Key] = change.Object.Object.Status.PodIP
		}
	}
	err := c.api.Patch(ctx, set, remove)
	if errors.Is(err, errUnknownCatalog) {
		return store.ErrResync // a new snapshot
	}
	return err // the batch comes again, merged with newer changes
}

func newCatalog(api catalogAPI) *catalog { return &catalog{api: api} }

// The application of docs/pushing.md, without the cell of catalogAPI.
func Example_pushing() {
	_ = hive.New(
		cells.Client,
		cell.Provide(newCatalog),
		cells.Push[*corev1.Pod, *catalog](cells.WithLabelSelector("app=web")),
	)
}
