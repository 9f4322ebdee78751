// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"sync"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// lastVersions is a handler that keeps the last version that it got, and
// calls something before each call.
type lastVersions struct {
	before func(ctx context.Context) error

	mu      sync.Mutex
	version map[string]string
	calls   int
	highest int // changes that were pending at a time
	stats   func() mirror.InformerStats
}

func (h *lastVersions) call(ctx context.Context, meta store.Meta, gone bool) error {
	if h.stats != nil {
		pending := h.stats().Pending
		h.mu.Lock()
		h.highest = max(h.highest, pending)
		h.mu.Unlock()
	}
	if err := h.before(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if gone {
		delete(h.version, meta.Key.Name)
	} else {
		h.version[meta.Key.Name] = meta.Version
	}
	return nil
}

func (h *lastVersions) OnAdd(ctx context.Context, obj informer.Object[informertest.Object]) error {
	return h.call(ctx, obj.Meta, false)
}
func (h *lastVersions) OnUpdate(ctx context.Context, _ store.Meta, obj informer.Object[informertest.Object]) error {
	return h.call(ctx, obj.Meta, false)
}
func (h *lastVersions) OnDelete(ctx context.Context, gone mirror.Deletion[informertest.Object]) error {
	return h.call(ctx, gone.Meta, true)
}
func (h *lastVersions) OnSync(ctx context.Context, obj informer.Object[informertest.Object]) error {
	return h.call(ctx, obj.Meta, false)
}
