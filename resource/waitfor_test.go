// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/apiary-go/apiary/store"
)

// WaitFor ends when the store has the version, when ctx ends, and when the resource
// stops.
func TestWaitFor(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(r *rig, cancel context.CancelFunc)
		want error
	}{
		"there":   {func(r *rig, _ context.CancelFunc) { r.upsert("b") }, nil},
		"ctx":     {func(_ *rig, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"stopped": {func(r *rig, _ context.CancelFunc) { r.stop() }, ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := startRig(t)
				r.view.want()
				r.sync("a") // the store is at version 2
				s, err := r.view.Store(t.Context())
				r.must(err)
				r.must(s.WaitFor(t.Context(), "2"))
				if err := s.WaitFor(t.Context(), ""); !errors.Is(err, store.ErrNoOrder) {
					t.Errorf("no version: %v", err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- s.WaitFor(ctx, "3") }()
				synctest.Wait()
				if len(done) > 0 {
					t.Fatalf("it returned %v", <-done)
				}
				test.end(r, cancel)
				if err := <-done; !errors.Is(err, test.want) {
					t.Errorf("it returned %v, want %v", err, test.want)
				}
			})
		})
	}
}
