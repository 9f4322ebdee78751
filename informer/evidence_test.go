// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// passTimes notes at what time after start each pass began, and why.
type passTimes struct {
	start time.Time

	mu     sync.Mutex
	passes []string
	at     []time.Duration
}

func (p *passTimes) observe(c *informer.Config[*corev1.Pod]) {
	p.start = time.Now()
	c.Observer = informer.Observers(c.Observer, informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
		if o, ok := o.(informer.ListStarted); ok {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.passes = append(p.passes, string(o.Pass.Reason))
			p.at = append(p.at, time.Since(p.start))
		}
	}))
}

// apart returns how many minutes, rounded, lie between the passes.
func (p *passTimes) apart() (minutes []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, at := range p.at[1:] {
		minutes = append(minutes, int((at-p.at[i]).Round(time.Minute)/time.Minute))
	}
	return minutes
}

func paged(c *informer.Config[*corev1.Pod]) { c.Lists = informer.ListPaged }

// TestQuietCollection: a collection in which nothing happens for a day is listed about
// once an hour, by a server without bookmarks, and never again by one with them. Nothing
// is wrong meanwhile, and a change is seen at once.
func TestQuietCollection(t *testing.T) {
	for _, c := range []struct {
		bookmarks, streams bool
		most               int
	}{{false, false, 27}, {false, true, 27}, {true, false, 1}, {true, true, 1}} {
		t.Run(fmt.Sprintf("bookmarks %v, streams %v", c.bookmarks, c.streams), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				server := newPodServer(nil)
				server.watchesLive(c.bookmarks)
				server.streams = c.streams
				var passes passTimes
				r, s := followPods(t, server, func(cfg *informer.Config[*corev1.Pod]) {
					if !c.streams {
						paged(cfg)
					}
					cfg.Observer = informer.Observers(informer.LogObserver(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))),
						informer.ObserverFunc(func(info informer.ReflectorInfo, o informer.ReflectorEvent) {
							if ended, ok := o.(informer.WatchEnded); info.Err != nil || info.Polling != nil || ok && ended.Cause != informer.CauseCanceled && ended.Err != nil {
								t.Errorf("%+v: %+v", o, info)
							}
						}))
				}, passes.observe)
				for range 24 * 60 {
					elapse(time.Minute)
					if info := r.Info(); info.Err != nil {
						t.Fatalf("%+v", info)
					}
				}
				t.Logf("%d passes in a day", len(passes.at))
				if got := len(passes.at); got > c.most || !c.bookmarks && got < 20 {
					t.Errorf("%d passes in a day, want %d at most", got, c.most)
				}
				server.set("after")
				synctest.Wait()
				if got := valueOf(s); got != "after" {
					t.Errorf("x is %q", got)
				}
				if log.Len() > 0 {
					t.Errorf("warnings:\n%s", log.String())
				}
			})
		})
	}
}

// TestOutage: informers of a server that was away for an hour resume their watches, and
// do not list, quiet ones included. A few answers of a server that is starting change
// nothing.
func TestOutage(t *testing.T) {
	for _, starting := range []bool{false, true} {
		for _, quiet := range []time.Duration{9 * time.Minute, 9*time.Minute + 55*time.Second} {
			t.Run(fmt.Sprintf("starting %v, quiet for %v", starting, quiet), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := newPodServer(nil)
					server.watchesLive(false)
					_, s := followPods(t, server, paged)
					elapse(quiet)
					server.Down(informertest.ParseError([]string{"refused"}))
					server.breakWatches()
					elapse(time.Hour)
					server.set("after")
					if starting {
						server.watches(refuses(503, "ServiceUnavailable"))
					}
					server.Down(nil)
					elapse(35 * time.Second)
					server.watchesLive(false)
					elapse(31 * time.Second)
					if got := valueOf(s); got != "after" {
						t.Errorf("x is %q", got)
					}
					if lists, _ := server.Requests(); lists != 1 {
						t.Errorf("%d lists, want the first one", lists)
					}
				})
			})
		}
	}
}

// TestOutageOfAQuietCollection: the same where nothing has changed meanwhile. The check
// that is due comes when the server was there for ten minutes in all.
func TestOutageOfAQuietCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newPodServer(nil)
		server.watchesLive(false)
		var passes passTimes
		followPods(t, server, paged, passes.observe)
		elapse(5 * time.Minute)
		server.Down(informertest.ParseError([]string{"refused"}))
		server.breakWatches()
		elapse(time.Hour)
		server.Down(nil)
		elapse(10 * time.Minute)
		if len(passes.at) != 2 || passes.at[1] < 69*time.Minute || passes.passes[1] != "check" {
			t.Errorf("passes %v at %v", passes.passes, passes.at)
		}
	})
}

// TestChecksBecomeRare: passes that show nothing new follow each other more and more
// slowly.
func TestChecksBecomeRare(t *testing.T) {
	for name, c := range map[string]struct {
		watch ending
		want  []int // minutes
	}{
		"failing":   {refuses(500, "InternalError"), []int{2, 3, 5, 9, 11, 11}},
		"refused":   {says(403, "Forbidden"), []int{2, 3, 5, 9, 11, 11}},
		"permanent": {refuses(400, "BadRequest"), []int{0, 3, 5, 9, 11, 11}},
		"cut":       {open(20*time.Second, nil), []int{1, 2, 4, 8, 10, 10}},
		"quiet":     {open(1000*time.Hour, nil), []int{10, 20, 40, 60, 60}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var passes passTimes
				followPods(t, newPodServer(c.watch), paged, passes.observe)
				elapse(5 * time.Hour)
				if got := passes.apart(); len(got) < len(c.want) || !slices.Equal(got[:len(c.want)], c.want) {
					t.Errorf("passes are %v minutes apart, want %v", got, c.want)
				}
			})
		})
	}
}

// TestUnseenChanges: a check that shows a change which no watch brought is followed by
// others, soon and then more slowly, until a watch brings something.
func TestUnseenChanges(t *testing.T) {
	for _, streams := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server := newPodServer(open(1000*time.Hour, nil))
			server.streams = streams
			var (
				passes passTimes
				events []string
			)
			r, s := followPods(t, server, func(c *informer.Config[*corev1.Pod]) {
				if !streams {
					paged(c)
				}
				c.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
					switch o.(type) {
					case informer.Polling, informer.WatchProved:
						events = append(events, informertest.ReflectorEvent(time.Now(), o))
					}
				})
			}, passes.observe)
			elapse(time.Minute)
			server.set("after")
			elapse(9*time.Minute + 20*time.Second)
			if got := valueOf(s); got != "after" {
				t.Errorf("after the check x is %q", got)
			}
			if p := r.Info().Polling; p == nil || p.Cause != informer.CauseSilent || p.Every != 30*time.Second || r.Info().Err != nil {
				t.Errorf("%+v", r.Info())
			}
			server.set("again")
			elapse(45 * time.Second)
			if got := valueOf(s); got != "again" {
				t.Errorf("after a poll x is %q", got)
			}
			elapse(40 * time.Minute)
			if got, want := passes.apart(), []int{10, 1, 1, 1, 2, 4, 8, 10, 10}; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
				t.Errorf("passes are %v minutes apart, want %v", got, want)
			}
			server.watchesLive(false)
			elapse(11 * time.Minute)
			server.set("seen")
			synctest.Wait()
			if got := valueOf(s); got != "seen" || r.Info().Polling != nil {
				t.Errorf("x is %q, %+v", got, r.Info())
			}
			if want := []string{"polling every 30s (silent)", `watch proved at "13"`}; !slices.Equal(events, want) {
				t.Errorf("observed %q, want %q", events, want)
			}
		})
	}
}
