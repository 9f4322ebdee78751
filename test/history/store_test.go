// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"context"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// reflect runs a reflector for a sink.
func (g *rig) reflect(name string, sink store.Sink[configMap], observer informer.Observer) {
	settings := g.settings()
	listWatch, _ := g.listWatch(name)
	r, err := informer.NewReflector(informer.Config[configMap]{
		Name: name, Source: source.FromListerWatcher[configMap](listWatch, nil), Sink: sink, Observer: informer.Observers(observer, g.observer(name)),
		Settings: settings,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.run(func(ctx context.Context) { _ = r.Run(ctx) })
}

// keep fills a store, whose snapshots are compared with the server.
func (g *rig) keep() {
	name := g.title("store")
	rec := g.record(name)
	s, err := store.New(store.Config[configMap]{
		Indexers: store.Indexers[configMap]{"color": func(values []string, obj configMap) ([]string, error) {
			return append(values, obj.Labels["color"]), nil
		}},
		OnChange: func(c store.Change[configMap]) {
			key := c.Meta.Key
			if c.Kind == store.Deleted || c.Kind == store.Updated && !c.Meta.SameObject(c.OldMeta) {
				rec.object(deleted, c.Old)
				rec.done(key, nil)
			}
			if c.Kind != store.Deleted {
				rec.object(upsert, c.New)
				rec.done(key, nil)
			}
		},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	var passing atomic.Bool // a pass is under way, or broke off
	g.reflect(name, s, informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
		switch o.(type) {
		case informer.ListStarted:
			passing.Store(true)
		case informer.ListDone:
			passing.Store(false)
		}
	}))
	g.run(func(ctx context.Context) {
		for g.sleep(ctx, 700*time.Millisecond) {
			before := passing.Load()
			snapshot := s.Snapshot()
			if before || passing.Load() || parse(snapshot.Version()) == 0 || rec.unordered {
				continue
			}
			g.snapshots.Add(1)
			g.server.h.mu.Lock()
			n := g.server.h.at(parse(snapshot.Version()))
			g.server.h.mu.Unlock()
			if diff := g.differsAt(n, snapshot.List(), false); diff != "" {
				g.violated("%s at version %s: %s", name, snapshot.Version(), diff)
			}
		}
	})
	g.final = append(g.final, func() string {
		red, err := s.ByIndex("color", "red")
		if err != nil {
			return err.Error()
		}
		if diff := g.differs(red, true); diff != "" {
			return name + ": index: " + diff
		}
		if diff := g.differs(s.List(), false); diff != "" {
			return name + ": " + diff
		}
		return ""
	})
}

// fill fills a store of client-go. What is permanent stays in it.
func (g *rig) fill() {
	name := g.title("client-go")
	s := cache.NewStore(cache.MetaNamespaceKeyFunc)
	g.reflect(name, clientgo.StoreSink[configMap](s), nil)
	list := func() (objs []configMap) {
		for _, obj := range s.List() {
			objs = append(objs, obj.(*corev1.ConfigMap))
		}
		return objs
	}
	g.run(func(ctx context.Context) {
		had := map[string]bool{}
		for g.sleep(ctx, 900*time.Millisecond) {
			has := map[string]bool{}
			for _, obj := range list() {
				if permanent(store.KeyOf(obj)) {
					has[obj.Name] = true
				}
			}
			for name := range had {
				if !has[name] {
					g.violated("client-go: %s has left the store and was not deleted", name)
				}
			}
			had = has
		}
	})
	g.final = append(g.final, func() string {
		if diff := g.differs(list(), false); diff != "" {
			return name + ": " + diff
		}
		return ""
	})
}
