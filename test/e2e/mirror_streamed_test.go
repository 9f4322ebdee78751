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
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
)

// heldBack is a mapLW that holds back the bookmark that ends the initial events.
type heldBack struct {
	*mapLW
	reached func()
	release chan struct{}
}

func (lw heldBack) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	w, err := lw.mapLW.WatchWithContext(ctx, opts)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(event watch.Event) (watch.Event, bool) {
		obj, ok := event.Object.(metav1.Object)
		if event.Type == watch.Bookmark && ok && obj.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
			lw.reached()
			select {
			case <-lw.release:
			case <-ctx.Done():
			}
		}
		return event, true
	}), nil
}

// With initial events by watch, objects are delivered as they come, and what is
// gone is deleted after their end. The state is that of a list.
func TestMirrorStreamed(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig(), someMaps...)
	db := newDatabase(w.clients, w.ns)
	for key, row := range w.truth() {
		if key.Name != "c" {
			db.seed(row)
		}
	}
	calls := append(w.changes(), "add c")
	reached := make(chan struct{})
	lw := heldBack{mapLW: w.lw(nil), reached: sync.OnceFunc(func() { close(reached) }), release: make(chan struct{})}
	m := db.start(t, mirrorConfig{ListerWatcher: lw, Settings: informer.Settings{Lists: informer.ListStreamed}, SkipSync: true})
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatalf("the initial events do not end: %+v", m.Stats())
	}
	until(t, "all that was shown is acknowledged", func() bool { return m.Stats().Pending == 0 && len(db.calls(0)) == len(calls)-1 },
		func() any { return names(db.calls(0)) })
	if got := names(db.calls(0)); slices.Contains(got, "delete deleted") {
		t.Errorf("before the end of the initial events the handler was told %q", got)
	}
	if m.HasSynced() || m.ResumeVersion() != "" {
		t.Errorf("before the end of the initial events: %+v", m.Stats())
	}
	close(lw.release)
	db.expect(t, m, 0, w.truth(), calls...)
	for _, c := range db.calls(0) {
		if !c.initial {
			t.Errorf("%s %v is not taken for initial", c.kind, c.meta)
		}
	}

	// The same stream goes on as the watch.
	from := db.length()
	w.patch("a")
	w.delete("b")
	db.expect(t, m, from, w.truth(), "update a", "delete b")
	m.stop()
	if done := each[informer.ListDone](&m.seen); len(done) != 1 || !done[0].Streamed || len(lw.requests(t)) > 0 {
		t.Errorf("passes: %+v, lists: %+v, want one pass, streamed", done, lw.requests(t))
	}
	if watches := each[informer.WatchOpened](&m.seen); len(watches) != 1 {
		t.Errorf("watches: %+v, want one", watches)
	}
}
