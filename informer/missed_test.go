// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// TestMissed plays random histories of a server whose watches leave out events. Each pass
// that looks for what was missed reports it: nothing that the store had, nothing that can
// be newer than what the watch had come to, and all else that the pass shows. TestOracle
// has the histories of servers that leave out nothing.
func TestMissed(t *testing.T) {
	informertest.PlayRounds(t, missedRound, "missed", "deletion missed", "nothing missed", "streamed", "paged")
}

func missedRound(t *testing.T, seed uint64, counts map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := informertest.NewModel()
		server := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 2)), Streams: rng.IntN(2) == 0, Drops: 3 + rng.IntN(10)}
		kept, err := store.New(store.Config[informertest.Object]{})
		if err != nil {
			t.Fatal(err)
		}
		var (
			had      informertest.State // by the store, as the pass began
			at       int64              // the version that the watch had come to
			reported int
			done     informer.ListDone
		)
		judge := func() {
			if had == nil || done.Version == "" {
				return
			}
			version := informertest.Number(done.Version)
			least, most := missedBy(had, m.At(at), m.At(version))
			deletions := 0
			for name := range had {
				if _, is := m.At(at)[name]; !is && version == at {
					deletions++
				}
			}
			if done.Pass.Reason == store.ReasonFirst {
				least, most, deletions = 0, 0, 0
			}
			most += deletions
			if reported < least || reported > most {
				t.Errorf("a pass at %s reports %d missed objects, want %d to %d: the store had, at %d\n%v\nthe server had\n%v",
					done.Version, reported, least, most, at, had, m.At(at))
			}
			switch {
			case reported == 0:
				counts["nothing missed"]++
			case reported > most-deletions:
				counts["deletion missed"]++
			}
			counts["missed"] += reported
			counts[map[bool]string{true: "streamed", false: "paged"}[done.Streamed]]++
			had, done, reported = nil, informer.ListDone{}, 0
		}
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Name: "pods", Source: source.FromListerWatcher[informertest.Object](server, nil), Sink: kept,
			Settings: informer.Settings{PageSize: 1 + rng.Int64N(5), ResyncInterval: 10 * time.Minute},
			Observer: informer.ObserverFunc(func(info informer.ReflectorInfo, o informer.ReflectorEvent) {
				switch o := o.(type) {
				case informer.ListStarted:
					judge()
					had, at = informertest.State{}, informertest.ParseVersion(info.Version)
					for meta := range kept.Entries() {
						had[meta.Key.Name] = string(meta.UID) + "@" + meta.Version
					}
				case informer.ListDone:
					done = o
				case informer.Missed:
					reported += o.Count
				}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = r.Run(ctx)
		}()
		for range 200 {
			switch rng.IntN(12) {
			case 0:
				time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
			case 1:
				r.Resync(errors.New("asked"))
			case 2, 3:
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
			case 4:
				time.Sleep(time.Minute + time.Second) // for a bookmark
				r.Resync(errors.New("asked"))
				time.Sleep(time.Second)
			default:
				m.Mutate(rng)
			}
		}
		cancel()
		<-ended
		judge()
	})
}

// missedBy returns how many objects a pass must and can report. What the server had at
// the version of the watch, and the store had not, was missed. What has changed since can
// hide it.
func missedBy(had, then, now informertest.State) (least, most int) {
	for name, object := range then {
		if had[name] == object {
			continue
		}
		most++
		if now[name] == object {
			least++
		}
	}
	return least, most
}

// TestMissedIsReported: one report for a pass, and one line of the log. The next pass finds
// nothing. A check of metadata finds it as well, and the pass after it mends it.
func TestMissedIsReported(t *testing.T) {
	for _, test := range []struct {
		streams, metadata bool
		reason            store.Reason
	}{{false, false, store.ReasonResync}, {true, false, store.ReasonResync}, {false, false, store.ReasonCheck}, {true, true, store.ReasonCheck}} {
		synctest.Test(t, func(t *testing.T) {
			server := newPodServer(nil)
			server.streams = test.streams
			server.watchesLive(true)
			var (
				log    bytes.Buffer
				events missedEvents
			)
			r, s := followPods(t, server, func(c *informer.Config[*corev1.Pod]) {
				if c.CheckMetadata = test.metadata; test.reason == store.ReasonCheck {
					c.ResyncInterval = 10 * time.Minute
				}
				c.Observer = informer.Observers(informer.LogObserver(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))), &events)
			})
			elapse(time.Second)
			server.hide("after") // no event, and bookmarks from here on that are newer
			elapse(2 * time.Minute)
			if got := valueOf(s); got != "before" || len(events.all()) > 0 {
				t.Fatalf("x is %q, missed %v", got, events.all())
			}
			if test.reason == store.ReasonResync {
				r.Resync(errors.New("suspicion"))
				elapse(time.Second)
			} else {
				elapse(8 * time.Minute)
			}
			if got := valueOf(s); got != "after" {
				t.Errorf("x is %q", got)
			}
			key, missed := store.Key{Namespace: "n", Name: "x"}, events.all()
			if len(missed) != 1 || missed[0].Count != 1 || missed[0].Key != key || missed[0].Pass.Reason != test.reason {
				t.Errorf("missed %+v", missed)
			}
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="Watch missed changes, the list has brought them" resource=pods count=1 key=n/x reason=`+string(test.reason)) {
				t.Errorf("log:\n%s", got)
			}
			r.Resync(errors.New("suspicion"))
			elapse(20 * time.Minute)
			if missed = events.all(); len(missed) != 1 {
				t.Errorf("missed %+v", missed)
			}
		})
	}
}

// TestNoFalseAlarm: what the sink has lost, and what comes of a server that began anew, was
// missed by no watch.
func TestNoFalseAlarm(t *testing.T) {
	for name, happens := range map[string]func(server *podServer, s *forgetful){
		"the sink has lost it": func(_ *podServer, s *forgetful) {
			_, err := s.Replace("", func(func(store.Meta, *corev1.Pod) bool) {})
			s.fail(errors.Join(err, store.ErrResync))
		},
		"the server goes back": func(server *podServer, _ *forgetful) {
			server.mu.Lock()
			defer server.mu.Unlock()
			server.version, server.podVersion, server.value = 8, 8, "restored"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newPodServer(nil)
				server.watchesLive(true)
				s := &forgetful{}
				r, kept := followPods(t, server, paged, func(c *informer.Config[*corev1.Pod]) {
					s.Store = c.Sink.(*store.Store[*corev1.Pod])
					c.Sink = s
					c.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
						if m, ok := o.(informer.Missed); ok {
							t.Errorf("a false alarm: %+v", m)
						}
					})
				})
				elapse(90 * time.Second)
				happens(server, s)
				elapse(time.Minute)
				r.Resync(errors.New("suspicion"))
				elapse(time.Minute)
				if valueOf(kept) == "" {
					t.Error("x is not there")
				}
			})
		})
	}
}

// forgetful is a store that returns an error once.
type forgetful struct {
	*store.Store[*corev1.Pod]

	mu  sync.Mutex
	err error
}

func (f *forgetful) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *forgetful) Progress(ctx context.Context, version string) error {
	f.mu.Lock()
	err := f.err
	f.err = nil
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.Store.Progress(ctx, version)
}

// missedEvents collects the reports of what was missed.
type missedEvents struct {
	mu   sync.Mutex
	list []informer.Missed
}

func (m *missedEvents) Observe(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
	if o, ok := o.(informer.Missed); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.list = append(m.list, o)
	}
}

func (m *missedEvents) all() []informer.Missed {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}
