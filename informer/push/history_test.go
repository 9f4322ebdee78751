// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// TestBatchHistory pushes the model of an API server over a bad network to a remote
// service that fails, hangs, loses answers, and restarts empty. The rules are checked
// at every call, see remote.
func TestBatchHistory(t *testing.T) {
	informertest.PlayRounds(t, batchRound,
		"added", "modified", "replaced", "deleted", "snapshot", "aborted", "failed", "failed after applying", "restarted empty", "tried again")
}

// remote is a service that keeps rows by key. It applies the pages of a snapshot as
// they come, or all at its end.
type remote struct {
	t       *testing.T
	m       *informertest.Model
	counts  map[string]int
	staged  bool
	streams bool

	mu       sync.Mutex
	rng      *rand.Rand
	chaos    bool
	busy     bool
	rows     informertest.State
	empty    bool             // restarted, and had no snapshot since
	accepted map[string]int64 // the version that it accepted last
	within   bool             // a snapshot
	stage    informertest.State
	epoch    uint64
}

var errEmpty = fmt.Errorf("what is not known cannot be changed: %w", store.ErrResync)

// call runs what a call does, with failures before and after it.
func (r *remote) call(ctx context.Context, what string, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy {
		r.t.Errorf("%s: there is another call", what)
	}
	r.busy = true
	defer func() { r.busy = false }()
	if r.chaos && r.rng.IntN(4) == 0 {
		pause := time.Duration(r.rng.IntN(8000)) * time.Millisecond
		r.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		r.mu.Lock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if r.chaos && r.rng.IntN(40) == 0 {
		r.counts["restarted empty"]++
		r.rows, r.stage, r.accepted, r.empty = informertest.State{}, informertest.State{}, map[string]int64{}, true
		if r.within {
			return errors.New("it restarts")
		}
	}
	if r.chaos && r.rng.IntN(6) == 0 {
		r.counts["failed"]++
		return errors.New("not now")
	}
	if err := f(); err != nil {
		return err
	}
	if r.chaos && r.rng.IntN(10) == 0 {
		r.counts["failed after applying"]++
		return errors.New("the answer was lost")
	}
	return nil
}

func (r *remote) BeginSnapshot(ctx context.Context, s push.Snapshot) error {
	return r.call(ctx, "begin", func() error {
		r.within, r.stage = true, informertest.State{}
		return nil
	})
}

func (r *remote) SnapshotPage(ctx context.Context, s push.Snapshot, page []informer.Object[informertest.Object]) error {
	return r.call(ctx, "page", func() error {
		for _, obj := range page {
			r.check("page", obj)
			r.stage[obj.Key.Name] = informertest.RowOf(obj.Meta)
			if !r.staged {
				r.rows[obj.Key.Name] = informertest.RowOf(obj.Meta)
				r.accepted[obj.Key.Name] = informertest.ParseVersion(obj.Version)
			}
		}
		return nil
	})
}

func (r *remote) EndSnapshot(ctx context.Context, s push.Snapshot) error {
	return r.call(ctx, "end", func() error {
		r.counts["snapshot"]++
		want, got := r.m.At(informertest.ParseVersion(s.Version)), maps.Clone(r.stage)
		maps.DeleteFunc(got, func(name, row string) bool {
			// Deleted after it was told: that is in a batch.
			_, v, _ := strings.Cut(row, "@")
			_, alive := want[name]
			return !alive && r.streams && r.m.DeletedAfter(name, informertest.ParseVersion(v))
		})
		if !maps.Equal(got, want) {
			r.t.Errorf("snapshot at %s:\n%v\nthe server had\n%v", s.Version, r.stage, want)
		}
		r.rows, r.within, r.empty, r.epoch = maps.Clone(r.stage), false, false, s.Epoch
		for name, row := range r.rows {
			_, v, _ := strings.Cut(row, "@")
			r.accepted[name] = informertest.ParseVersion(v)
		}
		return nil
	})
}

func (r *remote) AbortSnapshot(push.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts["aborted"]++
}

func (r *remote) OnBatch(ctx context.Context, batch push.Batch[informertest.Object]) error {
	return r.call(ctx, "batch", func() error {
		if r.empty {
			return errEmpty
		}
		if r.within {
			r.t.Error("a batch within a snapshot")
		}
		if batch.Failures > 0 {
			r.counts["tried again"]++
		}
		seen := map[string]bool{}
		if len(batch.Changes) == 0 || len(batch.Changes) > 5 {
			r.t.Errorf("a batch of %d changes", len(batch.Changes))
		}
		for _, c := range batch.Changes {
			name := c.Key.Name
			r.counts[c.Kind.String()]++
			if seen[name] {
				r.t.Errorf("%s is twice in a batch", name)
			}
			seen[name] = true
			if c.Kind == push.BatchDeleted {
				_, now := r.m.Now()
				if is := now[name]; strings.HasPrefix(is, string(c.UID)+"@") {
					r.t.Errorf("deleted %v, but it is alive as %s", c.Meta, is)
				}
				delete(r.rows, name)
				continue
			}
			r.check(c.Kind.String(), c.Object)
			r.rows[name] = informertest.RowOf(c.Meta)
			r.accepted[name] = informertest.ParseVersion(c.Version)
		}
		return nil
	})
}

// check checks that an object is of the server, and not older than what was accepted.
func (r *remote) check(what string, obj informer.Object[informertest.Object]) {
	if obj.Meta != informertest.MetaOf(obj.Object) || !r.m.Was(obj.Meta) {
		r.t.Errorf("%s %v: there never was such an object", what, obj.Meta)
	}
	if v := informertest.ParseVersion(obj.Version); v < r.accepted[obj.Key.Name] {
		r.t.Errorf("%s %v: accepted was version %d", what, obj.Meta, r.accepted[obj.Key.Name])
	}
}

func batchRound(t *testing.T, number uint64, counts map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(number, 1))
		m := informertest.NewModel()
		for range rng.IntN(20) {
			m.Mutate(rng)
		}
		client := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(number, 2)), Chaos: true, Streams: rng.IntN(2) == 0}
		r := &remote{
			t: t, m: m, counts: counts, rng: rand.New(rand.NewPCG(number, 3)), chaos: true, staged: rng.IntN(2) == 0, streams: client.Streams,
			rows: informertest.State{}, accepted: map[string]int64{},
		}
		b, err := push.NewBatcher("remote", push.BatcherConfig[informertest.Object]{
			ListerWatcher: client, Consumer: r, Settings: informer.Settings{
				PageSize:   1 + rng.Int64N(5),
				Lists:      informer.ListMode(rng.IntN(3)),
				ListBudget: informertest.Budget(t, 1, 0),
			}, ErrorHandler: func(informer.ReflectorInfo, error) {},
			Merger: push.MergerConfig[informertest.Object]{
				MaxItems: 1 + rng.IntN(5), MaxPending: 1 + rng.IntN(12), ErrorHandler: func(error) {},
				Quiet: time.Duration(rng.IntN(2000)) * time.Millisecond,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		for range 60 + rng.IntN(100) {
			switch rng.IntN(14) {
			case 0:
				time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
			case 1:
				m.Compact()
			case 2:
				if rng.IntN(5) == 0 {
					b.Resync(errors.New("asked"))
				}
			case 3, 4:
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			case 5:
				soon, end := context.WithTimeout(ctx, time.Second)
				_ = b.Flush(soon)
				end()
			default:
				m.Mutate(rng)
			}
		}
		client.Calm()
		r.mu.Lock()
		r.chaos = false
		r.mu.Unlock()
		m.Mutate(rng) // for a service that restarted empty to say so
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if err := b.Flush(ctx); err != nil {
			t.Error(err)
		}
		stats := b.Stats()
		cancel()
		wg.Wait()
		version, want := m.Now()
		if !maps.Equal(r.rows, want) {
			t.Errorf("the remote service has\n%v\nthe server has, at %d\n%v\n%+v", r.rows, version, want, stats)
		}
		if stats.Pending != 0 || stats.Accepted != len(want) || !stats.Synced {
			t.Errorf("all is well, but %+v", stats)
		}
		if len(client.Unlimited) > 0 {
			t.Errorf("lists without a limit: %q", client.Unlimited)
		}
	})
}
