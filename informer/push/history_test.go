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
// service that fails, hangs, loses answers, restarts empty, and refuses some objects, by
// name or with the whole call. The rules are checked at every call, see remote.
func TestBatchHistory(t *testing.T) {
	informertest.PlayRounds(t, batchRound,
		"added", "modified", "replaced", "deleted", "snapshot", "aborted", "failed", "failed after applying", "restarted empty", "tried again",
		"refused by name", "refused with the whole call", "snapshot without some", "dead letter", "dead in the end")
}

// remote is a service that keeps rows by key. It applies the pages of a snapshot as
// they come, or all at its end.
type remote struct {
	t       *testing.T
	m       *informertest.Model
	counts  map[string]int
	staged  bool
	streams bool
	names   bool // it names what it refuses

	mu       sync.Mutex
	rng      *rand.Rand
	chaos    bool
	busy     bool
	poison   map[string]bool // names of objects that it refuses
	dead     map[string]bool // that were reported
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

// refuse returns the error for those of some objects that the service refuses. If it does
// not name them the whole call is refused.
func (r *remote) refuse(n int, key func(int) store.Key) (refused map[store.Key]error, err error) {
	refused = map[store.Key]error{}
	for i := range n {
		if r.poison[key(i).Name] {
			refused[key(i)] = errors.New("the document is poison")
		}
	}
	switch {
	case len(refused) == 0:
		return nil, nil
	case r.names:
		r.counts["refused by name"]++
		return refused, fmt.Errorf("not all: %w", &push.RefusedError{Keys: refused})
	}
	r.counts["refused with the whole call"]++
	return nil, errors.New("there is poison in it")
}

// spoil makes some objects poison, and others not.
func (r *remote) spoil(poison map[string]bool, names bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.poison, r.names = poison, names
}

// failed is the ErrorHandler.
func (r *remote) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if dead := (*push.DeadLetterError)(nil); errors.As(err, &dead) {
		r.counts["dead letter"]++
		r.dead[dead.Meta.Key.Name] = true
	}
}

func (r *remote) BeginSnapshot(ctx context.Context, s push.SnapshotInfo) error {
	return r.call(ctx, "begin", func() error {
		r.within, r.stage = true, informertest.State{}
		return nil
	})
}

func (r *remote) SnapshotPage(ctx context.Context, s push.SnapshotInfo, page []informer.Object[informertest.Object]) error {
	return r.call(ctx, "page", func() error {
		refused, err := r.refuse(len(page), func(i int) store.Key { return page[i].Key })
		if err != nil && refused == nil {
			return err
		}
		for _, obj := range page {
			r.check("page", obj)
			if refused[obj.Key] != nil {
				continue
			}
			r.stage[obj.Key.Name] = informertest.RowOf(obj.Meta)
			if !r.staged {
				r.rows[obj.Key.Name] = informertest.RowOf(obj.Meta)
				r.accepted[obj.Key.Name] = informertest.ParseVersion(obj.Version)
			}
		}
		return err
	})
}

func (r *remote) EndSnapshot(ctx context.Context, s push.SnapshotInfo) error {
	return r.call(ctx, "end", func() error {
		r.counts["snapshot"]++
		want, got := maps.Clone(r.m.At(informertest.ParseVersion(s.Version))), maps.Clone(r.stage)
		maps.DeleteFunc(got, func(name, row string) bool {
			// Deleted after it was told: that is in a batch.
			_, v, _ := strings.Cut(row, "@")
			_, alive := want[name]
			return !alive && r.streams && r.m.DeletedAfter(name, informertest.ParseVersion(v))
		})
		rows := maps.Clone(r.stage)
		for _, key := range s.Refused {
			r.counts["snapshot without some"]++
			if _, alive := want[key.Name]; !alive && !r.streams {
				r.t.Errorf("%s is in Refused, and does not exist", key)
			}
			// In a stream an older state of it may have come before.
			delete(want, key.Name)
			delete(got, key.Name)
			if row, ok := r.rows[key.Name]; ok && rows[key.Name] == "" {
				rows[key.Name] = row
			}
		}
		if !maps.Equal(got, want) {
			r.t.Errorf("snapshot at %s:\n%v\nthe server had\n%v", s.Version, r.stage, want)
		}
		r.rows, r.within, r.empty, r.epoch = rows, false, false, s.Epoch
		for name, row := range r.rows {
			_, v, _ := strings.Cut(row, "@")
			r.accepted[name] = informertest.ParseVersion(v)
		}
		return nil
	})
}

func (r *remote) AbortSnapshot(push.SnapshotInfo, error) {
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
		refused, err := r.refuse(len(batch.Changes), func(i int) store.Key { return batch.Changes[i].Key })
		if err != nil && refused == nil {
			return err
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
				if refused[c.Key] == nil {
					delete(r.rows, name)
					delete(r.dead, name)
				}
				continue
			}
			r.check(c.Kind.String(), c.Object)
			if refused[c.Key] != nil {
				continue
			}
			delete(r.dead, name)
			r.rows[name] = informertest.RowOf(c.Meta)
			r.accepted[name] = informertest.ParseVersion(c.Version)
		}
		return err
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
			rows: informertest.State{}, accepted: map[string]int64{}, dead: map[string]bool{},
		}
		b, err := push.NewBatcher("remote", push.BatcherConfig[informertest.Object]{
			ListerWatcher: client, Consumer: r, Settings: informer.Settings{
				PageSize:   1 + rng.Int64N(5),
				Lists:      informer.ListMode(rng.IntN(3)),
				ListBudget: informertest.Budget(t, 1, 0),
			}, ErrorHandler: func(informer.ReflectorInfo, error) {},
			Merger: push.MergerConfig[informertest.Object]{
				MaxItems: 1 + rng.IntN(5), MaxPending: 2 + rng.IntN(12), ErrorHandler: r.failed, // one for poison that never is a dead letter
				MaxTries: []int{0, 2, -1}[rng.IntN(3)],
				Quiet:    time.Duration(rng.IntN(2000)) * time.Millisecond,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		for range 60 + rng.IntN(100) {
			switch rng.IntN(15) {
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
			case 6:
				poison := map[string]bool{}
				for range rng.IntN(4) {
					poison[informertest.ModelName(rng)] = true
				}
				r.spoil(poison, rng.IntN(2) == 0)
			default:
				m.Mutate(rng)
			}
		}
		client.Calm()
		poison := informertest.ModelName(rng)
		r.spoil(map[string]bool{poison: true}, rng.IntN(2) == 0)
		r.mu.Lock()
		r.chaos = false
		r.mu.Unlock()
		m.Mutate(rng) // for a service that restarted empty to say so
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		r.compare(b.Stats(), poison)
		r.spoil(nil, false)
		if b.Stats().Dead > 0 {
			r.counts["dead in the end"]++
			b.Resync(errors.New("the service takes all objects again"))
		}
		time.Sleep(time.Hour)
		if err := b.Flush(ctx); err != nil {
			t.Error(err)
		}
		stats := b.Stats()
		cancel()
		wg.Wait()
		r.compare(stats, "")
		if _, want := m.Now(); stats.Pending != 0 || stats.Accepted != len(want) || stats.Dead != 0 || stats.Failing != 0 || !stats.Synced {
			t.Errorf("all is well, but %+v", stats)
		}
		if len(client.Unlimited) > 0 {
			t.Errorf("lists without a limit: %q", client.Unlimited)
		}
	})
}

// compare checks that the service has what the server has, except for the poison. A
// service that names no object, and refuses the only one that there is, has had no snapshot.
func (r *remote) compare(stats push.BatcherStats, poison string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	version, want := r.m.Now()
	want, got := maps.Clone(want), maps.Clone(r.rows)
	delete(want, poison)
	delete(got, poison)
	if !maps.Equal(got, want) && (len(want) > 0 || r.names || poison == "") {
		r.t.Errorf("poison: %q: the remote service has\n%v\nthe server has, at %d\n%v\n%+v", poison, r.rows, version, want, stats)
	}
}
