// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// oneByOne is a mapLW whose watches have no event before the one before it is
// acknowledged, by the informer that comes by the channel, so none is merged
// into another.
type oneByOne struct {
	*mapLW
	started chan *mirrorRun
}

func (lw oneByOne) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	m := <-lw.started
	lw.started <- m
	w, err := lw.mapLW.WatchWithContext(ctx, opts)
	if err != nil {
		return nil, err
	}
	last := opts.ResourceVersion
	return watch.Filter(w, func(event watch.Event) (watch.Event, bool) {
		obj, ok := event.Object.(metav1.Object)
		if !ok || event.Type == watch.Bookmark {
			return event, true
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for s := m.Stats(); s.Reflector.Version != last || s.Pending > 0; s = m.Stats() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return event, true
			}
		}
		last = obj.GetResourceVersion()
		return event, true
	}), nil
}

// A key that fails holds the resume version back, and nothing else. Who resumes from
// there is told of it, and of no later change that the database has: of an object
// that came and went since, all the same.
func TestMirrorHeldBack(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig(), someMaps...)
	db := w.stopped(t)
	db.before = func(_ context.Context, c call) error {
		if c.meta.Key.Name == "b" {
			return errRefused
		}
		return nil
	}
	from, resumed := db.length(), db.saved()
	m := db.start(t, mirrorConfig{ListerWatcher: w.lw(nil), SkipSync: true})
	w.patch("b")
	until(t, "b is refused", func() bool { return m.Stats().Failing == 1 }, func() any { return m.Stats() })
	held := m.ResumeVersion()
	calls := w.changes()
	acked := slices.Concat(calls, []string{"update changed", "add fleeting", "delete fleeting"})
	until(t, "the first change is written", func() bool { return db.table()[w.key("changed")] == w.truth()[w.key("changed")] }, func() any { return m.Stats() })
	w.patch("changed")
	fleeting := w.create("fleeting")
	until(t, "it is written", func() bool { return db.table()[fleeting.Key] == fleeting }, func() any { return m.Stats() })
	w.delete("fleeting")
	slices.Sort(acked)
	until(t, "all but b is acknowledged", func() bool { return m.Stats().Pending == 1 && slices.Equal(names(db.calls(from)), acked) },
		func() any { return names(db.calls(from)) })
	s := m.Stats()
	if s.HeldBack == nil || s.HeldBack.Key != w.key("b") || s.HeldBack.Failures == 0 || s.HeldBack.Err != errRefused {
		t.Errorf("held back by %+v, want b", s.HeldBack)
	}
	if order, ok := store.CompareVersions(held, resumed); !ok || order < 0 || s.ResumeVersion != held || db.saved() != held {
		t.Errorf("the resume version was %s, then %s, is %s, and %s is saved", resumed, held, s.ResumeVersion, db.saved())
	}
	var refused *informer.HandlerError
	if errs := m.errors(); len(errs) == 0 || !errors.As(errs[0], &refused) || refused.Call != "OnUpdate" || refused.Meta.Key != w.key("b") {
		t.Errorf("the error handler was told %v", errs)
	}
	m.stop()

	db.before, from = nil, db.length()
	lw := oneByOne{mapLW: w.lw(nil), started: make(chan *mirrorRun, 1)}
	m = db.start(t, mirrorConfig{ListerWatcher: lw, SkipSync: true})
	lw.started <- m
	w.create("last") // when that is written, all before it is
	db.expect(t, m, from, w.truth(), "update b", "add fleeting", "delete fleeting", "add last")
	m.stop()
	if lists := lw.requests(t); len(lists) > 0 {
		t.Errorf("lists: %+v", lists)
	}
}
