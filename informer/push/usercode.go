// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"context"
	"errors"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// safeConsumer is a consumer whose panics in a snapshot are errors, which the Reflector
// reports. Those of OnBatch are the merger's.
type safeConsumer[T any] struct {
	BatchConsumer[T]
	panics *usercode.Panics
}

// BeginSnapshot implements [BatchConsumer].
func (c safeConsumer[T]) BeginSnapshot(ctx context.Context, s SnapshotInfo) (err error) {
	defer usercode.Recover("BeginSnapshot", store.Key{}, &err)
	return c.BatchConsumer.BeginSnapshot(ctx, s)
}

// SnapshotPage implements [BatchConsumer].
func (c safeConsumer[T]) SnapshotPage(ctx context.Context, s SnapshotInfo, page []informer.Object[T]) (err error) {
	defer usercode.Recover("SnapshotPage", store.Key{}, &err)
	return c.BatchConsumer.SnapshotPage(ctx, s, page)
}

// SnapshotKeep implements [SnapshotKeeper], if the consumer does.
func (c safeConsumer[T]) SnapshotKeep(ctx context.Context, s SnapshotInfo, meta store.Meta) (err error) {
	keeper, ok := c.BatchConsumer.(SnapshotKeeper)
	if !ok {
		return errors.ErrUnsupported
	}
	defer usercode.Recover("SnapshotKeep", meta.Key, &err)
	return keeper.SnapshotKeep(ctx, s, meta)
}

// EndSnapshot implements [BatchConsumer].
func (c safeConsumer[T]) EndSnapshot(ctx context.Context, s SnapshotInfo) (err error) {
	defer usercode.Recover("EndSnapshot", store.Key{}, &err)
	return c.BatchConsumer.EndSnapshot(ctx, s)
}

// AbortSnapshot implements [BatchConsumer].
func (c safeConsumer[T]) AbortSnapshot(s SnapshotInfo, cause error) {
	_ = c.panics.Call("AbortSnapshot", "", store.Key{}, func() { c.BatchConsumer.AbortSnapshot(s, cause) })
}
