// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

const slowItems = 10 // of a batch

// A consumer at a tenth of the event rate, of a server that forgets versions within
// a fraction of a second: what is pending stays bounded, and once the writers are
// done the consumer comes to have what the server has. It takes as long as ten events
// for each change, and for the beginning and the end of a snapshot. The pages in between
// it takes at once: a list cannot last longer than the server keeps its version.
func TestBatchSlowConsumer(t *testing.T) {
	cluster := cacheless.get(t)
	w := newWorld(t, cluster.Kubeconfig())
	for i := range slowMaps {
		w.create(fmt.Sprintf("m%03d", i))
	}
	var (
		pace pace
		p    *pushed
		most atomic.Int64
		slow atomic.Bool
	)
	s := newService(w)
	s.before = func(ctx context.Context, st statement) error {
		if !slow.Load() || st.Call == "page" {
			return nil
		}
		for range max(1, len(st.Rows)) {
			most.Store(max(most.Load(), int64(p.Stats().Pending))) // one call at a time
			if err := pace.slow(ctx, call{}); err != nil {
				return err
			}
		}
		return nil
	}
	lw := w.lw(nil)
	p = runPush(t, push.BatcherConfig[metav1.Object]{
		ListerWatcher: lw, Settings: informer.Settings{PageSize: 100},
		Merger: push.MergerConfig[metav1.Object]{MaxItems: slowItems, MaxPending: slowPending},
	}, s.take)
	select {
	case <-p.Synced():
	case <-time.After(patience):
		t.Fatalf("not synced: %+v", p.Stats())
	}

	ctx, cancel := context.WithCancel(t.Context())
	var forgetting, writing sync.WaitGroup
	forgetting.Go(func() { forget(ctx, t, cluster) })
	defer forgetting.Wait()
	defer cancel()
	pace.begin()
	slow.Store(true)
	for i := range slowWriters {
		writing.Go(func() { pace.write(w, uint64(i)) })
	}
	writing.Wait()
	pace.end()
	behind, during, passesDuring := time.Now(), p.Stats(), len(each[informer.ListDone](&p.seen))
	s.settle(p, w.truth())
	settled := time.Since(behind)

	started, done, failed := each[informer.ListStarted](&p.seen), each[informer.ListDone](&p.seen), each[informer.ListFailed](&p.seen)
	pauses, stats := each[informer.Draining](&p.seen), p.Stats()
	t.Logf("%d events on %d objects in %v: one every %v; a change takes %v; compaction every %v",
		pace.events.Load(), slowMaps, pace.took(), pace.each(), 10*pace.each(), slowWindow)
	t.Logf("%d batches with %d changes while there were events, %d with %d in all, %d changes left to snapshots; settled %v after the last event; at most %d pending",
		during.Batches, during.Changes, stats.Batches, stats.Changes, stats.Fenced, settled, most.Load())
	t.Logf("%d passes begun, %d completed, %d of these while there were events, %d that expired, %d lists, %d watches, %d pauses",
		len(started), len(done), passesDuring, len(failed), len(lw.requests(t)), len(each[informer.WatchOpened](&p.seen)), len(pauses))
	if most.Load() > slowPending+slowItems {
		t.Errorf("%d changes were pending, the limit is %d, and %d of a batch", most.Load(), slowPending, slowItems)
	}
	if len(pauses) == 0 || len(each[informer.RelistNeeded](&p.seen)) == 0 {
		t.Errorf("%d pauses, of which the server has forgotten none: this is no slow consumer", len(pauses))
	}
	for _, o := range done[1:] {
		if o.Pass.Reason != store.ReasonExpired {
			t.Errorf("a pass because of %s, want that the server has forgotten: %v", o.Pass.Reason, o.Pass.Cause)
		}
	}
	if stats.Failures != 0 {
		t.Errorf("the consumer failed %d times", stats.Failures)
	}
}
