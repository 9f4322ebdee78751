// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// callSink keeps a store, and records its calls. It refuses each 40th one.
type callSink struct {
	*store.Store[informertest.Object]
	calls  []string
	until  time.Time // later calls are not recorded
	blocks bool
	calm   bool // it refuses nothing
}

func newCallSink(t *testing.T, blocks bool) *callSink {
	s, err := store.New(store.Config[informertest.Object]{Name: "things"})
	if err != nil {
		t.Fatal(err)
	}
	// The recording can lack what comes while the run is stopped.
	return &callSink{Store: s, blocks: blocks, until: time.Now().Add(long - time.Second)}
}

// long is how long the runs take.
const long = 10 * time.Minute

func (s *callSink) add(format string, args ...any) {
	if time.Now().Before(s.until) {
		s.calls = append(s.calls, fmt.Sprintf(format, args...))
	}
}

func (s *callSink) call(format string, args ...any) error {
	s.add(format, args...)
	switch n := len(s.calls); {
	case s.calm:
	case n%120 == 0:
		return store.ErrResync
	case n%40 == 0:
		return errors.New("refused")
	}
	return nil
}

func (s *callSink) MayBlock() bool { return s.blocks }

func (s *callSink) Begin(ctx context.Context, p store.Pass) error {
	if err := s.call("begin %d %s anew=%v %v", p.Epoch, p.Reason, p.Anew, informer.CauseOf(p.Cause)); err != nil {
		return err
	}
	return s.Store.Begin(ctx, p)
}

func (s *callSink) Has(m store.Meta) bool {
	has := s.Store.Has(m)
	s.add("has %v %v", m, has)
	return has
}

func (s *callSink) Apply(ctx context.Context, m store.Meta, obj informertest.Object) error {
	if err := s.call("apply %v: %v %v", m, obj.Name, obj.Labels); err != nil {
		return err
	}
	return s.Store.Apply(ctx, m, obj)
}

func (s *callSink) Keep(ctx context.Context, m store.Meta) error {
	if err := s.call("keep %v", m); err != nil {
		return err
	}
	return s.Store.Keep(ctx, m)
}

func (s *callSink) Page(ctx context.Context, p store.PageInfo) error {
	if err := s.call("page %+v", p); err != nil {
		return err
	}
	return s.Store.Page(ctx, p)
}

func (s *callSink) Delete(ctx context.Context, m store.Meta, last informertest.Object, known bool) error {
	if err := s.call("delete %v %v", m, known); err != nil {
		return err
	}
	return s.Store.Delete(ctx, m, last, known)
}

func (s *callSink) Commit(ctx context.Context, version string) error {
	if err := s.call("commit %s", version); err != nil {
		return err
	}
	return s.Store.Commit(ctx, version)
}

func (s *callSink) Abort(p store.Pass, cause error) {
	s.add("abort %d %s: %v", p.Epoch, informer.CauseOf(cause), cause)
	s.Store.Abort(p, cause)
}

func (s *callSink) Progress(ctx context.Context, version string) error {
	if err := s.call("progress %s", version); err != nil {
		return err
	}
	return s.Store.Progress(ctx, version)
}

// run runs a Reflector for a time.
func run(t *testing.T, src informer.Source[informertest.Object], sink store.Sink[informertest.Object], d time.Duration) {
	t.Helper()
	runThen(t, src, sink, d, func(*informer.Reflector[informertest.Object]) {})
}

// runThen runs a Reflector for a time, and meanwhile then.
func runThen(t *testing.T, src informer.Source[informertest.Object], sink store.Sink[informertest.Object], d time.Duration,
	then func(*informer.Reflector[informertest.Object])) {
	t.Helper()
	r, err := informer.NewReflector(informer.Config[informertest.Object]{
		Name: "things", Source: src, Sink: sink,
		// No timeout ends at the moment of an event of the server: the order would be random.
		Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}, PageSize: 5,
			IdleTimeout: 2*time.Minute + 1234567, InitialIdleTimeout: 10*time.Second + 7654321},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	go then(r)
	_ = r.Run(ctx)
}

// Random histories of a server over a bad network are recorded and replayed. The calls of the
// sink are the same.
func TestHistoriesReplayed(t *testing.T) {
	informertest.PlayRounds(t, func(t *testing.T, seed uint64, counts map[string]int) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			m := informertest.NewModel()
			for range rng.IntN(20) {
				m.Mutate(rng)
			}
			client := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 2)), Chaos: true, Streams: rng.IntN(2) == 0}
			if rng.IntN(4) == 0 {
				client.Drops = 10
			}
			blocks := rng.IntN(3) == 0
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					m.Mutate(rng)
					if rng.IntN(20) == 0 {
						m.Compact()
					}
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				}
			}()
			var recording bytes.Buffer
			want := newCallSink(t, blocks)
			run(t, record.NewSource(source.FromListerWatcher[informertest.Object](client, nil), &recording), want, long)

			replay, err := record.NewReplay[informertest.Object](&recording, 1)
			if err != nil {
				t.Fatal(err)
			}
			got := newCallSink(t, blocks)
			run(t, replay, got, long)
			for i := range max(len(got.calls), len(want.calls)) {
				if i >= len(got.calls) || i >= len(want.calls) || got.calls[i] != want.calls[i] {
					t.Fatalf("call %d differs (error %v): got %d calls\n%s\nrecorded were %d\n%s", i, replay.Err(),
						len(got.calls), part(got.calls, i), len(want.calls), part(want.calls, i))
				}
			}
			if replay.Err() != nil {
				t.Error(replay.Err())
			}
			for _, call := range want.calls {
				name, _, _ := strings.Cut(call, " ")
				counts[name]++
			}
		})
	}, "begin", "has", "apply", "delete", "page", "commit", "abort", "progress")
}

// part returns the calls around number i.
func part(calls []string, i int) string {
	return strings.Join(calls[max(0, min(i-3, len(calls))):min(i+3, len(calls))], "\n")
}
