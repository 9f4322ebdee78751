// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apiary-go/apiary/informer"
)

// The server is killed three times while others write, the database fails and
// dawdles at random, and the informer is started anew from what the database has:
// while the server runs, while it is down, and, after some writes without it, when it
// is back. Nothing is lost, nothing invented, and there is a pass only where the
// server has forgotten the version.
func TestMirrorServerKilled(t *testing.T) {
	cluster := ownCluster(t)
	w := newWorld(t, cluster.Kubeconfig())
	db := newDatabase(w.clients, w.ns)
	db.rng = rand.New(rand.NewPCG(3, 4))

	ctx, cancel := context.WithCancel(t.Context())
	var writes atomic.Int64
	var churned sync.WaitGroup
	churned.Go(func() { churn(ctx, w.clients, w.ns, &writes) })
	defer churned.Wait()
	defer cancel()

	var mirrors []*mirrorRun
	start := func() *mirrorRun {
		mirrors = append(mirrors, db.start(t, mirrorConfig{ListerWatcher: w.lw(nil), Settings: informer.Settings{PageSize: 4}, MaxPending: 4, Workers: 2}))
		return mirrors[len(mirrors)-1]
	}
	m := start()
	m.waitSynced(t)
	waitForWrites(t, &writes, 50)
	m.stop()
	m = start()
	for kill := range 3 {
		waitForWrites(t, &writes, 50)
		if kill == 2 {
			m.stop()
			waitForWrites(t, &writes, 20)
		}
		must(t, cluster.Kill())
		if kill == 1 {
			m.stop()
			m = start()
		}
		must(t, cluster.Restart(t.Context()))
		if kill == 2 {
			m = start()
		}
	}
	waitForWrites(t, &writes, 50)
	cancel()
	churned.Wait()
	db.calm()
	db.settle(t, m, w.truth())
	m.stop()

	passes, watches, refused := 0, 0, uint64(0)
	for i, m := range mirrors {
		done := each[informer.ListDone](&m.seen)
		passes += len(done)
		watches += len(each[informer.WatchOpened](&m.seen))
		refused += m.Stats().Failures
		for _, o := range done {
			t.Logf("informer %d: a pass, %s: %d objects, %d decoded, in %v", i+1, o.Pass.Reason, o.Objects, o.Decoded, o.Took)
		}
	}
	t.Logf("%d writes to pods and config maps; %d calls acknowledged and %d not; %d informers, %d passes and %d watches for 3 kills",
		writes.Load(), len(db.calls(0)), refused, len(mirrors), passes, watches)
	if passes < 2 || passes > 1+2*3 {
		t.Errorf("%d passes for 3 kills", passes)
	}
}
