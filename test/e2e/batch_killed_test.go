// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// The server is killed and restarted twice while others write, and the consumer is
// well. It comes to have what the server has, and there is a snapshot only where the
// server has forgotten the version.
func TestBatchServerKilled(t *testing.T) {
	const kills = 2
	cluster := ownCluster(t)
	w := newWorld(t, cluster.Kubeconfig())
	s := newService(w)
	p := runPush(t, push.BatcherConfig[metav1.Object]{
		ListerWatcher: w.lw(nil), Settings: informer.Settings{PageSize: 4},
		Merger: push.MergerConfig[metav1.Object]{MaxItems: 5, MaxPending: 20},
	}, s.take)

	ctx, cancel := context.WithCancel(t.Context())
	var (
		writes  atomic.Int64
		churned sync.WaitGroup
	)
	churned.Go(func() { churnMaps(ctx, w, 20, &writes) })
	defer churned.Wait()
	defer cancel()
	for range kills {
		waitForWrites(t, &writes, 100)
		must(t, cluster.Kill())
		must(t, cluster.Restart(t.Context()))
	}
	waitForWrites(t, &writes, 100)
	cancel()
	churned.Wait()
	s.settle(p, w.truth())

	started, done, failed := each[informer.ListStarted](&p.seen), each[informer.ListDone](&p.seen), each[informer.ListFailed](&p.seen)
	for _, o := range done {
		t.Logf("a pass, %s: %d objects in %v", o.Pass.Reason, o.Objects, o.Took)
	}
	stats := p.Stats()
	t.Logf("%d writes; %d passes begun, %d broken off, %d snapshots and %d watches for %d kills; %d batches with %d changes, %d failed",
		writes.Load(), len(started), len(failed), stats.Snapshots, len(each[informer.WatchOpened](&p.seen)), kills,
		stats.Batches, stats.Changes, stats.Failures)
	if stats.Snapshots != uint64(len(done)) || len(done) > 1+2*kills {
		t.Errorf("%d snapshots, %d passes for %d kills", stats.Snapshots, len(done), kills)
	}
	for _, o := range done[1:] {
		if o.Pass.Reason == store.ReasonAsked {
			t.Errorf("a snapshot that nobody had to ask for: %v", o.Pass.Cause)
		}
	}
	if stats.Failures != 0 || p.refused != 0 {
		t.Errorf("a consumer that is well has failed %d times, and in a snapshot %d times", stats.Failures, p.refused)
	}
}
