// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/devcluster"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

const (
	slowMaps    = 300
	slowWriters = 32
	slowPending = 50
	slowWrites  = 5 * time.Second        // how long there are writes
	slowWindow  = 250 * time.Millisecond // for which the server keeps versions
)

// pace is the rate of the writers, which a consumer at a tenth of it goes by.
type pace struct {
	events atomic.Int64

	mu       sync.Mutex
	from, to time.Time // zero: not yet
}

func (p *pace) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from = time.Now()
}

func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = time.Now()
}

// took is how long there were writes up to now.
func (p *pace) took() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to.IsZero() {
		return time.Since(p.from)
	}
	return p.to.Sub(p.from)
}

// each is the time from one event to the next.
func (p *pace) each() time.Duration { return p.took() / time.Duration(max(1, p.events.Load())) }

// write writes to random config maps at full speed for a while: nine of ten writes
// change one, or make it if there is none, the others delete it.
func (p *pace) write(w world, seed uint64) {
	ctx, maps := w.t.Context(), w.kube.CoreV1().ConfigMaps(w.ns)
	rng := rand.New(rand.NewPCG(5, seed))
	for p.took() < slowWrites && ctx.Err() == nil {
		name := fmt.Sprintf("m%03d", rng.IntN(slowMaps))
		var err error
		if rng.IntN(10) == 0 {
			err = maps.Delete(ctx, name, metav1.DeleteOptions{})
		} else {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, rng.Int())
			if _, err = maps.Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{}); apierrors.IsNotFound(err) {
				_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			}
		}
		if err == nil {
			p.events.Add(1)
		}
	}
}

// slow takes as long as ten events.
func (p *pace) slow(ctx context.Context, _ call) error {
	timer := time.NewTimer(10 * p.each())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A consumer at a tenth of the event rate, of a server that forgets versions within
// a fraction of a second: what is pending stays bounded, and once the writers are
// done the database comes to have what the server has.
func TestMirrorSlowConsumer(t *testing.T) {
	cluster := cacheless.get(t)
	w := newWorld(t, cluster.Kubeconfig())
	for i := range slowMaps {
		w.create(fmt.Sprintf("m%03d", i))
	}
	db := newDatabase(w.clients, w.ns)
	for _, row := range w.truth() {
		db.seed(row)
	}
	var p pace
	db.before = p.slow
	lw := w.lw(nil)
	m := db.start(t, mirrorConfig{ListerWatcher: lw, Settings: informer.Settings{PageSize: 100}, SkipSync: true, Workers: 1, MaxPending: slowPending})
	m.waitSynced(t)

	ctx, cancel := context.WithCancel(t.Context())
	var forgetting, writing sync.WaitGroup
	forgetting.Go(func() { forget(ctx, t, cluster) })
	defer forgetting.Wait()
	defer cancel()
	p.begin()
	for i := range slowWriters {
		writing.Go(func() { p.write(w, uint64(i)) })
	}
	writing.Wait()
	p.end()
	db.dawdles = 3 * slowMaps * 10 * p.each() // the pass under way, one more, and to spare
	behind := time.Now()
	whileWriting, told := db.calls(0), map[store.Key]bool{}
	for _, c := range whileWriting {
		told[c.meta.Key] = true
	}
	db.settle(t, m, w.truth())
	settled := time.Since(behind)
	m.stop()

	passes, watches, pauses := each[informer.ListDone](&m.seen), each[informer.WatchOpened](&m.seen), each[informer.Draining](&m.seen)
	failed := each[informer.ListFailed](&m.seen)
	most := 0
	for _, c := range db.calls(0) {
		most = max(most, c.pending)
	}
	t.Logf("%d events on %d objects in %v: one every %v; a call takes %v; compaction every %v",
		p.events.Load(), slowMaps, p.took(), p.each(), 10*p.each(), slowWindow)
	t.Logf("%d calls for %d objects while there were events, %d in all; settled %v after the last event; at most %d pending",
		len(whileWriting), len(told), len(db.calls(0)), settled, most)
	t.Logf("%d passes, %d more that expired, %d lists, %d watches, %d pauses", len(passes), len(failed), len(lw.requests(t)), len(watches), len(pauses))
	if len(pauses) == 0 || len(each[informer.RelistNeeded](&m.seen)) == 0 {
		t.Errorf("%d pauses, of which the server has forgotten none: this is no slow consumer", len(pauses))
	}
}

// forget makes the server forget versions until ctx ends.
func forget(ctx context.Context, t *testing.T, cluster *devcluster.Cluster) {
	tick := time.NewTicker(slowWindow)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if _, err := cluster.Compact(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
}
