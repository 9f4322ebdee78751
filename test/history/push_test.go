// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// remote is the consumer of a batcher, with a copy of the collection.
type remote struct {
	*rig
	*record
	rng *rand.Rand

	mu    sync.Mutex
	rows  map[store.Key]store.Meta
	pages map[store.Key]bool // of the snapshot under way, nil if there is none
	tried map[store.Key]bool // what was refused, and may be taken for held
}

// push adds a batcher whose consumer fails at times.
func (g *rig) push() {
	settings, name := g.settings(), g.title("push")
	listWatch, _ := g.listWatch(name)
	c := &remote{rig: g, record: g.record(name), rng: g.rand(), rows: map[store.Key]store.Meta{}, tried: map[store.Key]bool{}}
	c.repeats = true
	b, err := push.NewBatcher(c.name, push.BatcherConfig[configMap]{
		ListerWatcher: listWatch, Consumer: c, Settings: settings,
		ErrorHandler: func(informer.ReflectorInfo, error) {}, Observer: g.observer(c.name),
		Merger: push.MergerConfig[configMap]{MaxItems: 10, MaxPending: 30, ErrorHandler: func(error) {}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.run(func(ctx context.Context) { _ = b.Run(ctx) })
	g.final = append(g.final, func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		if diff := g.differsFrom(c.rows); diff != "" {
			return c.name + ": " + diff
		}
		return ""
	})
}

func (c *remote) fails(n int) error {
	if !c.server.isCalm() && c.rng.IntN(n) == 0 {
		if c.rng.IntN(4) == 0 {
			return store.ErrResync
		}
		return errTried
	}
	return nil
}

// refuses reports whether an object is refused by name, and adds it to refused then.
func (c *remote) refuses(key store.Key, refused *push.RefusedError) bool {
	if c.server.isCalm() || c.rng.IntN(10) > 0 {
		return false
	}
	refused.Keys[key] = errTried
	c.tried[key] = true
	return true
}

// partly returns refused if anything was.
func partly(refused *push.RefusedError) error {
	if len(refused.Keys) == 0 {
		return nil
	}
	return refused
}

func (c *remote) put(obj informer.Object[configMap]) {
	if held, ok := c.rows[obj.Key]; ok && !held.SameObject(obj.Meta) {
		c.drop(held)
	}
	c.rows[obj.Key] = obj.Meta
	c.object(upsert, obj.Object)
	c.done(obj.Key, nil)
}

func (c *remote) drop(held store.Meta) {
	delete(c.rows, held.Key)
	c.add(entry{kind: deleted, key: held.Key, uid: held.UID})
	c.done(held.Key, nil)
}

func (c *remote) BeginSnapshot(context.Context, push.SnapshotInfo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages != nil {
		c.violated("%s: a snapshot within a snapshot", c.name)
	}
	if err := c.fails(20); err != nil {
		return err
	}
	c.pages = map[store.Key]bool{}
	return nil
}

func (c *remote) SnapshotPage(_ context.Context, _ push.SnapshotInfo, page []informer.Object[configMap]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fails(20); err != nil {
		return err
	}
	refused := &push.RefusedError{Keys: map[store.Key]error{}}
	for _, obj := range page {
		if !c.refuses(obj.Key, refused) {
			c.put(obj)
		}
	}
	for _, obj := range page {
		c.pages[obj.Key] = true
	}
	return partly(refused)
}

func (c *remote) EndSnapshot(_ context.Context, s push.SnapshotInfo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fails(20); err != nil {
		return err
	}
	for key, held := range c.rows {
		if !c.pages[key] && !slices.Contains(s.Refused, key) {
			c.drop(held)
		}
	}
	for _, key := range s.Refused {
		c.tried[key] = true
	}
	c.pages = nil
	return nil
}

func (c *remote) AbortSnapshot(push.SnapshotInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages = nil
}

func (c *remote) OnBatch(_ context.Context, batch push.Batch[configMap]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages != nil {
		c.violated("%s: a batch within a snapshot", c.name)
	}
	if err := c.fails(6); err != nil {
		for _, change := range batch.Changes {
			c.tried[change.Key] = true
		}
		return err
	}
	refused := &push.RefusedError{Keys: map[store.Key]error{}}
	for _, change := range batch.Changes {
		if c.refuses(change.Key, refused) {
			continue
		}
		held, ok := c.rows[change.Key]
		if !c.tried[change.Key] && (ok != (change.Kind != push.BatchAdded) || held.UID != change.Old.UID || held.Version != change.Old.Version) {
			c.violated("%s: %v of %v with the old state %v, the consumer has %v", c.name, change.Kind, change.Meta, change.Old, held)
		}
		delete(c.tried, change.Key)
		if change.Kind != push.BatchDeleted {
			c.put(change.Object)
		} else if ok {
			c.drop(held)
		}
	}
	return partly(refused)
}
