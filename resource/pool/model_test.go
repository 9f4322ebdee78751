// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/resource"
)

// poolModel is a simple implementation of a pool: on one goroutine, without timers.
type poolModel struct {
	linger, stopping time.Duration
	current          map[string]*modelled
	ends             map[int]time.Time // when those that are stopping have stopped
	stats            Stats
	stopped          bool
}

type modelled struct {
	id, users int
	idle      time.Time
}

// settle applies everything that is due.
func (m *poolModel) settle(now time.Time) {
	for key, e := range m.current {
		if due := e.idle.Add(max(0, m.linger)); m.stopped && !now.Before(e.idle) || e.users == 0 && !due.After(now) {
			if m.stopped {
				due = now
			}
			delete(m.current, key)
			m.ends[e.id] = due.Add(m.stopping)
		}
	}
	maps.DeleteFunc(m.ends, func(_ int, end time.Time) bool { return !end.After(now) })
}

func (m *poolModel) get(key string) *modelled {
	e := m.current[key]
	if e == nil {
		m.stats.Starts++
		e = &modelled{id: int(m.stats.Starts)}
		m.current[key] = e
	}
	e.users++
	return e
}

func (m *poolModel) users() map[string]int {
	users := map[string]int{}
	for key, e := range m.current {
		users[key] = e.users
	}
	return users
}

func (m *poolModel) statsNow() Stats {
	s := m.stats
	s.Stopping = len(m.ends)
	for _, e := range m.current {
		if e.users > 0 {
			s.Used++
		} else {
			s.Lingering++
		}
	}
	return s
}

// poolPlay plays the same to a pool and to the model.
type poolPlay struct {
	*rapid.T
	pool     *podPool
	model    poolModel
	fails    bool
	made     int
	ids      map[resource.Resource[*corev1.Pod]]int
	mu       sync.Mutex // hooks of several resources run at once
	running  map[int]bool
	channels map[int]<-chan podEvent
	releases []poolRelease
}

type poolRelease struct {
	release func()
	of      *modelled
	again   bool
}

func (p *poolPlay) new(lc cell.Lifecycle, _ string) resource.Resource[*corev1.Pod] {
	p.made++
	id := p.made
	lc.Append(cell.Hook{OnStop: func(cell.HookContext) error {
		time.Sleep(p.model.stopping)
		return nil
	}})
	r := &comparablePods{resource.NewFromSource[*corev1.Pod](lc, servertest.Silent[*corev1.Pod]{}, resource.WithLogger(quiet()))}
	p.ids[r] = id
	if p.fails {
		panic(errTest)
	}
	// The last hook, hence the first that stops.
	lc.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.running[id] = true
			return nil
		},
		OnStop: func(cell.HookContext) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.running, id)
			return nil
		},
	})
	p.channels[id] = r.Events(p.Context())
	return r
}

func (p *poolPlay) get(*rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(p.T, "key")
	p.fails = rapid.IntRange(0, 9).Draw(p.T, "fails") == 0
	r, release, err := p.pool.Get(key)
	switch {
	case p.model.stopped:
		if !errors.Is(err, resource.ErrStopped) {
			p.Fatalf("after Stop Get returned %v", err)
		}
		return
	case p.fails && p.model.current[key] == nil:
		p.model.stats.Starts++
		p.model.stats.Failures++
		if !errors.Is(err, errTest) {
			p.Fatalf("a failed start returned %v", err)
		}
		return
	case err != nil:
		p.Fatal(err)
	}
	e := p.model.get(key)
	if id := p.ids[r]; id != e.id {
		p.Fatalf("got %s the %d., want the %d.", key, id, e.id)
	}
	p.releases = append(p.releases, poolRelease{release: release, of: e})
}

func (p *poolPlay) release(*rapid.T) {
	if len(p.releases) == 0 {
		p.Skip()
	}
	r := &p.releases[rapid.IntRange(0, len(p.releases)-1).Draw(p.T, "of")]
	r.release()
	if !r.again {
		r.again = true
		r.of.users--
		r.of.idle = time.Now()
	}
}

func (p *poolPlay) advance(*rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Second, 3 * time.Second, 20 * time.Second, time.Minute}).Draw(p.T, "by"))
}

func (p *poolPlay) stop(*rapid.T) {
	if rapid.IntRange(0, 9).Draw(p.T, "really") != 0 {
		p.Skip()
	}
	p.model.stopped = true
	p.model.settle(time.Now())
	longest := time.Duration(0)
	for _, end := range p.model.ends {
		longest = max(longest, time.Until(end))
	}
	begin := time.Now()
	if err := p.pool.Stop(p.Context()); err != nil {
		p.Fatal(err)
	}
	if took := time.Since(begin); took != longest {
		p.Fatalf("Stop took %v, want %v", took, longest)
	}
}

// check compares after each step.
func (p *poolPlay) check(*rapid.T) {
	synctest.Wait()
	p.model.settle(time.Now())
	if got, want := p.pool.Stats(), p.model.statsNow(); got != want {
		p.Fatalf("stats are %+v, want %+v", got, want)
	}
	if got, want := p.pool.Users(), p.model.users(); !maps.Equal(got, want) {
		p.Fatalf("users are %v, want %v", got, want)
	}
	current := map[int]bool{}
	for _, e := range p.model.current {
		current[e.id] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !maps.Equal(p.running, current) {
		p.Fatalf("running are %v, want %v", p.running, current)
	}
	for id, events := range p.channels {
		if got := open(events); got != current[id] {
			p.Fatalf("the channel of the %d. is open: %v, want %v", id, got, current[id])
		}
	}
}

func playPool(t *rapid.T) {
	p := &poolPlay{
		T: t, ids: map[resource.Resource[*corev1.Pod]]int{}, running: map[int]bool{}, channels: map[int]<-chan podEvent{},
		model: poolModel{
			linger:   rapid.SampledFrom([]time.Duration{-1, time.Nanosecond, 10 * time.Second}).Draw(t, "linger"),
			stopping: rapid.SampledFrom([]time.Duration{0, 2 * time.Second, time.Hour}).Draw(t, "stopping"),
			current:  map[string]*modelled{}, ends: map[int]time.Time{},
		},
	}
	var err error
	p.pool, err = New(Config[string, *corev1.Pod]{New: p.new, Linger: p.model.linger, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.pool.Stop(t.Context())
	t.Repeat(map[string]func(*rapid.T){
		"": p.check, "get": p.get, "get another": p.get, "release": p.release, "release more": p.release,
		"advance": p.advance, "stop": p.stop,
	})
}

// After any sequence of Get, release and waits, a pool equals the model.
func TestPoolModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, playPool)
	})
}
