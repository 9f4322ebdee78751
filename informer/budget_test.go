// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

// TestListBudgetHistory: whatever many reflectors go through, no more lists are
// read at a time than their budget allows, all of them get their turn, and no slot
// is lost.
func TestListBudgetHistory(t *testing.T) {
	most := 0
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			concurrent := 1 + rng.IntN(4)
			c := newCrew(t, concurrent, time.Duration(rng.IntN(3))*time.Second)
			var reflectors []*informer.Reflector[informertest.Object]
			for i := range 15 {
				own := rand.New(rand.NewPCG(seed, uint64(i)))
				ctx, cancel := context.WithCancel(c.ctx)
				defer cancel()
				source := &slowSource{name: fmt.Sprint(i), streams: rng.IntN(3) == 0, pages: 1 + rng.IntN(3), lost: make(chan struct{})}
				source.work = func(ctx context.Context) error {
					if err := takes(time.Duration(own.IntN(3000)) * time.Millisecond)(ctx); err != nil {
						return err
					}
					return []error{nil, nil, nil, informertest.ParseError([]string{"500"}), informertest.ParseError([]string{"410"})}[own.IntN(5)]
				}
				time.Sleep(time.Duration(rng.IntN(2)) * time.Second)
				r := c.starts(ctx, source, func(cfg *informer.Config[informertest.Object]) { cfg.InitialSilence = time.Minute })
				reflectors = append(reflectors, r)
				life := time.NewTimer(time.Duration(1+rng.IntN(100)) * time.Second)
				die := rng.IntN(3) == 0
				c.wg.Go(func() {
					defer life.Stop()
					for {
						select {
						case <-life.C:
							if die {
								cancel()
								return
							}
						case source.lost <- struct{}{}:
						case <-ctx.Done():
							return
						}
					}
				})
			}
			for range 50 {
				time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
				reflectors[rng.IntN(len(reflectors))].Resync(errors.New("asked"))
			}
			time.Sleep(10 * time.Minute)
			for _, r := range reflectors {
				if info := r.Info(); info.State != informer.StateIdle && info.Passes == 0 {
					t.Errorf("no pass came about: %+v", info)
				}
			}
			c.traffic.mu.Lock()
			defer c.traffic.mu.Unlock()
			if c.traffic.most > concurrent {
				t.Errorf("%d lists at a time, allowed are %d", c.traffic.most, concurrent)
			}
			most = max(most, c.traffic.most)
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if most < 4 {
		t.Errorf("never more than %d at a time", most)
	}
}

// TestListBudgetQueue: who waits longest is next, page by page; who is stopped
// stops waiting at once and takes nobody's place.
func TestListBudgetQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 0)
		c.starts(c.ctx, &slowSource{name: "long", pages: 3, work: takes(10 * time.Second)}, nil)
		c.uses(1, 0)
		ctx, cancel := context.WithCancel(c.ctx)
		gone := c.starts(ctx, &slowSource{name: "gone"}, nil)
		c.uses(1, 1)
		c.starts(c.ctx, &slowSource{name: "one", work: takes(time.Second)}, nil)
		synctest.Wait()
		c.starts(c.ctx, &slowSource{name: "two", work: takes(time.Second), streams: true}, nil)
		c.uses(1, 3)
		time.Sleep(5 * time.Second)
		if info := gone.Info(); info.State != informer.StateListing || info.Err != nil {
			t.Errorf("one that waits: %+v", info)
		}
		cancel()
		synctest.Wait()
		if state := gone.Info().State; state != informer.StateIdle {
			t.Errorf("one that was stopped: %v", state)
		}
		c.uses(1, 2)
		c.requested("long")
		time.Sleep(time.Minute)
		c.requested("long", "one", "two", "long", "long")
		c.uses(0, 0)
	})
}

// TestListBudgetStopsWhileGranted: a slot that is handed to somebody who is stopped
// at the same moment goes on to the next.
func TestListBudgetStopsWhileGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 0)
		for range 100 {
			first, stop := context.WithCancel(c.ctx)
			c.starts(first, &slowSource{name: "first", work: takes(time.Hour)}, nil)
			c.uses(1, 0)
			second, cancel := context.WithCancel(c.ctx)
			c.starts(second, &slowSource{name: "second"}, nil)
			c.uses(1, 1)
			c.wg.Go(stop)
			c.wg.Go(cancel)
			c.uses(0, 0)
		}
	})
}

// stuckSink blocks in Apply until it is stopped.
type stuckSink struct {
	silentSink
	blocks bool
}

func (s stuckSink) MayBlock() bool { return s.blocks }
func (s stuckSink) Apply(ctx context.Context, _ store.Meta, _ informertest.Object) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestListBudgetStuckSink: a sink that says that it may block, and does, keeps
// nobody from listing. One that does not say so has its slot meanwhile, for a minute
// at most.
func TestListBudgetStuckSink(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		for _, blocks := range []bool{false, true} {
			t.Run(fmt.Sprintf("streamed=%v,blocks=%v", streamed, blocks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCrew(t, 1, 0)
					c.starts(c.ctx, &slowSource{name: "stuck", streams: streamed}, func(cfg *informer.Config[informertest.Object]) {
						cfg.Sink, cfg.Lists = stuckSink{blocks: blocks}, informer.ListStreamed
					})
					synctest.Wait()
					c.starts(c.ctx, &slowSource{name: "other", streams: true}, nil)
					if blocks {
						c.uses(0, 0)
						c.requested("stuck", "other")
						return
					}
					time.Sleep(59 * time.Second)
					c.uses(1, 1)
					c.requested("stuck")
					time.Sleep(2 * time.Second)
					c.uses(0, 0)
					c.requested("stuck", "other")
				})
			})
		}
	}
}

// slowCommits never commits.
type slowCommits struct{ silentSink }

func (slowCommits) Commit(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestListBudgetSlowStream: a streamed pass whose objects come one by one, and never
// fall silent, has its slot for a minute.
func TestListBudgetSlowStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 0)
		c.starts(c.ctx, &slowSource{name: "slow", streams: true, work: takes(40 * time.Second)}, func(cfg *informer.Config[informertest.Object]) {
			cfg.InitialSilence = time.Minute
		})
		synctest.Wait()
		c.starts(c.ctx, &slowSource{name: "other"}, nil)
		time.Sleep(59 * time.Second)
		c.uses(1, 1)
		time.Sleep(2 * time.Second)
		c.uses(0, 0)
		c.requested("slow", "other")
	})
}

// TestListBudgetCommit: no slot is held once everything has been read.
func TestListBudgetCommit(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrew(t, 1, 0)
			c.starts(c.ctx, &slowSource{name: "commits", streams: streamed}, func(cfg *informer.Config[informertest.Object]) { cfg.Sink = slowCommits{} })
			c.uses(0, 0)
		})
	}
}

// TestListBudgetUnanswered: a page that the server does not answer has its slot for
// a minute. Waiting for a slot is not silence of the server.
func TestListBudgetUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 0)
		c.starts(c.ctx, &slowSource{name: "dead", work: takes(24 * time.Hour)}, nil)
		synctest.Wait()
		quick := func(cfg *informer.Config[informertest.Object]) {
			cfg.Silence, cfg.InitialSilence = 5*time.Second, 5*time.Second
			cfg.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				if o, ok := o.(informer.ListFailed); ok && o.Cause != informer.CauseCanceled {
					t.Errorf("a list failed: %v", o.Err)
				}
			})
		}
		c.starts(c.ctx, &slowSource{name: "paged", work: takes(time.Second)}, quick)
		synctest.Wait()
		c.starts(c.ctx, &slowSource{name: "streamed", work: takes(time.Second), streams: true}, quick)
		time.Sleep(59 * time.Second)
		c.uses(1, 2)
		time.Sleep(2*time.Second + time.Millisecond)
		c.requested("dead", "paged", "streamed")
		time.Sleep(3 * time.Second)
		c.uses(0, 0)
	})
}

// TestListBudgetJitter: passes that become necessary at the same moment begin at
// different ones, within the jitter. First passes, and what follows a failure, do
// not wait.
func TestListBudgetJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jitter = time.Minute
		c := newCrew(t, 1000, jitter)
		lost := make(chan struct{})
		var mu sync.Mutex
		begun := map[store.Reason][]time.Duration{}
		for i := range 50 {
			tries := 0
			source := &slowSource{name: fmt.Sprint(i), streams: i%2 == 0, lost: lost, work: func(context.Context) error {
				if tries++; tries == 2 {
					return informertest.ParseError([]string{"422"}) // pages follow, or another attempt
				}
				return nil
			}}
			since := time.Now()
			c.starts(c.ctx, source, func(cfg *informer.Config[informertest.Object]) {
				cfg.Backoff.Initial = time.Second
				if i%3 == 0 {
					cfg.ResumeFrom = "1"
				}
				cfg.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
					switch o := o.(type) {
					case informer.RelistNeeded:
						since = time.Now()
					case informer.ListStarted:
						mu.Lock()
						defer mu.Unlock()
						begun[o.Pass.Reason] = append(begun[o.Pass.Reason], time.Since(since))
					case informer.ListFailed:
						since = time.Now().Add(time.Second)
						if o.Streamed {
							since = time.Now()
						}
					}
				})
			})
		}
		synctest.Wait()
		for range 50 {
			lost <- struct{}{}
		}
		c.uses(0, 0)
		time.Sleep(2 * jitter)
		mu.Lock()
		defer mu.Unlock()
		for _, after := range begun[store.ReasonFirst] {
			if after != 0 {
				t.Errorf("a first pass, or an attempt after a failed one, began after %v", after)
			}
		}
		again, distinct := 0, map[time.Duration]bool{}
		for _, after := range begun[store.ReasonExpired] {
			distinct[after] = true
			if after == 0 {
				again++
			}
			if after < 0 || after >= jitter {
				t.Errorf("a pass began after %v", after)
			}
		}
		if len(distinct) < 40 || again == 0 {
			t.Errorf("50 passes began after %v, %d more at once after a failure", distinct, again)
		}
	})
}

// TestListBudgetJitterEnds: the wait ends when Run does, without a pass; and who
// asks for a pass meanwhile gets the one that follows.
func TestListBudgetJitterEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, 1, 10*time.Hour)
		ctx, cancel := context.WithCancel(c.ctx)
		var passes []store.Reason
		r := c.starts(ctx, &slowSource{name: "x"}, func(cfg *informer.Config[informertest.Object]) {
			cfg.CheckInterval = -1
			cfg.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				if o, ok := o.(informer.ListStarted); ok {
					passes = append(passes, o.Pass.Reason)
				}
			})
		})
		synctest.Wait()
		r.Resync(errors.New("asked"))
		synctest.Wait()
		if info := r.Info(); info.State != informer.StateListing || info.Epoch != 1 {
			t.Errorf("one that waits: %+v", info)
		}
		r.Resync(errors.New("asked meanwhile"))
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		r.Resync(errors.New("asked again"))
		synctest.Wait()
		start := time.Now()
		cancel()
		c.wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("Run ended after %v", took)
		}
		if !slices.Equal(passes, []store.Reason{store.ReasonFirst, store.ReasonAsked}) {
			t.Errorf("passes: %v", passes)
		}
	})
}

// TestListBudgetIsChecked: budgets that make no sense are errors; none at all is
// none.
func TestListBudgetIsChecked(t *testing.T) {
	for _, c := range []struct {
		want       string
		concurrent int
		jitter     time.Duration
	}{{"give at least 1", 0, 0}, {"give a positive duration", 1, -1}} {
		if _, err := informer.NewListBudget(c.concurrent, c.jitter); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("NewListBudget(%d, %v): %v", c.concurrent, c.jitter, err)
		}
	}
	_, err := informer.NewReflector(informer.Config[informertest.Object]{
		Source: &slowSource{}, Sink: silentSink{}, Settings: informer.Settings{ListBudget: &informer.ListBudget{}},
	})
	if err == nil || !strings.Contains(err.Error(), "Settings.ListBudget: it allows no list") {
		t.Errorf("a budget of nothing: %v", err)
	}
	if b := informer.ProcessListBudget(); b == nil || b != informer.ProcessListBudget() {
		t.Error("the budget of the process is another one each time")
	}
	var none *informer.ListBudget
	if used, waiting := none.InUse(); used != 0 || waiting != 0 {
		t.Errorf("no budget has %d slots in use, %d lists wait", used, waiting)
	}
}
