// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/logtest"
)

// TestStoreHistories plays random histories of a server over a bad network into
// stores of client-go, each in a way of its own. In the end they have what the
// server has.
func TestStoreHistories(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	n := uint64(*informertest.Rounds) / 3
	if testing.Short() {
		n = 5
	}
	for name, fill := range map[string]filler{
		"reflector": fillByReflector, "informer": fillByInformer, "controller": fillByController,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= n && !t.Failed(); seed++ {
				storeRound(t, seed, fill)
			}
		})
	}
}

// filler returns what fills st from c. What it makes of the history is checked
// on the way.
type filler func(t *testing.T, rng *rand.Rand, m *informertest.Model, c *informertest.ModelClient, st cache.Store) runner

type runner interface {
	Run(context.Context) error
	LastSyncResourceVersion() string
}

func storeRound(t *testing.T, seed uint64, fill filler) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m := informertest.NewModel()
		for range rng.IntN(20) {
			m.Mutate(rng)
		}
		c := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 6)), Chaos: true, Streams: rng.IntN(2) == 0}
		st := cache.NewStore(cache.MetaNamespaceKeyFunc)
		_ = st.Add(informertest.ParseObject("gone#u0@1"))
		running := fill(t, rand.New(rand.NewPCG(seed, 7)), m, c, st)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() { ended <- running.Run(ctx) }()

		for range 40 + rng.IntN(60) {
			switch rng.IntN(10) {
			case 0:
				time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
			case 1:
				m.Compact()
			case 2:
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			default:
				m.Mutate(rng)
			}
		}
		c.Calm()
		time.Sleep(2 * time.Hour)
		cancel(errTestOver)
		if err := <-ended; err != errTestOver {
			t.Errorf("Run returned %v", err)
		}
		version, want := m.Now()
		if got := keptBy(st); !maps.Equal(got, want) {
			t.Errorf("round %d: the store has\n%v\nthe server has, at %d\n%v", seed, got, version, want)
		}
		if got := running.LastSyncResourceVersion(); got != fmt.Sprint(version) {
			t.Errorf("round %d: at version %s, the server is at %d", seed, got, version)
		}
		if len(c.Unlimited) > 0 {
			t.Errorf("round %d: lists without a limit: %q", seed, c.Unlimited)
		}
	})
}

func keptBy(st cache.Store) informertest.State {
	is := informertest.State{}
	for _, obj := range st.List() {
		o := obj.(informertest.Object)
		is[o.Name] = string(o.UID) + "@" + o.ResourceVersion
	}
	return is
}

// versionedStore checks, at each version that it gets, that it has the objects that the
// server had.
type versionedStore struct {
	cache.Store
	t *testing.T
	m *informertest.Model
}

func (s versionedStore) UpdateResourceVersion(version string) {
	if got, want := keptBy(s.Store), s.m.At(informertest.Number(version)); !maps.Equal(got, want) {
		s.t.Errorf("at %s the store has\n%v\nthe server had\n%v", version, got, want)
	}
}

func fillByReflector(t *testing.T, rng *rand.Rand, m *informertest.Model, c *informertest.ModelClient, st cache.Store) runner {
	versioned := versionedStore{st, t, m}
	before := keptBy(st)
	r, err := informer.NewReflector(informer.Config[informertest.Object]{
		Source: source.FromListerWatcher[informertest.Object](c, nil), Sink: clientgo.StoreSink[informertest.Object](versioned), Settings: informer.Settings{PageSize: 1 + rng.Int64N(5)},
		Observer: informer.ObserverFunc(func(info informer.ReflectorInfo, o informer.ReflectorEvent) {
			switch o.(type) {
			case informer.ListStarted:
				before = keptBy(st)
			case informer.ListFailed:
				if got := keptBy(st); !maps.Equal(got, before) {
					t.Errorf("a pass that broke off made\n%v\nof\n%v", got, before)
				}
			case informer.ListDone:
				versioned.UpdateResourceVersion(info.Version)
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// strictHandler checks that each call follows from the calls before it.
type strictHandler struct {
	t  *testing.T
	is map[string]informertest.Object
}

func (h strictHandler) OnAdd(obj any, _ bool) {
	o := obj.(informertest.Object)
	if held, ok := h.is[o.Name]; ok {
		h.t.Errorf("add %s, known as %s", text(o), text(held))
	}
	h.is[o.Name] = o
}

func (h strictHandler) OnUpdate(old, obj any) {
	o := obj.(informertest.Object)
	if held := h.is[o.Name]; held != old {
		h.t.Errorf("update of %s to %s, known as %s", text(old), text(o), text(held))
	}
	h.is[o.Name] = o
}

func (h strictHandler) OnDelete(obj any) {
	if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		if held := h.is[unknown.Key]; held != unknown.Obj {
			h.t.Errorf("delete %s, known as %s", text(unknown), text(held))
		}
		obj = unknown.Obj
	}
	o := obj.(informertest.Object)
	if _, ok := h.is[o.Name]; !ok {
		h.t.Errorf("delete %s, which is not known", text(o))
	}
	delete(h.is, o.Name)
}

func fillByInformer(t *testing.T, _ *rand.Rand, _ *informertest.Model, c *informertest.ModelClient, st cache.Store) runner {
	h := strictHandler{t, map[string]informertest.Object{}}
	for _, obj := range st.List() {
		h.is[obj.(informertest.Object).Name] = obj.(informertest.Object)
	}
	running, err := clientgo.NewInformer[informertest.Object](c, st, 10*time.Minute, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return running
}

// fillByController has a queue and a Process that fails now and then. The queue is
// not locked meanwhile, so that virtual time goes on.
func fillByController(t *testing.T, rng *rand.Rand, _ *informertest.Model, c *informertest.ModelClient, st cache.Store) runner {
	running, err := clientgo.NewNamedController("pods", clientgo.ControllerConfig[informertest.Object]{
		Queue: atomicFIFO(nil), ListerWatcher: c, RetryOnError: true, Settings: informer.Settings{PageSize: 1 + rng.Int64N(5)},
		Process: func(item any, _ bool) error {
			for _, d := range item.(cache.Deltas) {
				if rng.IntN(5) == 0 {
					return errors.New("not now")
				}
				var err error
				switch d.Type {
				case cache.ReplacedAll:
					info := d.Object.(cache.ReplacedAllInfo)
					err = st.Replace(info.Objects, info.ResourceVersion)
				case cache.Updated:
					err = st.Update(d.Object)
				case cache.Deleted:
					err = st.Delete(d.Object)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return running
}
