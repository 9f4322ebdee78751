// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// TestMirrorHistory mirrors the model of an API server over a bad network to a
// database that fails, is slow, and is left at any moment by a crash, after which
// another informer goes on with what the database has. The rules are checked at
// every call, see database.
func TestMirrorHistory(t *testing.T) {
	informertest.PlayRounds(t, mirrorRound,
		"add", "update", "delete", "sync", "delete known", "recreated", "failed", "failed after writing", "crash", "resumed",
		"paused", "swept", "resume version gone", "held back", "not kept")
}

// database is a handler. Its rows, and the resume version that is written in the
// same transaction as each, survive a crash; the rest does not.
type database struct {
	t      *testing.T
	m      *informertest.Model
	counts map[string]int
	max    int

	// keeps says which objects are kept, by a FilteringResourceEventHandler; nil: all.
	keeps func(uid string, version int64) bool

	mu     sync.Mutex
	rng    *rand.Rand
	chaos  bool
	rows   informertest.State
	resume string

	informer *mirror.ResourceVersionInformer[informertest.Object]
	acked    informertest.State
	tried    map[string]string // uid of an OnAdd that failed
	busy     map[string]bool
}

// restart makes an informer that goes on with what the database has.
func (d *database) restart(cfg mirror.InformerConfig[informertest.Object]) *mirror.ResourceVersionInformer[informertest.Object] {
	d.mu.Lock()
	defer d.mu.Unlock()
	versions := mirror.NewResourceVersionStorage()
	for name, row := range d.rows {
		uid, version, _ := strings.Cut(row, "@")
		obj := informertest.ModelObject(name, uid, informertest.ParseVersion(version))
		if err := versions.Set(informertest.MetaOf(&obj), 0); err != nil {
			d.t.Fatal(err)
		}
	}
	cfg.Handler, cfg.Storage, cfg.ResumeVersion = d, versions, d.resume
	if d.keeps != nil {
		cfg.Handler = mirror.FilteringResourceEventHandler[informertest.Object]{Handler: d, FilterFunc: func(obj informertest.Object) bool {
			return d.keeps(string(obj.UID), informertest.ParseVersion(obj.ResourceVersion))
		}}
	}
	if d.resume != "" {
		d.counts["resumed"]++
	}
	i, err := mirror.NewResourceVersionInformer("mirror", cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	d.informer, d.acked, d.tried, d.busy = i, maps.Clone(d.rows), map[string]string{}, map[string]bool{}
	return i
}

// call runs one call of the handler: what checks, then a transaction, with failures
// before and after it. Acknowledged is called if it succeeds.
func (d *database) call(ctx context.Context, what string, meta store.Meta, check func(name string), write func(), acknowledged func()) error {
	name := meta.Key.Name
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[what]++
	if d.busy[name] {
		d.t.Errorf("%s %v: there is another call for this key", what, meta)
	}
	if s := d.informer.Stats(); s.Pending > d.max {
		d.t.Errorf("%s %v: %d changes pending", what, meta, s.Pending)
	} else if s.HeldBack != nil && s.HeldBack.Failures > 0 {
		d.counts["held back"]++
	}
	check(name)
	d.busy[name] = true
	defer func() { d.busy[name] = false }()
	if d.chaos && d.rng.IntN(3) == 0 {
		pause := time.Duration(d.rng.IntN(3000)) * time.Millisecond
		d.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		d.mu.Lock()
		if ctx.Err() != nil && d.rng.IntN(2) == 0 {
			return context.Cause(ctx)
		}
	}
	if d.chaos && d.rng.IntN(8) == 0 {
		d.counts["failed"]++
		return errors.New("the database refuses")
	}
	write()
	d.save()
	if d.chaos && d.rng.IntN(12) == 0 {
		d.counts["failed after writing"]++
		return errors.New("the answer of the database was lost")
	}
	acknowledged()
	return nil
}

// save writes the resume version, and checks that all up to it is in the rows.
func (d *database) save() {
	d.resume = d.informer.ResumeVersion()
	if d.resume == "" {
		return
	}
	version := informertest.ParseVersion(d.resume)
	then := d.m.At(version)
	for name, is := range then {
		uid, v, _ := strings.Cut(is, "@")
		row, ok := d.rows[name]
		rowUID, rowVersion, _ := strings.Cut(row, "@")
		switch {
		case !ok && !d.goneSince(name, version):
			d.t.Errorf("resume version %d: %s=%s has no row", version, name, is)
		case ok && informertest.ParseVersion(rowVersion) < informertest.ParseVersion(v):
			d.t.Errorf("resume version %d: %s=%s, the row is %s", version, name, is, row)
		case ok && !d.kept(is) && informertest.ParseVersion(rowVersion) <= version:
			d.t.Errorf("resume version %d: %s=%s is not kept, but there is the row %s", version, name, is, row)
		case ok && rowUID != uid && informertest.ParseVersion(rowVersion) <= version:
			d.t.Errorf("resume version %d: %s=%s, the row is of another object, %s", version, name, is, row)
		}
	}
	for name, row := range d.rows {
		_, v, _ := strings.Cut(row, "@")
		if _, ok := then[name]; !ok && informertest.ParseVersion(v) <= version {
			d.t.Errorf("resume version %d: %s is deleted, but there is the row %s", version, name, row)
		}
	}
}

// kept reports whether an object in this state, such as uid@1, is kept.
func (d *database) kept(row string) bool {
	uid, version, _ := strings.Cut(row, "@")
	return d.keeps == nil || d.keeps(uid, informertest.ParseVersion(version))
}

// goneSince reports whether name is one that is not kept, at version or later, or
// that was deleted after it.
func (d *database) goneSince(name string, version int64) bool {
	if !d.kept(d.m.At(version)[name]) {
		return true
	}
	d.m.Mu.Lock()
	defer d.m.Mu.Unlock()
	for _, e := range d.m.Events {
		if e.Version > version && e.Name == name && (e.Kind == "DELETED" || !d.kept(e.UID+"@"+strconv.FormatInt(e.Version, 10))) {
			return true
		}
	}
	return false
}

func (d *database) put(ctx context.Context, what string, obj informer.Object[informertest.Object], check func(acked string, ok bool)) error {
	return d.call(ctx, what, obj.Meta, func(name string) {
		if obj.Meta != informertest.MetaOf(obj.Object) || !d.m.Was(obj.Meta) {
			d.t.Errorf("%s %v: there never was such an object", what, obj.Meta)
		}
		acked, ok := d.acked[name]
		check(acked, ok)
		if what == "add" {
			d.tried[name] = string(obj.UID)
		}
	}, func() {
		d.rows[obj.Key.Name] = informertest.RowOf(obj.Meta)
	}, func() {
		d.acked[obj.Key.Name] = informertest.RowOf(obj.Meta)
		delete(d.tried, obj.Key.Name)
	})
}

func (d *database) OnAdd(ctx context.Context, obj informer.Object[informertest.Object]) error {
	return d.put(ctx, "add", obj, func(acked string, ok bool) {
		if ok {
			d.t.Errorf("add %v, but %s is acknowledged", obj.Meta, acked)
		}
		if uid := d.tried[obj.Key.Name]; uid != "" && uid != string(obj.UID) {
			d.t.Errorf("add %v, but it was tried to add %s", obj.Meta, uid)
		}
	})
}

func (d *database) OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[informertest.Object]) error {
	return d.put(ctx, "update", obj, func(acked string, ok bool) {
		if !ok || informertest.RowOf(old) != acked || old.UID != obj.UID || old.Version == obj.Version {
			d.t.Errorf("update %v to %v, acknowledged is %q", old, obj.Meta, acked)
		}
	})
}

func (d *database) OnSync(ctx context.Context, obj informer.Object[informertest.Object]) error {
	return d.put(ctx, "sync", obj, func(acked string, ok bool) {
		if acked != informertest.RowOf(obj.Meta) {
			d.t.Errorf("sync %v, acknowledged is %q", obj.Meta, acked)
		}
	})
}

func (d *database) OnDelete(ctx context.Context, gone mirror.Deletion[informertest.Object]) error {
	name := gone.Key.Name
	return d.call(ctx, "delete", gone.Meta, func(string) {
		acked, ok := d.acked[name]
		uid, _, _ := strings.Cut(acked, "@")
		if !ok {
			uid = d.tried[name]
		} else if acked != informertest.RowOf(gone.Meta) {
			d.t.Errorf("delete %v, acknowledged is %s", gone.Meta, acked)
		}
		if uid != string(gone.UID) {
			d.t.Errorf("delete %v, what is known is %q", gone.Meta, uid)
		}
		_, now := d.m.Now()
		if is, ok := now[name]; ok {
			if d.counts["recreated"]++; strings.HasPrefix(is, string(gone.UID)+"@") && !d.goneSince(name, informertest.ParseVersion(gone.Version)) {
				d.t.Errorf("delete %v, but it is alive as %s", gone.Meta, is)
			}
		}
		if gone.Known {
			d.counts["delete known"]++
			if gone.Object.UID != gone.UID {
				d.t.Errorf("delete %v, with an object of UID %s", gone.Meta, gone.Object.UID)
			}
		}
	}, func() {
		delete(d.rows, name)
	}, func() {
		delete(d.acked, name)
		delete(d.tried, name)
	})
}

func (d *database) UpdateResourceVersion(_ context.Context, version string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if version == "" {
		d.counts["resume version gone"]++
	}
	if d.chaos && d.rng.IntN(8) == 0 {
		return errors.New("the database refuses")
	}
	d.save()
	return nil
}

func mirrorRound(t *testing.T, number uint64, counts map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(number, 1))
		m := informertest.NewModel()
		for range rng.IntN(20) {
			m.Mutate(rng)
		}
		client := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(number, 2)), Chaos: true, Streams: rng.IntN(2) == 0}
		db := &database{t: t, m: m, counts: counts, rng: rand.New(rand.NewPCG(number, 3)), chaos: true, rows: informertest.State{}}
		if rng.IntN(3) == 0 {
			db.keeps = func(_ string, version int64) bool { return version%3 != 0 }
		}
		cfg := mirror.InformerConfig[informertest.Object]{
			ListerWatcher: client, Settings: informer.Settings{
				PageSize:   1 + rng.Int64N(5),
				Lists:      informer.ListMode(rng.IntN(3)),
				ListBudget: informertest.Budget(t, 1, time.Duration(rng.IntN(3000))*time.Millisecond),
			},
			Workers: 1 + rng.IntN(3), MaxPending: 1 + rng.IntN(8), SkipSync: rng.IntN(2) == 0,
			ErrorHandler: func(informer.ReflectorInfo, error) {},
			Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				db.mu.Lock()
				defer db.mu.Unlock()
				if _, ok := o.(informer.Draining); ok {
					counts["paused"]++
				}
			}),
		}
		if rng.IntN(4) == 0 {
			cfg.ResyncInterval = time.Duration(60+rng.IntN(300)) * time.Second
		}
		db.max = cfg.MaxPending + cfg.Workers
		if cfg.Lists == informer.ListStreamed {
			db.max++ // what was let in before it was known to be too much
		}

		var (
			i      *mirror.ResourceVersionInformer[informertest.Object]
			cancel context.CancelFunc
			ended  chan struct{}
		)
		start := func() {
			i = db.restart(cfg)
			var ctx context.Context
			ctx, cancel = context.WithCancel(t.Context())
			ended = make(chan struct{})
			go func() {
				defer close(ended)
				_ = i.Run(ctx)
			}()
		}
		crash := func() {
			cancel()
			<-ended
			s := i.Stats()
			db.mu.Lock()
			defer db.mu.Unlock()
			counts["swept"] += int(s.Swept)
			counts["not kept"] += int(s.NotKept)
		}
		start()
		for range 60 + rng.IntN(100) {
			switch rng.IntN(14) {
			case 0:
				time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
			case 1:
				m.Compact()
			case 2:
				if rng.IntN(5) == 0 {
					i.Resync(errors.New("asked"))
				}
			case 3, 4:
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			case 5:
				if rng.IntN(3) == 0 {
					crash()
					db.mu.Lock()
					counts["crash"]++
					db.mu.Unlock()
					start()
				}
			default:
				m.Mutate(rng)
			}
		}
		client.Calm()
		db.mu.Lock()
		db.chaos = false
		db.mu.Unlock()
		time.Sleep(2 * time.Hour)
		synctest.Wait()

		version, want := m.Now()
		want = maps.Clone(want)
		maps.DeleteFunc(want, func(_, is string) bool { return !db.kept(is) })
		stats := i.Stats()
		recorded := informertest.State{}
		resume, versions := i.Snapshot()
		for meta, err := range versions {
			if err != nil {
				t.Error(err)
			}
			recorded[meta.Key.Name] = informertest.RowOf(meta)
		}
		crash()
		if !maps.Equal(db.rows, want) || !maps.Equal(recorded, want) {
			t.Errorf("the database has\n%v\nrecorded is\n%v\nthe server has, at %d\n%v\n%+v", db.rows, recorded, version, want, stats)
		}
		if !stats.Synced || stats.Pending != 0 || stats.Failing != 0 || stats.HeldBack != nil || stats.PendingBytes != 0 {
			t.Errorf("all is well, but %+v", stats)
		}
		if informertest.ParseVersion(resume) < version-1 || resume != db.resume {
			t.Errorf("the resume version is %q, saved is %q, the server is at %d", resume, db.resume, version)
		}
		if len(client.Unlimited) > 0 {
			t.Errorf("lists without a limit: %q", client.Unlimited)
		}
	})
}
