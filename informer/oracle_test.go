// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

var (
	rounds = flag.Int("rounds", 150, "histories to play against client-go's Reflector")
	seed   = flag.Uint64("seed", 0, "the only history to play, if not 0")
)

// TestOracle plays random histories of a server, over a network that fails in
// every way that the model knows, through client-go's Reflector and through
// ours. Some answers come from a server that lags behind. In the end both have
// what the server has. On the way, ours is held to more: whenever its sink
// accepted a version, what the sink has is exactly what the server had at that
// version, and no pass is older than what the sink was told before.
func TestOracle(t *testing.T) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	defer func() {
		klog.LogToStderr(true)
		utilruntime.ErrorHandlers = handlers
	}()
	playRounds(t, oracleRound,
		"list streamed", "list paged", "relist", "abort", "watch expired", "watch closed", "watch silent", "sink refused")
}

func oracleRound(t *testing.T, seed uint64, counts map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newModel()
		for range rng.IntN(20) {
			m.mutate(rng)
		}
		ours := &modelClient{m: m, rng: rand.New(rand.NewPCG(seed, 2)), chaos: true, streams: rng.IntN(2) == 0}
		theirs := &modelClient{m: m, rng: rand.New(rand.NewPCG(seed, 3)), chaos: true, streams: ours.streams}

		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup

		theirStore := cache.NewStore(cache.DeletionHandlingMetaNamespaceKeyFunc)
		oracle := cache.NewReflectorWithOptions(theirs, &metav1.PartialObjectMetadata{}, theirStore,
			cache.ReflectorOptions{Name: "oracle"})
		wg.Go(func() { oracle.RunWithContext(ctx) })

		kept, err := store.New(store.Config[object]{})
		if err != nil {
			t.Fatal(err)
		}
		sink := &strictSink{t: t, m: m, kept: kept, rng: rand.New(rand.NewPCG(seed, 4)), chaos: true, held: state{}, counts: counts}
		r, err := informer.NewReflector(informer.Config[object]{
			Name: "ours", Source: informer.FromListerWatcher[object](ours, nil), Sink: sink,
			PageSize: 1 + rng.Int64N(5),
			Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				switch o := o.(type) {
				case informer.ListDone:
					if o.Streamed {
						counts["list streamed"]++
					} else {
						counts["list paged"]++
					}
					if o.Objects != len(sink.held) {
						t.Errorf("ListDone tells of %d objects, there are %d", o.Objects, len(sink.held))
					}
				case informer.RelistNeeded:
					counts["relist"]++
				case informer.ListFailed:
					counts["abort"]++
				case informer.WatchEnded:
					counts["watch "+string(o.Cause)]++
				case informer.WentBackwards:
					t.Errorf("the server never went backwards: %+v", o)
				}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = r.Run(ctx) })

		for range 60 + rng.IntN(100) {
			switch rng.IntN(12) {
			case 0:
				time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
			case 1:
				m.compact()
			case 2:
				if rng.IntN(5) == 0 {
					r.Resync(errors.New("asked"))
				}
			case 3:
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			default:
				m.mutate(rng)
			}
		}
		ours.calm()
		theirs.calm()
		sink.calm()
		time.Sleep(2 * time.Hour)
		synctest.Wait()

		version, want := m.now()
		got := sink.content()
		oracleHas := state{}
		for _, obj := range theirStore.List() {
			o := obj.(object)
			oracleHas[o.Name] = string(o.UID) + "@" + o.ResourceVersion
		}
		cancel()
		wg.Wait()
		if !maps.Equal(got, want) {
			t.Errorf("ours has\n%v\nthe server has, at %d\n%v\n%+v", got, version, want, r.Info())
		}
		if !maps.Equal(oracleHas, want) {
			t.Errorf("client-go's Reflector has\n%v\nthe server has\n%v", oracleHas, want)
		}
		if len(ours.unlimited) > 0 {
			t.Errorf("lists without a limit: %q", ours.unlimited)
		}
		if info := r.Info(); info.Err != nil {
			t.Errorf("all is well, but Info has %v", info.Err)
		}
	})
}

// strictSink compares what it has with what the server had at each version that
// it accepts, and refuses at random. What it accepts goes to a store.Store as
// well, which must come to the same.
type strictSink struct {
	store.SinkDefaults
	t      *testing.T
	m      *model
	counts map[string]int
	kept   *store.Store[object]

	mu      sync.Mutex
	rng     *rand.Rand
	chaos   bool
	held    state
	seen    map[string]bool
	version int64
	told    int64 // the newest version of an object, and of its deletion
}

func (s *strictSink) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chaos = false
}

func (s *strictSink) content() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.held)
}

func (s *strictSink) refuse() error {
	if !s.chaos || s.rng.IntN(50) != 0 {
		return nil
	}
	s.counts["sink refused"]++
	switch s.rng.IntN(4) {
	case 0:
		return store.ErrResync
	case 1:
		drained := make(chan struct{})
		time.AfterFunc(time.Duration(s.rng.IntN(60))*time.Second, func() { close(drained) })
		return fmt.Errorf("wrapped: %w", &store.FullError{Drained: drained})
	}
	return errors.New("refused")
}

// accept checks that the content is that of version.
func (s *strictSink) accept(what string, version int64) {
	if version < s.version {
		s.t.Errorf("%s: version %d after %d", what, version, s.version)
	}
	s.version = version
	if want := s.m.at(version); !maps.Equal(s.held, want) {
		s.t.Errorf("%s at %d: the sink has\n%v\nthe server had\n%v", what, version, s.held, want)
	}
	kept := state{}
	for m := range s.kept.Entries() {
		kept[m.Key.Name] = string(m.UID) + "@" + m.Version
	}
	if !maps.Equal(kept, s.held) || s.kept.Version() != fmt.Sprint(version) {
		s.t.Errorf("%s at %d: the store has, at %s\n%v\nnot\n%v", what, version, s.kept.Version(), kept, s.held)
	}
}

func (s *strictSink) Begin(ctx context.Context, pass store.Pass) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen != nil {
		s.t.Error("Begin within a pass")
	}
	s.seen = map[string]bool{}
	if err := s.refuse(); err != nil {
		return err
	}
	return s.kept.Begin(ctx, pass)
}

func (s *strictSink) Holds(m store.Meta) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	holds := s.held[m.Key.Name] == string(m.UID)+"@"+m.Version
	if s.kept.Holds(m) != holds {
		s.t.Errorf("the store does not agree on whether it holds %v", m)
	}
	if !holds {
		return false
	}
	s.seen[m.Key.Name] = true
	return true
}

func (s *strictSink) Apply(ctx context.Context, m store.Meta, obj object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store.MetaOf(obj) != m {
		s.t.Errorf("Apply of %v with %v", m, obj)
	}
	if err := s.refuse(); err != nil {
		return err
	}
	s.told = max(s.told, number(m.Version))
	s.held[m.Key.Name] = string(m.UID) + "@" + m.Version
	if err := s.kept.Apply(ctx, m, obj); err != nil {
		s.t.Error(err)
	}
	if s.seen != nil {
		s.seen[m.Key.Name] = true
		return nil
	}
	s.accept("Apply", number(m.Version))
	return nil
}

func (s *strictSink) Delete(ctx context.Context, m store.Meta, last object, known bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse(); err != nil {
		return err
	}
	s.told = max(s.told, number(m.Version))
	delete(s.held, m.Key.Name)
	if err := s.kept.Delete(ctx, m, last, known); err != nil {
		s.t.Error(err)
	}
	if s.seen == nil {
		s.accept("Delete", number(m.Version))
	} else {
		delete(s.seen, m.Key.Name)
	}
	return nil
}

func (s *strictSink) Page(context.Context, store.PageInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse()
}

func (s *strictSink) Commit(ctx context.Context, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse(); err != nil {
		return err
	}
	if number(version) < s.told {
		s.t.Errorf("a pass at version %s after what is as new as %d", version, s.told)
	}
	for name := range s.held {
		if !s.seen[name] {
			delete(s.held, name)
		}
	}
	s.seen = nil
	if err := s.kept.Commit(ctx, version); err != nil {
		s.t.Error(err)
	}
	s.accept("Commit", number(version))
	return nil
}

func (s *strictSink) Abort(pass store.Pass, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.t.Error("Abort outside of a pass")
	}
	s.seen = nil
	s.kept.Abort(pass, cause)
}

func (s *strictSink) Progress(ctx context.Context, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse(); err != nil {
		return err
	}
	if err := s.kept.Progress(ctx, version); err != nil {
		s.t.Error(err)
	}
	s.accept("Progress", number(version))
	return nil
}

// playRounds plays as many histories as the flags say, each with a number of its own,
// and then looks whether what must happen did, by the counts of all.
func playRounds(t *testing.T, round func(t *testing.T, number uint64, counts map[string]int), must ...string) {
	t.Helper()
	n := uint64(*rounds)
	if testing.Short() {
		n = 20
	}
	counts := map[string]int{}
	for s := uint64(1); s <= n; s++ {
		if *seed != 0 {
			s, n = *seed, *seed
		}
		t.Run(fmt.Sprint(s), func(t *testing.T) { round(t, s, counts) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%v", counts)
	for _, what := range must {
		if counts[what] == 0 && *seed == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}
