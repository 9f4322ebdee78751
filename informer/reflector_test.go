// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// TestConfigIsChecked: every setting that makes no sense is an error that names
// it; defaults are useful.
func TestConfigIsChecked(t *testing.T) {
	good := func() informer.Config[informertest.Object] {
		return informer.Config[informertest.Object]{
			Source: source.FromListerWatcher[informertest.Object](&informertest.ScriptedServer{}, nil),
			Sink:   informertest.NewChanSink[informertest.Object](),
		}
	}
	if _, err := informer.NewReflector(good()); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for want, spoil := range map[string]func(*informer.Config[informertest.Object]){
		"Config.Source is nil": func(c *informer.Config[informertest.Object]) { c.Source = nil },
		"no ListerWatcher": func(c *informer.Config[informertest.Object]) {
			c.Source = source.FromListerWatcher[informertest.Object](nil, nil)
		},
		"was given no ListerWatcher": func(c *informer.Config[informertest.Object]) {
			c.Source = source.FromListerWatcher[informertest.Object]((*cache.ListWatch)(nil), nil)
		},
		"Config.Sink is nil": func(c *informer.Config[informertest.Object]) {
			c.Sink = (*informertest.ChanSink[informertest.Object])(nil)
		},
		"Settings.PageSize is -1":        func(c *informer.Config[informertest.Object]) { c.PageSize = -1 },
		"Settings.Lists is 7":            func(c *informer.Config[informertest.Object]) { c.Lists = 7 },
		"Settings.InitialIdleTimeout is": func(c *informer.Config[informertest.Object]) { c.InitialIdleTimeout = -time.Second },
		"Settings.Backoff.Initial is":    func(c *informer.Config[informertest.Object]) { c.Backoff.Initial = -1 },
		"Settings.Backoff.Max (1s) is": func(c *informer.Config[informertest.Object]) {
			c.Backoff = informer.Backoff{Initial: time.Minute, Max: time.Second}
		},
		"Settings.Backoff.Jitter must":  func(c *informer.Config[informertest.Object]) { c.Backoff.Jitter = math.NaN() },
		"Settings.Backoff.Denied is -1": func(c *informer.Config[informertest.Object]) { c.Backoff.Denied = -1 },
		"Settings.MaxInternalErrorRetryDuration is 24h0m1s": func(c *informer.Config[informertest.Object]) {
			c.MaxInternalErrorRetryDuration = 24*time.Hour + time.Second
		},
		"Settings.CheckMetadata is set":      func(c *informer.Config[informertest.Object]) { c.CheckMetadata = true },
		"Settings.CheckInterval is 48h":      func(c *informer.Config[informertest.Object]) { c.CheckInterval = 48 * time.Hour },
		"Settings.ResyncInterval is 59s":     func(c *informer.Config[informertest.Object]) { c.ResyncInterval = 59 * time.Second },
		"Settings.ResyncInterval is -1s":     func(c *informer.Config[informertest.Object]) { c.ResyncInterval = -time.Second },
		"Settings.ResyncInterval is 24h0m1s": func(c *informer.Config[informertest.Object]) { c.ResyncInterval = 24*time.Hour + time.Second },
	} {
		cfg := good()
		spoil(&cfg)
		_, err := informer.NewReflector(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
		if err != nil && !strings.Contains(err.Error(), "PartialObjectMetadata") {
			t.Errorf("the error does not say which reflector: %v", err)
		}
	}
}

// TestRunIsOnce: a second Run is an error and does nothing.
func TestRunIsOnce(t *testing.T) {
	r, err := informer.NewReflector(informer.Config[informertest.Object]{
		Source: source.FromListerWatcher[informertest.Object](&informertest.ScriptedServer{Log: t.Logf}, nil), Sink: informertest.NewChanSink[informertest.Object](),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if err := r.Run(ctx); err != why {
		t.Errorf("Run returned %v", err)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("a second Run works")
	}
}

// stubbornLister ignores contexts, which clients of fakeapi do not.
type stubbornLister struct {
	release chan struct{}
	watch   *watch.FakeWatcher
	lists   bool // answers lists
}

func (s *stubbornLister) List(metav1.ListOptions) (runtime.Object, error) {
	if !s.lists {
		<-s.release
	}
	return &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
}

func (s *stubbornLister) Watch(metav1.ListOptions) (watch.Interface, error) {
	<-s.release
	return s.watch, nil
}

func (s *stubbornLister) IsWatchListSemanticsUnSupported() bool { return true }

// TestStubbornLister: a list or a watch that ignores its context does not hold
// up the end of Run for more than a moment; a watch that comes too late is
// stopped.
func TestStubbornLister(t *testing.T) {
	for _, lists := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			lw := &stubbornLister{release: make(chan struct{}), watch: watch.NewFake(), lists: lists}
			r, err := informer.NewReflector(informer.Config[informertest.Object]{
				Source: source.FromListerWatcher[informertest.Object](lw, nil), Sink: informertest.NewChanSink[informertest.Object](),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			_ = r.Run(ctx)
			if over := time.Since(start) - time.Minute; over > time.Second {
				t.Errorf("Run took %v to return", over)
			}
			close(lw.release)
			synctest.Wait()
			if lists && !lw.watch.IsStopped() {
				t.Error("the late watch was not stopped")
			}
		})
	}
}

// deafWatch never closes its channel.
type deafWatch struct{ events chan watch.Event }

func (d deafWatch) Stop()                          {}
func (d deafWatch) ResultChan() <-chan watch.Event { return d.events }

// TestDeafWatch: a watch that does not close its channel when stopped does not
// hold up Stop for long, and Next returns although nothing comes.
func TestDeafWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := source.FromListerWatcher[informertest.Object](&cache.ListWatch{
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
				return deafWatch{make(chan watch.Event)}, nil
			},
		}, nil)
		stream, err := source.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := stream.Next()
			ended <- err
		}()
		start := time.Now()
		stream.Stop()
		stream.Stop()
		if err := <-ended; err == nil {
			t.Error("Next returned without an error")
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("Stop took %v", took)
		}
	})
}

// TestInfo follows what Info says through a failure and back.
func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true, Replies: []informertest.Reply{
			{Verb: "list", Words: []string{"error", "403"}},
			{Verb: "list", Words: []string{"rv=5", "a@1"}},
			{Verb: "watch", Lines: []string{"after 1m", "bookmark 9"}},
		}}
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Name: "pods", Source: source.FromListerWatcher[informertest.Object](server, nil), Sink: informertest.NewChanSink[informertest.Object](),
			Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if info := r.Info(); info.State != informer.StateIdle || info.Name != "pods" || !info.Contact.IsZero() {
			t.Errorf("before Run: %+v", info)
		}
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(time.Second)
		if info := r.Info(); info.State != informer.StateBackingOff || info.Cause != informer.CauseForbidden || info.Err == nil || info.Epoch != 1 {
			t.Errorf("forbidden: %+v", info)
		}
		time.Sleep(30 * time.Second)
		if info := r.Info(); info.State != informer.StateWatching || info.Err != nil || info.Version != "5" || info.Epoch != 2 || info.Passes != 1 {
			t.Errorf("watching: %+v", info)
		}
		time.Sleep(time.Minute)
		if info := r.Info(); info.Version != "9" || info.Contact.Sub(start) != 65*time.Second {
			t.Errorf("after a bookmark: %+v, contact after %v", info, info.Contact.Sub(start))
		}
		cancel()
		<-ended
		if info := r.Info(); info.State != informer.StateIdle || info.Version != "9" {
			t.Errorf("after Run: %+v", info)
		}
	})
}

// TestResyncInABurst: many requests before the pass begins are one pass.
func TestResyncInABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := informertest.NewModel()
		c := &informertest.ModelClient{M: m, Streams: true}
		var reasons []store.Reason
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Source: source.FromListerWatcher[informertest.Object](c, nil), Sink: informertest.NewChanSink[informertest.Object](),
			Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
				if o, ok := o.(informer.ListStarted); ok {
					reasons = append(reasons, o.Pass.Reason)
				}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		r.Resync(errors.New("before Run: the first pass will do"))
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait()
		for range 10 {
			r.Resync(errors.New("why"))
		}
		synctest.Wait()
		cancel()
		<-ended
		if len(reasons) < 2 || len(reasons) > 3 || reasons[0] != store.ReasonFirst || reasons[1] != store.ReasonResync {
			t.Errorf("passes: %v", reasons)
		}
	})
}

// TestLogObserver: a failure that lasts is a handful of warnings, with advice.
func TestLogObserver(t *testing.T) {
	var out bytes.Buffer
	log := informer.LogObserver(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	forbidden := informertest.ParseError([]string{"403"})
	for i := 1; i <= 100; i++ {
		log.Observe(informer.ReflectorInfo{Name: "pods"}, informer.ListFailed{Cause: informer.CauseForbidden, Err: forbidden})
		log.Observe(informer.ReflectorInfo{Name: "pods"}, informer.BackingOff{Failure: i, Repeated: i - 1, Cause: informer.CauseForbidden, Err: forbidden})
	}
	if n := strings.Count(out.String(), "\n"); n != 7 {
		t.Errorf("%d lines for 100 failures:\n%s", n, out.String())
	}
	if !strings.Contains(out.String(), "grant the client's identity the verbs list and watch") {
		t.Errorf("no advice:\n%s", out.String())
	}
	out.Reset()
	log.Observe(informer.ReflectorInfo{Err: forbidden}, informer.WatchOpened{})
	log.Observe(informer.ReflectorInfo{}, informer.Recovered{Failures: 100, After: time.Hour, Cause: informer.CauseForbidden})
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("recovery:\n%s", out.String())
	}
	informer.LogObserver(nil).Observe(informer.ReflectorInfo{}, informer.ListStarted{})
}

type plainItem struct{ obj informertest.Object }

func (i plainItem) Meta() store.Meta                     { return store.MetaOf(i.obj) }
func (i plainItem) Decode() (informertest.Object, error) { return i.obj, nil }

// endingSink ends a context at the first object.
type endingSink struct {
	*store.Store[informertest.Object]
	end       func()
	committed bool
}

func (s *endingSink) Apply(ctx context.Context, m store.Meta, obj informertest.Object) error {
	defer s.end()
	return s.Store.Apply(ctx, m, obj)
}

func (s *endingSink) Commit(ctx context.Context, version string) error {
	s.committed = true
	return s.Store.Commit(ctx, version)
}

// TestEndWithinCarelessList: a pass in the middle of which the context ended is
// not committed, even if the source makes a whole page of it.
func TestEndWithinCarelessList(t *testing.T) {
	objects, err := store.New(store.Config[informertest.Object]{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	sink := &endingSink{Store: objects, end: func() { cancel(why) }}
	var failed error
	r, err := informer.NewReflector(informer.Config[informertest.Object]{
		Source: informertest.CarelessSource{Items: func() []informer.Item[informertest.Object] {
			return []informer.Item[informertest.Object]{plainItem{informertest.ParseObject("a@1")}, plainItem{informertest.ParseObject("b@1")}}
		}},
		Sink: sink,
		Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
			if o, ok := o.(informer.ListFailed); ok {
				failed = o.Err
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(ctx); err != why {
		t.Errorf("Run returned %v", err)
	}
	if sink.committed {
		t.Error("a pass that lacks an object was committed")
	}
	if !errors.Is(failed, why) {
		t.Errorf("the list failed with %v", failed)
	}
}
