// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/internal/logtest"
	"github.com/apiary-go/apiary/status"
)

// cycle is more than one PollInterval of 5 s, and less than two.
const cycle = 5500 * time.Millisecond

func engine(c *cluster) *status.PollerEngine { return &status.PollerEngine{Reader: c, Mapper: c} }

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := replicaSet("shop", "web", 1, 0)
		c := newCluster(rs, configMap("shop", "config"))
		missing := status.ID{Namespace: "shop", Name: "missing", GroupKind: configMaps}
		p := start(t, engine(c), status.Options{}, append(idsOf(rs, configMap("shop", "config"), rs), missing)...)
		if last := p.events[len(p.events)-1]; last.Type != status.Synced {
			t.Errorf("the last event is %v, want Synced", last)
		}
		p.want(0, "config Current", "missing NotFound", "web InProgress", "synced")
		p.want(3 * cycle)

		t.Log("what no rule reads is no news")
		noted := rs.DeepCopy()
		noted.SetAnnotations(map[string]string{"note": "1"})
		c.put(noted)
		p.want(2 * cycle)

		t.Log("a status, a generation, an object that appears")
		c.put(replicaSet("shop", "web", 1, 1))
		p.want(cycle, "web Current")
		changed := replicaSet("shop", "web", 1, 1)
		changed.SetGeneration(2)
		_ = unstructured.SetNestedField(changed.Object, int64(2), "status", "observedGeneration")
		c.put(changed)
		c.put(configMap("shop", "missing"))
		p.want(cycle, "missing Current", "web Current")
		if p.closed {
			t.Error("closed")
		}
	})
}

// After canceling, the caller need not drain the channel: a goroutine that is left
// would keep the bubble from ending.
func TestPollAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []status.ID
		for i := range 20 {
			ids = append(ids, status.ID{Namespace: "shop", Name: fmt.Sprint(i), GroupKind: configMaps})
		}
		for i := range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			events := engine(newCluster()).Poll(ctx, ids, status.Options{})
			for range i % 22 { // 20 objects and Synced
				<-events
			}
			cancel()
		}
	})
}

func TestPollClosesWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := engine(newCluster(configMap("a", "b"))).Poll(ctx, idsOf(configMap("a", "b")), status.Options{})
		<-events
		<-events
		cancel()
		if ev, ok := <-events; ok {
			t.Errorf("got %v", ev)
		}
	})
}

func TestPollOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, engine(newCluster()), status.Options{})
		p.want(0, "synced")
		if !p.closed {
			t.Error("not closed")
		}
	})
}

// What is wrong with the use is one Error, and nothing is requested.
func TestPollBadUse(t *testing.T) {
	ids := idsOf(configMap("a", "b"))
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		ids  []status.ID
		opts status.Options
		edit func(*status.PollerEngine)
		want string
	}{
		{"interval", ids, status.Options{PollInterval: -1}, nil, "Options.PollInterval is -1ns"},
		{"concurrency", ids, status.Options{Concurrency: -1}, nil, "Options.Concurrency is -1"},
		{"timeout", ids, status.Options{Timeout: -1}, nil, "Options.Timeout is -1ns"},
		{"no mapper", ids, status.Options{}, func(e *status.PollerEngine) { e.Mapper = nil }, "the Mapper is nil"},
		{"no reader", ids, status.Options{}, func(e *status.PollerEngine) { e.Reader = nil }, "the Reader is nil"},
		{"no reader, directly", ids, status.Options{}, func(e *status.PollerEngine) {
			e.Reader, e.ClusterReaderFactory = nil, status.ClusterReaderFactoryFunc(status.NewDirectReader)
		}, "the Reader is nil"},
		{"no name", []status.ID{{Namespace: "a", GroupKind: configMaps}}, status.Options{}, nil, "ConfigMap"},
		{"factory", ids, status.Options{}, func(e *status.PollerEngine) {
			e.ClusterReaderFactory = status.ClusterReaderFactoryFunc(func(status.Reader, meta.RESTMapper, []status.ID) (status.ClusterReader, error) {
				return nil, boom
			})
		}, "making the ClusterReader: boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newCluster()
				e := engine(server)
				if c.edit != nil {
					c.edit(e)
				}
				p := start(t, e, c.opts, c.ids...)
				if len(p.events) != 1 || p.events[0].Type != status.Error || !strings.Contains(p.events[0].Err.Error(), c.want) || !p.closed {
					t.Errorf("got %v, closed %v; want %q", p.events, p.closed, c.want)
				}
				if c.name == "factory" && !errors.Is(p.events[0].Err, boom) {
					t.Error("the error is not wrapped")
				}
				if gets, lists := server.requests(); gets+lists > 0 {
					t.Error("something was requested")
				}
			})
		})
	}
}

// A namespace that the kind has no use for is no matter; one that is missing is that of
// one object.
func TestPollNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(object(nodes, "", "n1", nil), configMap("shop", "config"))
		p := start(t, engine(c), status.Options{},
			status.ID{Namespace: "shop", Name: "n1", GroupKind: nodes},
			status.ID{Name: "lost", GroupKind: configMaps},
			status.ID{Namespace: "shop", Name: "config", GroupKind: configMaps})
		for _, ev := range p.events {
			if ev.Resource.ID.Name == "n1" && ev.Resource.ID.Namespace != "shop" {
				t.Errorf("reported as %v", ev.Resource.ID)
			}
		}
		p.want(0, "config Current", "lost Unknown InvalidID", "n1 Current", "synced")
		p.want(3 * cycle)
	})
}

// An object that was deleted and created again between two reads is NotFound first.
func TestPollCreatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := configMap("a", "b")
		first.SetUID("1")
		c := newCluster(first)
		p := start(t, engine(c), status.Options{}, idsOf(first)...)
		p.want(0, "b Current", "synced")
		second := configMap("a", "b")
		second.SetUID("2")
		c.put(second)
		time.Sleep(cycle)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if e := p.events; len(e) != 2 || e[0].Resource.Status != status.NotFound || e[1].Resource.Object.GetUID() != "2" {
			t.Errorf("got %v", e)
		}
	})
}

// A kind whose reads hang delays no other, and has a status after the timeout.
func TestPollSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("shop", "config"), object(nodes, "", "n1", nil))
		var hang atomic.Bool
		hang.Store(true)
		c.stall = func(ctx context.Context, verb, kind string) error {
			if kind == "Node" && hang.Load() {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		ids := idsOf(configMap("shop", "config"))
		for i := range 20 { // more than are read at once
			ids = append(ids, status.ID{Name: fmt.Sprint("n", i), GroupKind: nodes})
		}
		p := start(t, engine(c), status.Options{Timeout: 20 * time.Second, Concurrency: 2}, ids...)
		p.want(0, "config Current")
		c.mu.Lock()
		c.objects[configMaps][0].SetGeneration(7)
		c.mu.Unlock()
		p.want(cycle, "config Current")
		if got := p.after(20 * time.Second); len(got) < 2 || !strings.HasSuffix(got[0], " Unknown Transient") {
			t.Errorf("after the timeout: %q", got)
		}
		hang.Store(false)
		if got := strings.Join(p.after(2*time.Minute), "\n"); !strings.Contains(got, "n1 Current") || !strings.Contains(got, "n2 NotFound") || !strings.HasSuffix(got, "synced") {
			t.Errorf("when it answers again: %s", got)
		}
	})
}

// A kind that is installed later is found, without a mapper that renews itself.
func TestPollKindInstalledLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("shop", "config"))
		p := start(t, engine(c), status.Options{},
			status.ID{Namespace: "shop", Name: "config", GroupKind: configMaps},
			status.ID{Namespace: "shop", Name: "w", GroupKind: widgets})
		p.want(0, "config Current", "w Unknown KindNotInstalled", "synced")
		if got := status.Aggregate([]status.ObjectStatus{{Status: status.Unknown, Reason: status.KindNotInstalled}}, status.NotFound); got != status.NotFound {
			t.Errorf("a wait for NotFound gets %s", got)
		}
		c.Add(widgets.WithVersion("v1"), meta.RESTScopeNamespace)
		c.put(object(widgets, "shop", "w", nil))
		p.want(cycle, "w Current")
	})
}

// resettable is a cluster whose mapper can be reset.
type resettable struct{ *cluster }

func (resettable) Reset() {}

// Many objects of a kind that is not installed do not wait for one another.
func TestPollManyOfKindNotInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(newCluster())
		e.Mapper = resettable{newCluster()}
		var ids []status.ID
		for i := range 100 {
			ids = append(ids, status.ID{Namespace: "shop", Name: fmt.Sprint(i), GroupKind: widgets})
		}
		p := start(t, e, status.Options{}, ids...)
		if got := p.after(3 * time.Second); len(got) != len(ids)+1 || got[0] != "0 Unknown KindNotInstalled" {
			t.Errorf("after 3 s: got %q", got)
		}
	})
}

// With the error, or the panic, of a StatusReader goes on what is not its object.
func TestPollStatusReaderFails(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("shop", "config"), pod("shop", "p", "Running"), object(nodes, "", "n1", nil))
		e := engine(c)
		e.StatusReaders = []status.StatusReader{
			only{pods, func() (status.ObjectStatus, error) { panic("no such field") }},
			only{nodes, func() (status.ObjectStatus, error) { return status.ObjectStatus{}, errors.New("boom") }},
			only{pods, func() (status.ObjectStatus, error) {
				t.Error("the second one was asked")
				return status.ObjectStatus{}, nil
			}},
		}
		p := start(t, e, status.Options{}, idsOf(configMap("shop", "config"), pod("shop", "p", "Running"), object(nodes, "", "n1", nil))...)
		p.want(0, "config Current", "n1 Unknown Transient", "p Unknown RuleError", "synced")
		c.mu.Lock()
		c.objects[configMaps][0].SetGeneration(2)
		c.mu.Unlock()
		p.want(cycle, "config Current")
	})
	for _, want := range []string{"function=StatusReader", "key=shop/p", "no such field", "poller_test.go:", "panics=1 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in the log", want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines are logged", n)
	}
}

// only is a StatusReader for one kind.
type only struct {
	kind schema.GroupKind
	read func() (status.ObjectStatus, error)
}

func (r only) Supports(kind schema.GroupKind) bool { return kind == r.kind }

func (r only) ReadStatus(context.Context, status.ClusterReader, status.ID) (status.ObjectStatus, error) {
	return r.read()
}

func (r only) ReadStatusForObject(context.Context, status.ClusterReader, *unstructured.Unstructured) (status.ObjectStatus, error) {
	return r.read()
}

// syncing is a ClusterReader whose Sync fails on request, and which records that it is
// closed.
type syncing struct {
	status.ClusterReader

	mu     sync.Mutex
	fail   func() error
	syncs  int
	closed int
}

func (s *syncing) failing(fail func() error) (syncs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
	return s.syncs
}

func (s *syncing) Sync(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncs++
	if err := s.fail(); err != nil {
		return err
	}
	return s.ClusterReader.Sync(ctx)
}

func (s *syncing) Close() error {
	s.closed++
	return nil
}

// A Sync that fails makes what is known stale, is tried again less often, and ends
// nothing.
func TestPollSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("shop", "config"))
		succeed := func() error { return nil }
		reader := &syncing{fail: succeed}
		e := engine(c)
		e.ClusterReaderFactory = status.ClusterReaderFactoryFunc(func(r status.Reader, m meta.RESTMapper, ids []status.ID) (status.ClusterReader, error) {
			var err error
			reader.ClusterReader, err = status.NewListingReader(r, m, ids)
			return reader, err
		})
		ctx, cancel := context.WithCancel(t.Context())
		events := e.Poll(ctx, idsOf(configMap("shop", "config")), status.Options{})
		next := func() status.ObjectStatus { return (<-events).Resource }
		if s := next(); s.Status != status.Current {
			t.Fatalf("got %v", s)
		}
		<-events // Synced
		boom := errors.New("boom")
		before := reader.failing(func() error { return boom })
		since := time.Now()
		s := next()
		if s.Status != status.Current || s.Reason != status.Transient || s.Stale.Before(since) || !errors.Is(s.Err, boom) {
			t.Errorf("got %+v", s)
		}
		time.Sleep(10 * time.Minute)
		// After 5, 10, 20 and 40 s it is every 80 s, give or take a tenth.
		if tries := reader.failing(func() error { panic("no cache") }) - before; tries < 8 || tries > 13 {
			t.Errorf("tried %d times in 10 minutes", tries)
		}
		if s := next(); s.Reason != status.Transient || !strings.Contains(fmt.Sprint(s.Err), "no cache") {
			t.Errorf("after a panic: %+v", s)
		}
		reader.failing(succeed)
		if s := next(); s.Status != status.Current || !s.Stale.IsZero() || s.Err != nil {
			t.Errorf("in the end: %+v", s)
		}
		cancel()
		if _, ok := <-events; ok || reader.closed != 1 {
			t.Errorf("open %v, the reader was closed %d times", ok, reader.closed)
		}
	})
}
