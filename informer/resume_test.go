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
	"github.com/apiary-go/apiary/store"
)

// seededSink has content from the start, and wants no pass older than that.
type seededSink struct {
	*store.Store[object]
	t      *testing.T
	newest int64 // version of what it has
	passes int
}

func (s *seededSink) Commit(ctx context.Context, version string) error {
	if number(version) < s.newest {
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
			m := newModel()
			mutate := func(n int) {
				for range n {
					m.mutate(rng)
				}
			}
			mutate(10 + rng.IntN(10))
			saved, _ := m.now()
			mutate(1 + rng.IntN(10))
			newest, content := m.now()
			kept, err := store.New(store.Config[object]{})
			if err != nil {
				t.Fatal(err)
			}
			sink := &seededSink{Store: kept, t: t, newest: newest}
			for name, is := range content {
				uid, version, _ := strings.Cut(is, "@")
				obj := modelObject(name, uid, parseVersion(version))
				if err := kept.Apply(t.Context(), store.MetaOf(&obj), &obj); err != nil {
					t.Fatal(err)
				}
			}
			mutate(rng.IntN(5))
			if rng.IntN(2) == 0 {
				m.compact()
				mutate(rng.IntN(5))
			}
			client := &modelClient{m: m, rng: rand.New(rand.NewPCG(seed, 2)), chaos: true, streams: rng.IntN(2) == 0}
			r, err := informer.NewReflector(informer.Config[object]{
				Source: informer.FromListerWatcher[object](client, nil), Sink: sink,
				PageSize: 1 + rng.Int64N(5), ResumeFrom: strconv.FormatInt(saved, 10),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- r.Run(ctx) }()
			time.Sleep(time.Duration(rng.IntN(600)) * time.Second)
			client.calm()
			time.Sleep(2 * time.Hour)
			cancel()
			<-ended
			got := state{}
			for m := range kept.Entries() {
				got[m.Key.Name] = string(m.UID) + "@" + m.Version
			}
			if _, want := m.now(); !maps.Equal(got, want) {
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
