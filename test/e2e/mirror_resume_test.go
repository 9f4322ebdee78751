// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// changes changes some of someMaps, and returns the calls by which a handler is to be
// told of it.
func (w world) changes() (calls []string) {
	w.t.Helper()
	w.patch("changed")
	w.delete("deleted")
	w.create("created")
	w.delete("recreated")
	w.create("recreated")
	return []string{"update changed", "delete deleted", "add created", "delete recreated", "add recreated"}
}

// stopped returns a database that an informer has filled, and has left.
func (w world) stopped(t *testing.T) *database {
	t.Helper()
	db := newDatabase(w.clients, w.ns)
	m := db.start(t, mirrorConfig{ListerWatcher: w.lw(nil), SkipSync: true})
	db.settle(t, m, w.truth())
	m.stop()
	return db
}

var someMaps = []string{"changed", "deleted", "recreated", "a", "b", "c"}

// An informer that resumes asks for no list, and tells what has changed, no more.
func TestMirrorResumed(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig(), someMaps...)
	db := w.stopped(t)
	for _, calls := range [][]string{w.changes(), nil} {
		from, resumed := db.length(), db.saved()
		lw := w.lw(nil)
		m := db.start(t, mirrorConfig{ListerWatcher: lw, SkipSync: true})
		db.expect(t, m, from, w.truth(), calls...)
		m.stop()
		if lists := lw.requests(t); len(lists) > 0 {
			t.Errorf("lists: %+v", lists)
		}
		if opened := each[informer.WatchOpened](&m.seen); len(opened) != 1 || opened[0].Version != resumed {
			t.Errorf("watches: %+v, want one from %s", opened, resumed)
		}
		for _, c := range db.calls(from) {
			if c.initial {
				t.Errorf("%s %v is taken for initial", c.kind, c.meta)
			}
		}
	}
}

// If the server does not have the version any more there is one pass, from which
// the same follows.
func TestMirrorResumedTooLate(t *testing.T) {
	cluster := cacheless.get(t)
	w := newWorld(t, cluster.Kubeconfig(), someMaps...)
	db := w.stopped(t)
	calls := w.changes()
	for _, name := range w.expire(cluster) {
		calls = append(calls, "add "+name)
	}
	from, resumed := db.length(), db.saved()
	var m *mirrorRun
	begun := make(chan struct{})
	lw := w.lw(func(verb string, _ metav1.ListOptions) {
		<-begun
		if v := m.ResumeVersion(); verb == "list" && v != "" {
			t.Errorf("the resume version is %q although the server does not have it", v)
		}
	})
	m = db.start(t, mirrorConfig{ListerWatcher: lw, Settings: informer.Settings{PageSize: 3}, SkipSync: true})
	close(begun)
	db.expect(t, m, from, w.truth(), calls...)
	m.stop()

	if need := each[informer.RelistNeeded](&m.seen); len(need) != 1 || need[0].Reason != store.ReasonExpired {
		t.Errorf("reasons for a list: %+v, want that %s is gone", need, resumed)
	}
	if done := each[informer.ListDone](&m.seen); len(done) != 1 || done[0].Pass.Reason != store.ReasonExpired {
		t.Errorf("passes: %+v, want one", done)
	}
	if lists := lw.requests(t); len(lists) != 3 || lists[0].ResourceVersion != "" {
		t.Errorf("lists: %+v, want three pages of the newest state", lists)
	}
	if s := m.Stats(); s.Unchanged != 3 || s.Swept != 1 {
		t.Errorf("%d unchanged and %d swept, want 3 and 1", s.Unchanged, s.Swept)
	}
}
