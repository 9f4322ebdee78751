// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
	"github.com/apiary-go/apiary/store/poller"
)

// pollRound is one poll of a history: the collection as it is then, and what goes
// wrong.
type pollRound struct {
	jobs    map[string]int
	version string
	get     bool // fails
	after   int  // the iterator fails after so many objects; -1: it does not
	sink    int  // the sink fails at the so-manieth object; -1: it does not
}

// pollHistory plays rounds to a Poller, each time that it polls. Everything runs on
// one goroutine.
type pollHistory struct {
	*store.Store[storetest.Job]
	*poller.Poller[storetest.Job]
	t        *rapid.T
	rounds   []pollRound
	polled   int
	now      *pollRound
	broken   bool // the poll that is under way has failed
	failures uint64
	told     map[string]int // what the changes make up
	stop     context.CancelFunc
}

// get checks what became of the poll before, and plays the next one.
func (h *pollHistory) get(ctx context.Context) (poller.Enumerator[storetest.Job], error) {
	if h.now != nil {
		h.check()
	}
	if h.polled == len(h.rounds) {
		h.stop()
		return poller.Enumerator[storetest.Job]{}, ctx.Err()
	}
	h.now = &h.rounds[h.polled]
	h.polled++
	h.broken = h.now.get
	if h.now.get {
		return poller.Enumerator[storetest.Job]{}, storetest.ErrJob
	}
	return poller.Enumerator[storetest.Job]{Version: h.now.version, Objects: h.objects}, nil
}

func (h *pollHistory) objects(yield func(storetest.Job, error) bool) {
	n := 0
	for name, state := range h.now.jobs {
		if n == h.now.after {
			break
		}
		if n++; !yield(storetest.NewJob(name, state), nil) {
			return
		}
	}
	if h.now.after >= 0 {
		h.broken = true
		yield(storetest.Job{}, storetest.ErrJob)
	}
}

// Apply fails at times.
func (h *pollHistory) Apply(ctx context.Context, meta store.Meta, j storetest.Job) error {
	if h.now.sink == 0 {
		h.broken = true
		return storetest.ErrJob
	}
	h.now.sink--
	return h.Store.Apply(ctx, meta, j)
}

// change checks that each change is a real change, and is reported once.
func (h *pollHistory) change(c store.Change[storetest.Job]) {
	name := c.Meta.Key.Name
	state, there := h.now.jobs[name]
	switch {
	case c.Kind == store.Deleted:
		if there || h.broken {
			h.t.Fatalf("deleted %s in round %+v", name, *h.now)
		}
		delete(h.told, name)
	case h.told[name] == c.New.N || c.New.N != state:
		h.t.Fatalf("%s %v in round %+v, after %d was told", c.Kind, c.New, *h.now, h.told[name])
	default:
		h.told[name] = c.New.N
	}
}

// check checks the store and the figures after a poll.
func (h *pollHistory) check() {
	info := h.Info()
	if h.broken {
		h.failures++
	}
	if info.Failures != h.failures || (info.Err != nil) != h.broken || info.Polls != uint64(h.polled)+1 {
		h.t.Fatalf("failed: %t, %d failures, info %+v", h.broken, h.failures, info)
	}
	if info.Passes+info.Unchanged+info.Failures != uint64(h.polled) {
		h.t.Fatalf("info %+v", info)
	}
	states := map[string]int{}
	for _, j := range h.List() {
		states[j.Name] = j.N
	}
	if !maps.Equal(states, h.told) {
		h.t.Fatalf("the store has %v, and told %v", states, h.told)
	}
	if h.broken {
		return
	}
	if !maps.Equal(states, h.now.jobs) || info.Objects != len(h.now.jobs) || info.Version != h.now.version {
		h.t.Fatalf("the store has %v, info %+v, round %+v", states, info, *h.now)
	}
}

// TestPollerModel plays random histories of a collection, with failures of all
// kinds. After each poll that succeeded the store must be as the collection was.
func TestPollerModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, playPolls)
	})
}

func playPolls(t *rapid.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &pollHistory{t: t, rounds: drawRounds(t), told: map[string]int{}, stop: cancel}
	var err error
	if h.Store, err = store.New(store.Config[storetest.Job]{OnChange: h.change}); err != nil {
		t.Fatal(err)
	}
	if h.Poller, err = poller.New(poller.Config[storetest.Job]{Get: h.get, Key: storetest.JobKey, Sink: h}); err != nil {
		t.Fatal(err)
	}
	if err := h.Run(ctx); !errors.Is(err, context.Canceled) || h.polled != len(h.rounds) {
		t.Fatalf("ended after %d rounds: %v", h.polled, err)
	}
}

// drawRounds draws a history. Its versions are equal where states are, or empty.
func drawRounds(t *rapid.T) []pollRound {
	rounds := make([]pollRound, rapid.IntRange(1, 20).Draw(t, "rounds"))
	versioned := rapid.Bool().Draw(t, "versioned")
	trouble := func(name string) int { return rapid.SampledFrom([]int{-1, -1, -1, -1, 0, 1, 2}).Draw(t, name) }
	jobs := map[string]int{}
	for i := range rounds {
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			name := rapid.SampledFrom(storetest.JobNames).Draw(t, "name")
			if state := rapid.IntRange(0, 3).Draw(t, "state"); state == 0 {
				delete(jobs, name)
			} else {
				jobs[name] = state
			}
		}
		rounds[i] = pollRound{
			jobs: maps.Clone(jobs), get: rapid.IntRange(0, 5).Draw(t, "get") == 5,
			after: trouble("after"), sink: trouble("sink"),
		}
		if versioned {
			for _, name := range slices.Sorted(maps.Keys(jobs)) {
				rounds[i].version += fmt.Sprint(name, jobs[name])
			}
			rounds[i].version += "!" // none is empty
		}
	}
	return rounds
}
