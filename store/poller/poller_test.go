// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
	"github.com/apiary-go/apiary/store/poller"
)

// collection is the polled collection of these tests. The test changes it between polls,
// which the bubble guarantees. mu is for the race detector.
type collection struct {
	mu sync.Mutex

	version string
	jobs    []storetest.Job
	err     error           // of Get
	broken  error           // of the iterator, after the first job
	takes   time.Duration   // of Get
	polls   []time.Duration // when they began
	since   time.Time
	deaf    bool // ignores its ctx
}

// visible makes earlier changes visible to later callers of visible.
func (c *collection) visible() {
	c.mu.Lock()
	defer c.mu.Unlock()
}

func (c *collection) get(ctx context.Context) (poller.Enumerator[storetest.Job], error) {
	c.visible()
	c.polls = append(c.polls, time.Since(c.since))
	if c.deaf {
		ctx = context.Background()
	}
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
		c.visible()
		return poller.Enumerator[storetest.Job]{}, ctx.Err()
	}
	c.visible()
	if c.err != nil {
		return poller.Enumerator[storetest.Job]{}, c.err
	}
	if c.broken == nil {
		return poller.Enumerate(c.version, c.jobs), nil
	}
	return poller.Enumerator[storetest.Job]{Version: c.version, Objects: func(yield func(storetest.Job, error) bool) {
		if len(c.jobs) > 0 && !yield(c.jobs[0], nil) {
			return
		}
		yield(storetest.Job{}, c.broken)
	}}, nil
}

// pollRig is a running Poller of a collection into a store.
type pollRig struct {
	*collection
	*poller.Poller[storetest.Job]
	t       *testing.T
	store   *store.Store[storetest.Job]
	changes []string
	errs    []error
	stop    context.CancelCauseFunc
	ended   chan error
}

// errStop ends the Poller of a rig.
var errStop = errors.New("enough polled")

// poll starts a Poller in a bubble. Without jitter, times are exact.
func poll(t *testing.T, c *collection, change func(*poller.Config[storetest.Job])) *pollRig {
	r := &pollRig{collection: c, t: t, ended: make(chan error, 1)}
	s, err := store.New(store.Config[storetest.Job]{OnChange: func(c store.Change[storetest.Job]) {
		r.changes = append(r.changes, c.Kind.String()+" "+c.Meta.Key.Name)
	}})
	storetest.Must(t, err)
	r.store = s
	cfg := poller.Config[storetest.Job]{
		Name: "jobs", Get: c.get, Key: storetest.JobKey, Sink: s, Period: 10 * time.Second, Jitter: -1,
		OnError: func(err error) { r.errs = append(r.errs, err) },
	}
	if change != nil {
		change(&cfg)
	}
	r.Poller, err = poller.New(cfg)
	storetest.Must(t, err)
	ctx, stop := context.WithCancelCause(t.Context())
	r.stop, c.since = stop, time.Now()
	go func() { r.ended <- r.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(func() { stop(errStop) })
	return r
}

// after lets time pass.
func (r *pollRig) after(d time.Duration) {
	r.visible()
	time.Sleep(d)
	synctest.Wait()
}

// wantChanges compares the changes that the store reported since the last call.
func (r *pollRig) wantChanges(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.changes, want) {
		r.t.Errorf("changes %q, want %q", r.changes, want)
	}
	r.changes = nil
}

// wantPolls compares when polls began, in seconds.
func (r *pollRig) wantPolls(seconds ...float64) {
	r.t.Helper()
	var got []float64
	for _, d := range r.polls {
		got = append(got, d.Seconds())
	}
	if !slices.Equal(got, seconds) {
		r.t.Errorf("polled at %v s, want %v", got, seconds)
	}
}

// brokenSink returns an error from Validate.
type brokenSink struct{ *store.Store[storetest.Job] }

func (brokenSink) Validate() error { return errors.New("it is broken") }

func TestNewPoller(t *testing.T) {
	s, err := store.New(store.Config[storetest.Job]{})
	storetest.Must(t, err)
	c := &collection{}
	good := poller.Config[storetest.Job]{Get: c.get, Sink: s}
	for _, tt := range []struct {
		want   string
		change func(*poller.Config[storetest.Job])
	}{
		{"Get is nil", func(c *poller.Config[storetest.Job]) { c.Get = nil }},
		{"Sink is nil", func(c *poller.Config[storetest.Job]) { c.Sink = nil }},
		{"Config.Sink: it is broken", func(c *poller.Config[storetest.Job]) { c.Sink = brokenSink{s} }},
		{"Period is -1s", func(c *poller.Config[storetest.Job]) { c.Period = -time.Second }},
		{"Timeout is -1s", func(c *poller.Config[storetest.Job]) { c.Timeout = -time.Second }},
		{"MaxBackoff is -1s", func(c *poller.Config[storetest.Job]) { c.MaxBackoff = -time.Second }},
		{"Jitter is NaN", func(c *poller.Config[storetest.Job]) { c.Jitter = math.NaN() }},
		{"Jitter is 200", func(c *poller.Config[storetest.Job]) { c.Jitter = 200 }},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := poller.New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("the error is %v, want %q", err, tt.want)
		}
	}
	p, err := poller.New(good)
	storetest.Must(t, err)
	if info := p.Info(); info != (poller.Info{Name: "storetest.Job"}) {
		t.Errorf("info %+v", info)
	}
}

func TestPollerTellsDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{jobs: []storetest.Job{storetest.NewJob("a", 1), storetest.NewJob("b", 1)}}, nil)
		r.wantChanges("added a", "added b")
		r.after(10 * time.Second)
		r.wantChanges()
		r.jobs = []storetest.Job{storetest.NewJob("c", 1), storetest.NewJob("a", 2)}
		r.after(10 * time.Second)
		r.wantChanges("added c", "updated a", "deleted b")
		info := r.Info()
		if info.Polls != 3 || info.Passes != 3 || info.Objects != 2 || !info.Success.Equal(time.Now()) || info.Err != nil {
			t.Errorf("info %+v", info)
		}
		if s := r.store.Stats(); s.Commits != 3 || s.Aborts != 0 {
			t.Errorf("stats of the store %+v", s)
		}
	})
}

func TestPollerEqualVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{version: "v1", jobs: []storetest.Job{storetest.NewJob("a", 1)}}, nil)
		if info := r.Info(); info.Version != "v1" || r.store.Version() != "v1" {
			t.Errorf("info %+v, store at %q", info, r.store.Version())
		}
		r.jobs = nil
		r.after(10 * time.Second)
		if info := r.Info(); info.Passes != 1 || info.Unchanged != 1 || info.Objects != 1 || !info.Success.Equal(time.Now()) {
			t.Errorf("info %+v", info)
		}
		if r.store.Stats().Commits != 1 {
			t.Error("there was a pass")
		}
		r.version = "v2"
		r.after(10 * time.Second)
		r.wantChanges("added a", "deleted a")
	})
}

// TestPollerVersionAfterAbort returns to the last accepted version after the pass of
// another version was aborted.
func TestPollerVersionAfterAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{version: "v1", jobs: []storetest.Job{storetest.NewJob("a", 1)}}, nil)
		r.version, r.jobs, r.broken = "v2", []storetest.Job{storetest.NewJob("b", 1)}, storetest.ErrJob
		r.after(10 * time.Second)
		r.wantChanges("added a", "added b")
		if v := r.Info().Version; v != "" {
			t.Errorf("at %q, although the sink has an object of v2", v)
		}
		r.version, r.jobs, r.broken = "v1", []storetest.Job{storetest.NewJob("a", 1)}, nil
		r.after(10 * time.Second)
		r.wantChanges("deleted b")
	})
}

func TestPollerFailures(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(c *collection)
		wants []string // in the error
	}{
		{"get", func(c *collection) { c.err = storetest.ErrJob }, []string{"get: ", storetest.ErrJob.Error()}},
		{"midway", func(c *collection) { c.broken = storetest.ErrJob }, []string{"object 2: ", storetest.ErrJob.Error()}},
		{"no key", func(c *collection) { c.jobs = []storetest.Job{storetest.NewJob("a", 1), storetest.NewJob("b", -1)} }, []string{"object 2: ", storetest.ErrJob.Error()}},
		{"no name", func(c *collection) { c.jobs = []storetest.Job{storetest.NewJob("a", 1), {}} }, []string{"object 2: ", "no name"}},
		{"same key", func(c *collection) { c.jobs = []storetest.Job{storetest.NewJob("a", 1), storetest.NewJob("a", 1)} }, []string{`"a"`, "this key"}},
		{"timeout", func(c *collection) { c.takes = time.Hour }, []string{"longer than 5s", "Timeout"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := poll(t, &collection{jobs: []storetest.Job{storetest.NewJob("a", 1), storetest.NewJob("b", 1)}}, func(cfg *poller.Config[storetest.Job]) { cfg.Timeout = 5 * time.Second })
				r.wantChanges("added a", "added b")
				began := time.Now()
				tt.spoil(r.collection)
				r.after(16 * time.Second)
				r.wantChanges()
				info := r.Info()
				if len(r.errs) == 0 || info.Failures != uint64(len(r.errs)) || !info.Success.Equal(began) || info.Err != r.errs[len(r.errs)-1] {
					t.Fatalf("info %+v, errors %v", info, r.errs)
				}
				for _, want := range append(tt.wants, "poller of jobs: ") {
					if !strings.Contains(info.Err.Error(), want) {
						t.Errorf("the error is %q, want %q in it", info.Err, want)
					}
				}
				r.jobs, r.err, r.broken, r.takes = []storetest.Job{storetest.NewJob("b", 1)}, nil, nil, 0
				r.after(16 * time.Second)
				r.wantChanges("deleted a")
				if err := r.Info().Err; err != nil {
					t.Errorf("after a success: %v", err)
				}
			})
		})
	}
}

// TestNilObject: an object that is nil has the key that Key says, and no metadata.
func TestNilObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tracingSink[*corev1.Pod]{}
		p, err := poller.New(poller.Config[*corev1.Pod]{
			Sink: sink,
			Key:  func(*corev1.Pod) (store.Key, error) { return store.Key{Name: "nil"}, nil },
			Get: func(context.Context) (poller.Enumerator[*corev1.Pod], error) {
				return poller.Enumerate("1", []*corev1.Pod{nil}), nil
			},
		})
		storetest.Must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if info := p.Info(); info.Polls == 0 || info.Passes != 1 {
			t.Errorf("%+v", info)
		}
	})
}
