// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// database is the target of a mirror. Rows and the resume version survive a crash.
type database struct {
	*rig
	*record

	mu     sync.Mutex
	rng    *rand.Rand
	rows   map[store.Key]store.Meta
	resume string
	now    *mirror.ResourceVersionInformer[configMap]
}

// mirror adds a mirror that crashes at times and goes on with what the database has.
func (g *rig) mirror() {
	d := &database{rig: g, record: g.record(g.title("mirror")), rng: g.rand(), rows: map[store.Key]store.Meta{}}
	d.repeats = true
	d.entries = append(d.entries, entry{kind: began})
	settings := g.settings()
	listWatch, way := g.listWatch(d.name)
	g.run(func(ctx context.Context) {
		for ctx.Err() == nil {
			cfg := mirror.InformerConfig[configMap]{
				ListerWatcher: listWatch, Handler: d, Storage: d.storage(), ResumeVersion: d.resume, Workers: 3, MaxPending: 20,
				Settings: settings, ErrorHandler: func(informer.ReflectorInfo, error) {}, Observer: g.observer(d.name),
			}
			i, err := mirror.NewResourceVersionInformer(d.name, cfg)
			if err != nil {
				g.t.Error(err)
				return
			}
			d.mu.Lock()
			d.now = i
			d.mu.Unlock()
			run, crash := context.WithCancel(ctx)
			g.run(func(ctx context.Context) {
				defer crash()
				for g.sleep(run, time.Minute) {
					if d.chance(10) {
						return
					}
				}
			})
			_ = i.Run(run)
			crash()
			d.add(entry{kind: resumed})
			if d.resume == "" {
				way.known(false)
			}
		}
	})
	g.final = append(g.final, func() string {
		d.mu.Lock()
		defer d.mu.Unlock()
		if diff := g.differsFrom(d.rows); diff != "" {
			return d.name + ": " + diff
		}
		return ""
	})
}

func (d *database) chance(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.server.isCalm() && d.rng.IntN(n) == 0
}

func (d *database) storage() mirror.ResourceVersionStorage {
	s := mirror.NewResourceVersionStorage()
	for _, meta := range d.rows {
		if err := s.Set(meta, 0); err != nil {
			d.t.Error(err)
		}
	}
	return s
}

// call is one call: it fails before it writes, afterwards, or not at all.
func (d *database) call(ctx context.Context, kind entryKind, meta store.Meta, obj configMap) (err error) {
	if kind == upsert {
		d.object(upsert, obj)
	} else {
		d.add(entry{kind: deleted, key: meta.Key, uid: meta.UID})
	}
	defer func() { d.record.done(meta.Key, err) }()
	if d.chance(8) && !d.sleep(ctx, 2*time.Second) {
		return ctx.Err()
	}
	if d.chance(6) {
		return errTried
	}
	d.mu.Lock()
	if kind == upsert {
		d.rows[meta.Key] = meta
	} else {
		delete(d.rows, meta.Key)
	}
	d.resume = d.now.ResumeVersion()
	d.mu.Unlock()
	if d.chance(12) {
		return errTried
	}
	return nil
}

func (d *database) OnAdd(ctx context.Context, obj informer.Object[configMap]) error {
	return d.call(ctx, upsert, obj.Meta, obj.Object)
}

func (d *database) OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[configMap]) error {
	if !old.SameObject(obj.Meta) {
		d.violated("%s: OnUpdate replaces %v by %v", d.name, old, obj.Meta)
	}
	return d.call(ctx, upsert, obj.Meta, obj.Object)
}

func (d *database) OnSync(ctx context.Context, obj informer.Object[configMap]) error {
	return d.call(ctx, upsert, obj.Meta, obj.Object)
}

func (d *database) OnDelete(ctx context.Context, gone mirror.Deletion[*corev1.ConfigMap]) error {
	return d.call(ctx, deleted, gone.Meta, nil)
}

func (d *database) UpdateResourceVersion(_ context.Context, version string) error {
	if d.chance(6) {
		return errTried
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume = version
	return nil
}
