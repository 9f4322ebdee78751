// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/devcluster"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// expire makes every version expire that there has been, on a server without a
// watch cache. It returns the config maps that it takes.
func (w world) expire(cluster *devcluster.Cluster) []string {
	w.t.Helper()
	made := []string{fmt.Sprintf("x%d", time.Now().UnixNano()), fmt.Sprintf("y%d", time.Now().UnixNano())}
	for _, name := range made {
		w.create(name)
	}
	_, err := cluster.Compact(w.t.Context())
	must(w.t, err)
	return made
}

// The continue token of a list expires, between the first page and the second and
// then between the second and the third. Nothing is concluded from what such a list
// lacks, the next one has it all, and what the database has costs no call.
func TestMirrorExpiredInList(t *testing.T) {
	cluster := cacheless.get(t)
	w := newWorld(t, cluster.Kubeconfig())
	db := newDatabase(w.clients, w.ns)
	for i := range 7 {
		db.seed(w.create(fmt.Sprintf("m%d", i)))
	}
	// m1 is changed, m3 made anew, m5 deleted; p7 and p8, on the last page, are new.
	w.patch("m1")
	w.delete("m3")
	w.create("m3")
	w.delete("m5")
	w.create("p7")
	w.create("p8")
	want := []string{"update m1", "delete m3", "add m3", "delete m5", "add p7", "add p8"}

	// The test goroutine makes the versions expire, while the list waits.
	reached, expired := make(chan struct{}), make(chan struct{})
	lists, page, times := 0, 0, 0
	lw := w.lw(func(verb string, opts metav1.ListOptions) {
		if verb != "list" {
			return
		}
		if page++; opts.Continue == "" {
			lists, page = lists+1, 1
		}
		if lists <= 2 && page == lists+1 {
			reached <- struct{}{}
			<-expired
		}
	})
	m := db.start(t, mirrorConfig{ListerWatcher: lw, Settings: informer.Settings{PageSize: 3}, SkipSync: true})
	for times < 2 {
		select {
		case <-reached:
		case <-time.After(patience):
			t.Fatalf("no further page is asked for: %+v", m.Stats())
		}
		for _, name := range w.expire(cluster) {
			want = append(want, "add "+name)
		}
		for _, c := range db.calls(0) {
			if c.kind == "delete" && c.meta.Key.Name == "m5" {
				t.Error("m5 is deleted before a list was complete")
			}
		}
		times++
		expired <- struct{}{}
	}
	m.waitSynced(t)
	db.expect(t, m, 0, w.truth(), want...)
	m.stop()

	for _, c := range db.calls(0) {
		if !c.initial {
			t.Errorf("%s %v is not taken for initial", c.kind, c.meta)
		}
	}
	failed, done := each[informer.ListFailed](&m.seen), each[informer.ListDone](&m.seen)
	if len(failed) != 2 || failed[0].Cause != informer.CauseExpired || failed[1].Cause != informer.CauseExpired {
		t.Errorf("passes that failed: %+v, want two that expired", failed)
	}
	if len(done) != 1 || done[0].Pass.Reason != store.ReasonFirst {
		t.Errorf("passes: %+v, want one", done)
	}
	t.Logf("%d list requests for %d passes, %d calls for %d objects", len(lw.requests(t)), len(done)+len(failed), len(want), len(db.table()))
}
