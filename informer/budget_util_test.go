// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

// traffic is what the lists of several sources have in common.
type traffic struct {
	mu    sync.Mutex
	now   int      // lists being read
	most  int      // of these at a time
	begun []string // names of sources, one for each request, in order
}

func (f *traffic) begin(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	f.most = max(f.most, f.now)
	f.begun = append(f.begun, name)
}

func (f *traffic) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now--
}

func (f *traffic) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.begun)
}

// slowSource has two objects. Each page, and the initial events of a watch, take
// as long as work does. It counts what is read at the same time, up to the last object of a
// page, and so stays below the client that fakeapi needs.
type slowSource struct {
	name    string
	traffic *traffic
	streams bool
	pages   int
	work    func(ctx context.Context) error // nil: nothing
	lost    chan struct{}                   // a value ends the watch: its version is gone
}

func (s *slowSource) WatchList() bool { return s.streams }

func (s *slowSource) wait(ctx context.Context) error {
	if s.work == nil {
		return nil
	}
	return s.work(ctx)
}

func (s *slowSource) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[informertest.Object]) error) (informer.Page, error) {
	s.traffic.begin(s.name)
	done := sync.OnceFunc(s.traffic.end)
	defer done()
	if err := s.wait(ctx); err != nil {
		return informer.Page{}, err
	}
	for _, name := range []string{"a", "b"} {
		done() // a sink that may block is not counted
		if err := yield(plainItem{informertest.ParseObject(name + opts.Continue + "@1")}); err != nil {
			return informer.Page{}, err
		}
	}
	page := informer.Page{Version: "1", Continue: opts.Continue + "x"}
	if len(page.Continue) >= s.pages {
		page.Continue = ""
	}
	return page, nil
}

func (s *slowSource) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[informertest.Object], error) {
	stream := &slowStream{s: s, ctx: ctx, stopped: make(chan struct{}), done: func() {}}
	if opts.SendInitialEvents != nil {
		s.traffic.begin(s.name)
		stream.done = sync.OnceFunc(s.traffic.end)
		stream.initial = []string{"a", "b", ""}
	}
	return stream, nil
}

type slowStream struct {
	s       *slowSource
	ctx     context.Context
	initial []string
	done    func()
	once    sync.Once
	stopped chan struct{}
}

func (w *slowStream) Stop() {
	w.once.Do(func() { close(w.stopped) })
	w.done()
}

func (w *slowStream) Next() (informer.WatchEvent[informertest.Object], error) {
	if len(w.initial) > 0 {
		name := w.initial[0]
		w.initial = w.initial[1:]
		if name == "" {
			w.done()
			return informer.WatchEvent[informertest.Object]{Type: watch.Bookmark, Version: "1", InitialEventsEnd: true}, nil
		}
		if err := w.s.wait(w.ctx); err != nil {
			return informer.WatchEvent[informertest.Object]{}, err
		}
		return informer.WatchEvent[informertest.Object]{Type: watch.Added, Item: plainItem{informertest.ParseObject(name + "@1")}, Version: "1"}, nil
	}
	select {
	case <-w.s.lost:
		return informer.WatchEvent[informertest.Object]{}, informertest.ParseError([]string{"410"})
	case <-w.stopped:
		return informer.WatchEvent[informertest.Object]{}, io.EOF
	case <-w.ctx.Done():
		return informer.WatchEvent[informertest.Object]{}, context.Cause(w.ctx)
	}
}

// takes is work that takes its time, and heeds its context.
func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// silentSink accepts everything and holds nothing.
type silentSink struct{ store.SinkDefaults }

func (silentSink) Begin(context.Context, store.Pass) error                             { return nil }
func (silentSink) Apply(context.Context, store.Meta, informertest.Object) error        { return nil }
func (silentSink) Delete(context.Context, store.Meta, informertest.Object, bool) error { return nil }
func (silentSink) Commit(context.Context, string) error                                { return nil }
func (silentSink) Abort(store.Pass, error)                                             {}

// crew is a number of reflectors with one budget, in the bubble of a test.
type crew struct {
	t       *testing.T
	budget  *informer.ListBudget
	start   time.Time
	traffic traffic
	wg      sync.WaitGroup
	ctx     context.Context
}

func newCrew(t *testing.T, concurrent int, jitter time.Duration) *crew {
	t.Helper()
	budget, err := informer.NewListBudget(concurrent, jitter)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &crew{t: t, budget: budget, start: time.Now(), ctx: ctx}
	t.Cleanup(func() {
		cancel()
		c.wg.Wait()
		if used, waiting := budget.InUse(); used != 0 || waiting != 0 {
			t.Errorf("at the end %d slots are in use, %d lists wait", used, waiting)
		}
	})
	return c
}

// starts makes a reflector and runs it.
func (c *crew) starts(ctx context.Context, source *slowSource, set func(*informer.Config[informertest.Object])) *informer.Reflector[informertest.Object] {
	c.t.Helper()
	source.traffic = &c.traffic
	cfg := informer.Config[informertest.Object]{
		Name: source.name, Source: source, Sink: silentSink{}, Settings: informer.Settings{ListBudget: c.budget, Backoff: informer.Backoff{Jitter: -1}},
	}
	if set != nil {
		set(&cfg)
	}
	r, err := informer.NewReflector(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.wg.Go(func() { _ = r.Run(ctx) })
	return r
}

// uses checks what InUse says, once all is still.
func (c *crew) uses(used, waiting int) {
	c.t.Helper()
	synctest.Wait()
	if u, w := c.budget.InUse(); u != used || w != waiting {
		c.t.Errorf("after %v: %d slots are in use, %d lists wait; want %d, %d", time.Since(c.start), u, w, used, waiting)
	}
}

func (c *crew) requested(want ...string) {
	c.t.Helper()
	synctest.Wait()
	if got := c.traffic.requests(); !slices.Equal(got, want) {
		c.t.Errorf("after %v: requests %v, want %v", time.Since(c.start), got, want)
	}
}
