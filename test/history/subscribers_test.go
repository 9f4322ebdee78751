// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

type configMap = *corev1.ConfigMap

var errTried = errors.New("the handler failed")

// subscribers follow one resource.
type subscribers struct {
	*rig
	resource, filtered resource.Resource[configMap]
	wg                 sync.WaitGroup
}

// follow adds a resource with subscribers of every sort.
func (g *rig) follow() {
	lc := &cell.DefaultLifecycle{}
	name := g.title("resource")
	s := &subscribers{rig: g}
	listWatch, _ := g.listWatch(name)
	s.resource = resource.New[configMap](lc, listWatch, resource.WithName(name), resource.WithLogger(quiet), resource.WithSettings(g.settings()),
		resource.WithObserver(g.observer(name)),
		resource.WithIndexers(cache.Indexers{"color": func(obj any) ([]string, error) {
			return []string{obj.(configMap).Labels["color"]}, nil
		}}))
	s.filtered = resource.Filter(s.resource, isRed)
	for _, name := range []string{"plain", "slow", "failing", "red", "leaving", "batches"} {
		read := (*follower).events
		if name == "batches" {
			read = (*follower).batches
		}
		f := &follower{subscribers: s, record: g.record(g.title("resource " + name)), rng: g.rand(), of: s.resource}
		f.fails, f.slow, f.leaves = name == "failing" || name == "batches", name == "slow", name == "leaving"
		if name == "red" {
			f.of, f.red = s.filtered, true
		}
		s.wg.Go(func() {
			for g.ctx.Err() == nil {
				ctx, cancel := context.WithCancel(g.ctx)
				f.add(entry{kind: began})
				read(f, ctx)
				cancel()
			}
		})
	}
	if err := lc.Start(quiet, g.ctx); err != nil {
		g.t.Error(err)
	}
	g.stop = append(g.stop, func() {
		if err := lc.Stop(quiet, context.Background()); err != nil {
			g.t.Error(err)
		}
		s.wg.Wait()
	})
	g.final = append(g.final, s.compare)
}

// compare compares the stores with the server.
func (s *subscribers) compare() string {
	for red, r := range map[bool]resource.Resource[configMap]{false: s.resource, true: s.filtered} {
		ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
		defer cancel()
		st, err := r.Store(ctx)
		if err != nil {
			return err.Error()
		}
		if diff := s.differs(st.List(), red); diff != "" {
			return "store: " + diff
		}
		if !red {
			objs, err := st.ByIndex("color", "red")
			if err != nil {
				return err.Error()
			}
			if diff := s.differs(objs, true); diff != "" {
				return "index: " + diff
			}
		}
	}
	return ""
}

// follower is a subscriber.
type follower struct {
	*subscribers
	*record
	of                  resource.Resource[configMap]
	fails, slow, leaves bool

	randMu sync.Mutex
	rng    *rand.Rand
}

func (f *follower) chance(n int) bool {
	f.randMu.Lock()
	defer f.randMu.Unlock()
	return !f.server.isCalm() && f.rng.IntN(n) == 0
}

func (f *follower) subscribe(ctx context.Context) <-chan resource.Event[configMap] {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](10*time.Millisecond, time.Minute)
	return f.of.Events(ctx, resource.WithRateLimiter(limiter))
}

// note records an event, before its Done.
func (f *follower) note(e resource.Event[configMap]) {
	switch e.Kind {
	case resource.Upsert:
		f.object(upsert, e.Object)
	case resource.Delete:
		f.object(deleted, e.Object)
	case resource.Sync:
		f.add(entry{kind: synced})
	}
}

// answer records what becomes of an event.
func (f *follower) answer(e resource.Event[configMap], err error) {
	f.record.done(e.Key, err)
	e.Done(err)
}

func (f *follower) outcome() error {
	if f.fails && f.chance(5) {
		return errTried
	}
	return nil
}

// events reads events, and answers those of some keys later.
func (f *follower) events(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var later sync.WaitGroup
	defer later.Wait()
	for e := range f.subscribe(ctx) {
		f.note(e)
		switch {
		case f.slow && f.chance(10):
			time.Sleep(time.Duration(f.rng.IntN(3000)) * time.Millisecond)
		case f.chance(10):
			later.Go(func() {
				time.Sleep(time.Second)
				f.answer(e, f.outcome())
			})
			continue
		}
		f.answer(e, f.outcome())
		if f.leaves && f.chance(40) {
			return
		}
	}
}

func (f *follower) batches(ctx context.Context) {
	for batch := range resource.Batches(f.subscribe(ctx), resource.BatchConfig{MaxEvents: 10}) {
		for _, e := range batch.Events {
			f.note(e)
		}
		err := f.outcome()
		for _, e := range batch.Events {
			f.record.done(e.Key, err)
		}
		batch.Done(err)
	}
}
