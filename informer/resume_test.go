// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// seededSink has content from the start, and wants no pass older than that.
type seededSink struct {
	*store.Store[informertest.Object]
	t      *testing.T
	newest int64 // version of what it has
	passes int
}

func (s *seededSink) Commit(ctx context.Context, version string) error {
	if informertest.Number(version) < s.newest {
		s.t.Errorf("a pass at version %s, but the sink was seeded with what is as new as %d", version, s.newest)
	}
	s.passes++
	return s.Store.Commit(ctx, version)
}

// TestResumeAhead resumes sinks that have more than the version says, from a
// server that may no longer have that version, and some of whose replicas lag
// behind. No pass is older than what the sink has, and in the end it has what
// the server has.
func TestResumeAhead(t *testing.T) {
	passes := 0
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			m := informertest.NewModel()
			mutate := func(n int) {
				for range n {
					m.Mutate(rng)
				}
			}
			mutate(10 + rng.IntN(10))
			saved, _ := m.Now()
			mutate(1 + rng.IntN(10))
			newest, content := m.Now()
			kept, err := store.New(store.Config[informertest.Object]{})
			if err != nil {
				t.Fatal(err)
			}
			sink := &seededSink{Store: kept, t: t, newest: newest}
			for name, is := range content {
				uid, version, _ := strings.Cut(is, "@")
				obj := informertest.ModelObject(name, uid, informertest.ParseVersion(version))
				if err := kept.Apply(t.Context(), store.MetaOf(&obj), &obj); err != nil {
					t.Fatal(err)
				}
			}
			mutate(rng.IntN(5))
			if rng.IntN(2) == 0 {
				m.Compact()
				mutate(rng.IntN(5))
			}
			client := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 2)), Chaos: true, Streams: rng.IntN(2) == 0}
			r, err := informer.NewReflector(informer.Config[informertest.Object]{
				Source: source.FromListerWatcher[informertest.Object](client, nil), Sink: sink,
				Settings: informer.Settings{PageSize: 1 + rng.Int64N(5)}, ResumeFrom: strconv.FormatInt(saved, 10),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- r.Run(ctx) }()
			time.Sleep(time.Duration(rng.IntN(600)) * time.Second)
			client.Calm()
			time.Sleep(2 * time.Hour)
			cancel()
			<-ended
			got := informertest.State{}
			for m := range kept.Entries() {
				got[m.Key.Name] = string(m.UID) + "@" + m.Version
			}
			if _, want := m.Now(); !maps.Equal(got, want) {
				t.Errorf("the sink has\n%v\nthe server has\n%v", got, want)
			}
			passes += sink.passes
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if passes == 0 {
		t.Error("there was not one pass")
	}
}
