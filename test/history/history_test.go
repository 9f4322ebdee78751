// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

var (
	historyEvents = flag.Int("history.events", 10_000, "how many events TestHistory delivers at least")
	historyFaults = flag.Int("history.faults", 100, "how many faults TestHistory makes at least")
	historySeed   = flag.Uint64("history.seed", 0, "seed of the first round; 0 takes one from the clock")
	historyRounds = flag.Int("history.rounds", 0, "how many rounds TestHistory plays at most; 0 for no limit")
)

// converge is the time from the last fault to the moment at which everything equals the
// server, at most.
const converge = 25 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// TestHistory plays rounds. In each one a server that knows its history is followed by
// consumers of every sort, over proxies with faults. What they are handed is recorded,
// and compared with the history.
func TestHistory(t *testing.T) {
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	klog.SetSlogLogger(quiet)
	t.Cleanup(func() {
		utilruntime.ErrorHandlers = handlers
		klog.ClearLogger()
	})
	seed := *historySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano() / 1000)
	}
	sum := totals{faults: map[string]int{}}
	start := time.Now()
	for round := uint64(0); (sum.events < *historyEvents || sum.faulty < *historyFaults) && (*historyRounds == 0 || int(round) < *historyRounds); round++ {
		synctest.Test(t, func(t *testing.T) { play(t, seed+round, &sum) })
		if t.Failed() {
			t.Logf("to play it again: -history.seed=%d -history.rounds=1", seed+round)
			break
		}
		sum.rounds++
	}
	t.Logf("%d rounds in %v: %d changes, %d requests, %d events, %d snapshots compared, %d faults, converged within %v",
		sum.rounds, time.Since(start).Round(time.Second), sum.changes, sum.requests, sum.events, sum.snapshots, sum.faulty, sum.longest)
	for _, kind := range slices.Sorted(maps.Keys(sum.faults)) {
		t.Logf("%7d %s", sum.faults[kind], kind)
	}
}

// totals are the figures of all rounds.
type totals struct {
	rounds, changes, requests, events, snapshots, faulty int
	faults                                               map[string]int
	longest                                              time.Duration
}

// rig is one round.
type rig struct {
	t      *testing.T
	seed   uint64
	server *server
	ctx    context.Context
	wg     sync.WaitGroup

	parts     uint64
	records   []*record
	final     []func() string // what differs from the server
	stop      []func()
	snapshots atomic.Int64

	mu    sync.Mutex
	wrong []string
	trace map[string][]string
}

func play(t *testing.T, seed uint64, sum *totals) {
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(t.Context())
	g := &rig{t: t, seed: seed, server: newServer(rng), ctx: ctx, trace: map[string][]string{}}
	g.server.lying = rng.IntN(5) == 0
	keys := 2 + rng.IntN(10)
	g.server.h.populate(rng, keys)
	g.follow()
	g.keep()
	g.fill()
	g.mirror()
	g.push()
	for range 100 + rng.IntN(300) {
		g.step(rng, keys)
	}
	close(g.server.calm)
	took := g.settle()
	cancel()
	for _, stop := range g.stop {
		stop()
	}
	g.wg.Wait()
	g.server.wg.Wait()
	g.report(sum, took)
}

// step lets the server do something, and some time pass.
func (g *rig) step(rng *rand.Rand, keys int) {
	h := g.server.h
	for range 1 + rng.IntN(5) {
		h.mutate(rng, keys)
	}
	switch rng.IntN(100) {
	case 0:
		h.restart(rng)
		g.server.count("restart with versions of old")
	case 1, 2, 3:
		h.compact()
		g.server.count("compaction")
	case 4:
		time.Sleep(time.Duration(rng.IntN(900)) * time.Second)
	}
	time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
}

// settle waits until everything equals the server, and returns how long that took.
func (g *rig) settle() time.Duration {
	start := time.Now()
	for {
		var differs []string
		for _, f := range g.final {
			if diff := f(); diff != "" {
				differs = append(differs, diff)
			}
		}
		took := time.Since(start)
		if len(differs) == 0 {
			time.Sleep(time.Minute) // for the last answers
			return took
		}
		if took > converge {
			g.violated("after %v:\n\t%s", took, strings.Join(differs, "\n\t"))
			return took
		}
		time.Sleep(time.Second)
	}
}

// report checks the records, and adds the round to the totals.
func (g *rig) report(sum *totals, took time.Duration) {
	sum.changes += len(g.server.h.log)
	sum.requests += g.server.served
	sum.snapshots += int(g.snapshots.Load())
	sum.longest = max(sum.longest, took)
	for kind, n := range g.server.faults {
		sum.faults[kind] += n
		sum.faulty += n
	}
	for _, r := range g.records {
		sum.events += r.events
		g.wrong = append(g.wrong, r.check()...)
	}
	for _, w := range g.wrong[:min(len(g.wrong), 20)] {
		g.t.Error(w)
	}
	if len(g.wrong) > 0 {
		g.t.Logf("lying: %v", g.server.lying)
	}
	for _, r := range g.records {
		if strings.Contains(strings.Join(g.wrong, " "), r.name) {
			for _, e := range r.entries {
				g.trace[r.name] = append(g.trace[r.name], fmt.Sprint("ENTRY ", e))
			}
		}
	}
	for name, lines := range g.trace {
		part, _, _ := strings.Cut(name, " ")
		if strings.Contains(strings.Join(g.wrong, " "), part) {
			g.t.Logf("%s:\n\t%s", name, strings.Join(lines, "\n\t"))
		}
	}
}

func (g *rig) violated(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong = append(g.wrong, fmt.Sprintf(format, args...))
}

// rand returns the random numbers of a part.
func (g *rig) rand() *rand.Rand {
	g.parts++
	return rand.New(rand.NewPCG(g.seed, g.parts))
}

func (g *rig) title(of string) string { return fmt.Sprintf("%s %d", of, g.parts) }

func (g *rig) record(name string) *record {
	r := &record{name: name, h: g.server.h, start: g.server.h.length(), unordered: g.server.lying}
	g.records = append(g.records, r)
	return r
}

func (g *rig) run(f func(context.Context)) { g.wg.Go(func() { f(g.ctx) }) }

func (g *rig) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// observer records the actions of a reflector, to find the cause of a violation.
func (g *rig) observer(name string) informer.Observer {
	start := time.Now()
	return informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
		if missed, ok := o.(informer.Missed); ok && !g.server.lying {
			g.violated("%s: a false alarm: %+v", name, missed)
		}
		g.logf(name, "%v at %d %T %+v", time.Since(start), g.server.h.length(), o, o)
	})
}

func (g *rig) logf(name, format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trace[name] = append(g.trace[name], fmt.Sprintf(format, args...))
}

func (g *rig) settings() informer.Settings {
	rng := g.rand()
	s := informer.Settings{PageSize: int64(rng.IntN(8))}
	if rng.IntN(2) == 0 {
		s.Lists = informer.ListPaged
	}
	if rng.IntN(2) == 0 {
		s.ResyncInterval = time.Minute
	}
	return s
}

// listWatch is a client with a way of its own to the server.
func (g *rig) listWatch(name string) (cache.ListerWatcher, *proxy) {
	rng := g.rand()
	config := &rest.Config{Host: "http://history", QPS: -1}
	if rng.IntN(2) == 0 {
		config.ContentType = protoType
	}
	way := &proxy{server: g.server, rng: rng, often: 5 + rng.IntN(20)}
	way.note = func(fault string) { g.logf(name, "FAULT %s", fault) }
	client, err := kubernetes.NewForConfigAndClient(config, &http.Client{Transport: way})
	if err != nil {
		g.t.Fatal(err)
	}
	if rng.IntN(2) == 0 {
		return source.NewListWatchFromClient(client.CoreV1().RESTClient(), "configmaps", ""), way
	}
	of := client.CoreV1().ConfigMaps("")
	return &cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return of.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return of.Watch(ctx, o) },
	}, way
}

// differs compares objects with what the server has now.
func (g *rig) differs(objs []configMap, red bool) string {
	return g.differsAt(g.server.h.length(), objs, red)
}

// differsAt compares objects with what the server had after n changes.
func (g *rig) differsAt(n int, objs []configMap, red bool) string {
	metas := map[store.Key]store.Meta{}
	for _, obj := range objs {
		metas[store.KeyOf(obj)] = store.Meta{UID: obj.UID, Version: obj.ResourceVersion}
	}
	return g.server.h.differs(n, metas, red)
}

func (g *rig) differsFrom(metas map[store.Key]store.Meta) string {
	return g.server.h.differs(g.server.h.length(), metas, false)
}
