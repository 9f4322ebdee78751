// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// moodyClient reads a model, as far as it is allowed to: lists and watches fail as
// told, nil being well.
type moodyClient struct {
	*informertest.ModelClient

	mu                sync.Mutex
	listErr, watchErr error
	lists, tries      int
	cut               context.CancelFunc // of the last watch
}

func (c *moodyClient) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	c.mu.Lock()
	err := c.listErr
	if opts.Continue == "" {
		c.lists++
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.ModelClient.ListWithContext(ctx, opts)
}

func (c *moodyClient) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	if c.watchErr != nil {
		return nil, c.watchErr
	}
	w, err := c.ModelClient.WatchWithContext(ctx, opts)
	if err == nil {
		c.cut = w.Stop
	}
	return w, err
}

// counts returns how many lists and watches were asked for since it was last called.
func (c *moodyClient) counts() (lists, tries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lists, tries = c.lists, c.tries
	c.lists, c.tries = 0, 0
	return lists, tries
}

func (c *moodyClient) allow(list, watch error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listErr, c.watchErr = list, watch
}

// hangUp ends the watch that is open.
func (c *moodyClient) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut != nil {
		c.cut()
	}
}

// TestPollModel plays random rights, failures and changes. Whatever they were, once
// lists are allowed the store soon has the collection; it does so by polling, at
// the price that is told, if the watch is refused, and by watching if it is not.
func TestPollModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 40).Draw(rt, "steps")
		var failed error
		synctest.Test(t, func(t *testing.T) { failed = playMoods(seed, steps) })
		if failed != nil {
			rt.Fatal(failed)
		}
	})
}

// playMoods plays the steps, and settles after them.
func playMoods(seed uint64, steps []int) (failed error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &moodyClient{ModelClient: &informertest.ModelClient{M: informertest.NewModel(), Streams: true}}
	s, err := store.New(store.Config[informertest.Object]{})
	if err != nil {
		return err
	}
	r, err := informer.NewReflector(informer.Config[informertest.Object]{
		Source: source.FromListerWatcher[informertest.Object](c, nil), Sink: s, Settings: informer.Settings{PageSize: 3, Backoff: informer.Backoff{Jitter: -1}},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
		if failed == nil && len(c.Unlimited) > 0 {
			failed = fmt.Errorf("lists without a limit: %v", c.Unlimited)
		}
	}()
	w := &moodyWorld{rng: rng, client: c, store: s, r: r}
	for i, step := range append(steps, settle) {
		if err := w.step(step); err != nil {
			return fmt.Errorf("step %d (%d): %w", i, step, err)
		}
	}
	return nil
}

// moodyWorld is a Reflector of a moodyClient, and the store that it fills.
type moodyWorld struct {
	rng               *rand.Rand
	client            *moodyClient
	store             *store.Store[informertest.Object]
	r                 *informer.Reflector[informertest.Object]
	listErr, watchErr error
}

const settle = 9

func (w *moodyWorld) step(step int) error {
	oneOf := func(kinds ...string) error {
		if i := w.rng.IntN(len(kinds) + 1); i < len(kinds) {
			return informertest.ParseError(kinds[i : i+1])
		}
		return nil
	}
	switch step {
	case 0, 1:
		w.client.M.Mutate(w.rng)
	case 2, 3:
		w.watchErr = oneOf("403", "404", "405", "500")
	case 4:
		w.listErr = oneOf("403", "404", "500")
	case 5:
		w.client.hangUp()
	case 6:
		w.r.Resync(nil)
	case 7:
		time.Sleep(time.Duration(w.rng.IntN(90)) * time.Second)
	case 8:
		w.client.M.Compact()
	case settle:
		w.listErr = nil
		if w.watchErr != nil && informer.CauseOf(w.watchErr) == informer.CauseServer {
			w.watchErr = nil
		}
		w.client.allow(nil, w.watchErr)
		w.client.hangUp()
		return w.settled()
	}
	w.client.allow(w.listErr, w.watchErr)
	return nil
}

// settled checks what there is when nothing has changed for a while, and then, if
// it polls, what comes of it when the watch is allowed.
func (w *moodyWorld) settled() error {
	time.Sleep(5*time.Minute + 333*time.Millisecond) // at a time when nothing else happens
	if w.watchErr != nil {
		if err := w.polls(); err != nil {
			return err
		}
		w.watchErr = nil
		w.client.allow(nil, nil)
		w.client.counts()
		time.Sleep(31 * time.Second)
		if lists, tries := w.client.counts(); lists != 0 || tries != 1 {
			return fmt.Errorf("the watch is allowed: %d lists, %d watches", lists, tries)
		}
	}
	w.client.M.Mutate(w.rng)
	synctest.Wait()
	return w.is(informer.StateWatching, false)
}

// polls checks how it polls.
func (w *moodyWorld) polls() error {
	if err := w.is(informer.StatePolling, true); err != nil {
		return err
	}
	w.client.counts()
	for range 10 {
		w.client.M.Mutate(w.rng)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if err := w.is(informer.StatePolling, true); err != nil {
			return err
		}
	}
	if lists, tries := w.client.counts(); lists != 10 || tries != 10 {
		return fmt.Errorf("ten intervals of polling: %d lists, %d watches", lists, tries)
	}
	return nil
}

// is compares the Reflector and the store with what they should be.
func (w *moodyWorld) is(want informer.State, polls bool) error {
	info := w.r.Info()
	if info.State != want || info.Err != nil || (info.Polling != nil) != polls {
		return fmt.Errorf("want it %s, it is %+v", want, info)
	}
	got := informertest.State{}
	for _, obj := range w.store.List() {
		got[obj.Name] = fmt.Sprintf("%s@%s", obj.UID, obj.ResourceVersion)
	}
	if _, there := w.client.M.Now(); !maps.Equal(got, there) {
		return fmt.Errorf("%s: the store has %v, the server %v", want, got, there)
	}
	return nil
}
