// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
)

// An informer is synced when the last of what the first list showed is
// acknowledged, be it an object or that one is gone.
func TestMirrorSyncedLast(t *testing.T) {
	for _, last := range []string{"b", "gone"} {
		t.Run(last, func(t *testing.T) {
			w := newWorld(t, sharedCluster(t).Kubeconfig(), "a", "b", "c", "gone")
			db := newDatabase(w.clients, w.ns)
			db.seed(w.truth()[w.key("gone")])
			w.delete("gone")
			release := make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			defer free()
			db.before = func(ctx context.Context, c call) error {
				if c.meta.Key.Name == last {
					select {
					case <-release:
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				return nil
			}
			m := db.start(t, mirrorConfig{ListerWatcher: w.lw(nil), SkipSync: true})
			await(t, &m.seen, func(informer.ListDone) bool { return true })
			until(t, "all others are acknowledged", func() bool { return m.Stats().Pending == 1 }, func() any { return m.Stats() })
			if m.HasSynced() || m.ResumeVersion() != "" {
				t.Errorf("%s is not acknowledged, but %+v", last, m.Stats())
			}
			if held := m.Stats().HeldBack; held == nil || held.Key.Name != last {
				t.Errorf("held back by %+v, want %s", held, last)
			}
			free()
			m.waitSynced(t)
			db.expect(t, m, 0, w.truth(), "add a", "add b", "add c", "delete gone")
			w.create("d")
			db.settle(t, m, w.truth())
			for _, c := range db.calls(0) {
				if c.initial == (c.meta.Key.Name == "d") {
					t.Errorf("%s %v: initial is %t", c.kind, c.meta, c.initial)
				}
			}
		})
	}
}

// An informer that is stopped in mid-list, between pages or because the handler
// holds up the list, is not synced, has no version to resume from, and has deleted
// nothing. The next one does it all.
func TestMirrorStoppedInList(t *testing.T) {
	for _, handler := range []string{"quick", "stuck"} {
		t.Run(handler, func(t *testing.T) {
			w := newWorld(t, sharedCluster(t).Kubeconfig(), "a", "b", "c", "d", "e", "f", "g", "gone")
			db := newDatabase(w.clients, w.ns)
			db.seed(w.truth()[w.key("gone")])
			w.delete("gone")
			reached, goOn := make(chan struct{}), make(chan struct{})
			reach, proceed := sync.OnceFunc(func() { close(reached) }), sync.OnceFunc(func() { close(goOn) })
			defer proceed()
			cfg := mirrorConfig{Settings: informer.Settings{PageSize: 3}, SkipSync: true, ListerWatcher: w.lw(func(_ string, opts metav1.ListOptions) {
				if opts.Continue != "" {
					reach()
					<-goOn
				}
			})}
			before := []string{"add a", "add b", "add c"}
			if handler == "stuck" {
				before = []string{"add a"}
				cfg.MaxPending, cfg.Workers = 1, 1
				db.before = func(ctx context.Context, c call) error {
					if c.meta.Key.Name != "b" {
						return nil
					}
					reach()
					<-ctx.Done()
					return context.Cause(ctx)
				}
			}
			m := db.start(t, cfg)
			select {
			case <-reached:
			case <-time.After(patience):
				t.Fatalf("it does not come so far: %+v", m.Stats())
			}
			until(t, "all else is acknowledged", func() bool { return m.Stats().Recorded == 1+len(before) }, func() any { return m.Stats() })
			m.cancel()
			proceed()
			m.stop()
			if m.HasSynced() || m.ResumeVersion() != "" || db.saved() != "" {
				t.Errorf("stopped in mid-list, but %+v, and saved %q", m.Stats(), db.saved())
			}
			if got := names(db.calls(0)); !slices.Equal(got, before) {
				t.Errorf("the handler was told %q, want %q", got, before)
			}
			if done := each[informer.ListDone](&m.seen); len(done) > 0 {
				t.Errorf("passes: %+v", done)
			}
			if errs := m.errors(); len(errs) > 0 {
				t.Errorf("a stop is taken for a failure: %v", errs)
			}

			db.before = nil
			m = db.start(t, mirrorConfig{ListerWatcher: w.lw(nil), Settings: informer.Settings{PageSize: 3}, SkipSync: true})
			db.expect(t, m, 0, w.truth(), "add a", "add b", "add c", "add d", "add e", "add f", "add g", "delete gone")
		})
	}
}
