// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
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
	informertest.PlayRounds(t, oracleRound,
		"list streamed", "list paged", "relist", "abort", "watch expired", "watch closed", "watch silent", "sink refused")
}

func oracleRound(t *testing.T, seed uint64, counts map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := informertest.NewModel()
		for range rng.IntN(20) {
			m.Mutate(rng)
		}
		ours := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 2)), Chaos: true, Streams: rng.IntN(2) == 0}
		theirs := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 3)), Chaos: true, Streams: ours.Streams}

		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup

		theirStore := cache.NewStore(cache.DeletionHandlingMetaNamespaceKeyFunc)
		oracle := cache.NewReflectorWithOptions(theirs, &metav1.PartialObjectMetadata{}, theirStore,
			cache.ReflectorOptions{Name: "oracle"})
		wg.Go(func() { oracle.RunWithContext(ctx) })

		kept, err := store.New(store.Config[informertest.Object]{})
		if err != nil {
			t.Fatal(err)
		}
		sink := &strictSink{t: t, m: m, kept: kept, rng: rand.New(rand.NewPCG(seed, 4)), chaos: true, held: informertest.State{}, counts: counts}
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Name: "ours", Source: source.FromListerWatcher[informertest.Object](ours, nil), Sink: sink,
			Settings: informer.Settings{PageSize: 1 + rng.Int64N(5)},
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
				case informer.Missed:
					t.Errorf("the server left nothing out: %+v", o)
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
				m.Compact()
			case 2:
				if rng.IntN(5) == 0 {
					r.Resync(errors.New("asked"))
				}
			case 3:
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			default:
				m.Mutate(rng)
			}
		}
		ours.Calm()
		theirs.Calm()
		sink.calm()
		time.Sleep(2 * time.Hour)
		synctest.Wait()

		version, want := m.Now()
		got := sink.content()
		oracleHas := informertest.State{}
		for _, obj := range theirStore.List() {
			o := obj.(informertest.Object)
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
		if len(ours.Unlimited) > 0 {
			t.Errorf("lists without a limit: %q", ours.Unlimited)
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
	m      *informertest.Model
	counts map[string]int
	kept   *store.Store[informertest.Object]

	mu      sync.Mutex
	rng     *rand.Rand
	chaos   bool
	held    informertest.State
	seen    map[string]bool
	handed  bool // the pass under way handed something over
	ahead   bool // a pass broke off that did, and none was committed since
	version int64
	told    int64 // the newest version of an object, and of its deletion
}

func (s *strictSink) GetMeta(key store.Key) (store.Meta, bool) { return s.kept.GetMeta(key) }
func (s *strictSink) Keys() iter.Seq[store.Key]                { return s.kept.Keys() }
func (s *strictSink) Len() int                                 { return s.kept.Len() }

func (s *strictSink) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chaos = false
}

func (s *strictSink) content() informertest.State {
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
	if want := s.m.At(version); !s.ahead && !maps.Equal(s.held, want) {
		s.t.Errorf("%s at %d: the sink has\n%v\nthe server had\n%v", what, version, s.held, want)
	}
	kept := informertest.State{}
	for m := range s.kept.Entries() {
		kept[m.Key.Name] = string(m.UID) + "@" + m.Version
	}
	if !maps.Equal(kept, s.held) || s.kept.Version() != fmt.Sprint(version) {
		s.t.Errorf("%s at %d: the store has, at %s\n%v\nnot\n%v", what, version, s.kept.Version(), kept, s.held)
	}
}

// meta returns what the sink holds under key.
func (s *strictSink) meta(key store.Key) (store.Meta, bool) {
	uid, version, ok := strings.Cut(s.held[key.Name], "@")
	return store.Meta{Key: key, UID: types.UID(uid), Version: version}, ok
}

func (s *strictSink) Begin(ctx context.Context, pass store.Pass) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen != nil {
		s.t.Error("Begin within a pass")
	}
	s.seen, s.handed = map[string]bool{}, false
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

func (s *strictSink) Apply(ctx context.Context, m store.Meta, obj informertest.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store.MetaOf(obj) != m {
		s.t.Errorf("Apply of %v with %v", m, obj)
	}
	if err := s.refuse(); err != nil {
		return err
	}
	s.told = max(s.told, informertest.Number(m.Version))
	s.handed = s.handed || s.seen != nil
	if held, ok := s.meta(m.Key); !ok || s.seen != nil || !store.Stale(m, held) {
		s.held[m.Key.Name] = string(m.UID) + "@" + m.Version
	}
	if err := s.kept.Apply(ctx, m, obj); err != nil {
		s.t.Error(err)
	}
	if s.seen != nil {
		s.seen[m.Key.Name] = true
		return nil
	}
	s.accept("Apply", informertest.Number(m.Version))
	return nil
}

func (s *strictSink) Delete(ctx context.Context, m store.Meta, last informertest.Object, known bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse(); err != nil {
		return err
	}
	s.told = max(s.told, informertest.Number(m.Version))
	s.handed = s.handed || s.seen != nil
	if held, ok := s.meta(m.Key); !ok || !store.Superseded(m, held) {
		delete(s.held, m.Key.Name)
	}
	if err := s.kept.Delete(ctx, m, last, known); err != nil {
		s.t.Error(err)
	}
	if s.seen == nil {
		s.accept("Delete", informertest.Number(m.Version))
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
	if informertest.Number(version) < s.told {
		s.t.Errorf("a pass at version %s after what is as new as %d", version, s.told)
	}
	for name := range s.held {
		if !s.seen[name] {
			delete(s.held, name)
		}
	}
	s.seen, s.ahead = nil, false
	if err := s.kept.Commit(ctx, version); err != nil {
		s.t.Error(err)
	}
	s.accept("Commit", informertest.Number(version))
	return nil
}

func (s *strictSink) Abort(pass store.Pass, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.t.Error("Abort outside of a pass")
	}
	s.seen, s.ahead = nil, s.ahead || s.handed
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
	s.accept("Progress", informertest.Number(version))
	return nil
}
