// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// neverAgain answers each list with a Retry-After of 68 years.
func neverAgain(requests *atomic.Int32) *informertest.Transport {
	return listsWith(func(w *informertest.Response, _ int) {
		requests.Add(1)
		retryAfter(strconv.Itoa(math.MaxInt32), 429)(w, nil)
	})
}

// TestRetryAfterIsBounded: the Retry-After of a server is obeyed, for five minutes at
// most. Resync cuts the time short.
func TestRetryAfterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		r, _ := followPods(t, neverAgain(&requests), paged)
		for n := range int32(5) {
			elapse(5*time.Minute - time.Second)
			if got := requests.Load(); got != n+1 {
				t.Errorf("%d requests, want %d", got, n+1)
			}
			elapse(time.Second)
		}
		r.Resync(errors.New("it is there again"))
		synctest.Wait()
		if got := requests.Load(); got != 6 {
			t.Errorf("%d requests, not six: Resync does not wait for the first delay", got)
		}
		elapse(800 * time.Millisecond)
		if got := requests.Load(); got != 7 {
			t.Errorf("%d requests after Resync, want seven", got)
		}
	})
}

// TestResyncInALoop: whatever state there is, and however often Resync is called, requests
// keep the distance of the first delay.
func TestResyncInALoop(t *testing.T) {
	for name, server := range map[string]func() *informertest.Transport{
		"lists are refused": func() *informertest.Transport { return neverAgain(new(atomic.Int32)) },
		"all is well": func() *informertest.Transport {
			return listsWith(func(w *informertest.Response, _ int) { w.Send(page(0, "x")) })
		},
		"lists fail after the first": func() *informertest.Transport {
			first := true
			return listsWith(func(w *informertest.Response, _ int) {
				if !first {
					w.Refuse(500, "InternalError")
					return
				}
				first = false
				w.Send(page(0, "x"))
			})
		},
		"a page is refused": func() *informertest.Transport {
			return listsWith(func(w *informertest.Response, number int) {
				if number > 0 {
					w.Refuse(500, "InternalError")
					return
				}
				w.Send(page(1, "x"))
			})
		},
		"watches are refused": func() *informertest.Transport {
			server := newPodServer(refuses(403, "Forbidden"))
			return &server.Transport
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := server()
				r, _ := followPods(t, server, paged)
				elapse(time.Second)
				server.Requests()
				for range 60_000 {
					r.Resync(errors.New("again"))
					time.Sleep(time.Millisecond)
				}
				if lists, watches := server.Requests(); lists > 152 || lists < 70 || watches > 152 {
					t.Errorf("%d lists and %d watches in a minute", lists, watches)
				}
			})
		})
	}
}

// TestResyncWhileListsFail: the watch brings changes while the pass that was asked for
// fails, and the pass is tried again with backoff until it succeeds.
func TestResyncWhileListsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newPodServer(nil)
		server.watchesLive(false)
		var fails atomic.Bool
		serve := server.Handler
		server.Handler = func(w *informertest.Response, r *http.Request) {
			if !informertest.IsWatch(r) && fails.Load() {
				w.Refuse(500, "InternalError")
				return
			}
			serve(w, r)
		}
		var passes passTimes
		r, s := followPods(t, server, paged, passes.observe, func(c *informer.Config[*corev1.Pod]) { c.Backoff.Max = 10 * time.Second })
		elapse(time.Second)
		fails.Store(true)
		r.Resync(errors.New("why"))
		elapse(5 * time.Minute) // with nothing to bring
		for i := range 10 {
			elapse(30 * time.Second)
			value := strconv.Itoa(i)
			server.set(value)
			synctest.Wait()
			if got := valueOf(s); got != value {
				t.Errorf("x is %q, want %q", got, value)
			}
		}
		fails.Store(false)
		elapse(11 * time.Second)
		n := len(passes.passes)
		if n < 50 || n > 70 || slices.ContainsFunc(passes.passes[1:], func(reason string) bool { return reason != "resync" }) {
			t.Errorf("%d passes: %v", n, passes.passes)
		}
		if info := r.Info(); info.Passes != 2 || info.Err != nil {
			t.Errorf("%+v", info)
		}
	})
}

// TestResyncInterval: there is a pass after each interval, whatever a watch brings, and
// whether it is streamed.
func TestResyncInterval(t *testing.T) {
	for _, streams := range []bool{false, true} {
		for name, every := range map[string]time.Duration{"quiet": time.Hour, "busy": 7 * time.Second} {
			t.Run(name+", streams "+strconv.FormatBool(streams), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := newPodServer(nil)
					server.watchesLive(false)
					server.streams = streams
					var passes passTimes
					r, _ := followPods(t, server, passes.observe, func(c *informer.Config[*corev1.Pod]) {
						c.ResyncInterval = 3 * time.Minute
						if !streams {
							paged(c)
						}
					})
					for end := time.Now().Add(time.Hour); time.Now().Before(end); elapse(every) {
						server.set(time.Now().String())
					}
					synctest.Wait()
					if n := len(passes.at); n < 19 || n > 21 || r.Info().Err != nil {
						t.Errorf("%d passes in an hour, at %v; %+v", n, passes.at, r.Info())
					}
				})
			})
		}
	}
}

// TestNoChecks: without checks a collection is listed once, however quiet its watches
// are, and a watch that fails is still checked.
func TestNoChecks(t *testing.T) {
	for name, c := range map[string]struct {
		watch ending
		want  func(lists int) bool
	}{
		"quiet":   {open(1000*time.Hour, nil), func(lists int) bool { return lists == 1 }},
		"failing": {refuses(500, "InternalError"), func(lists int) bool { return lists > 100 && lists < 150 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newPodServer(c.watch)
				r, _ := followPods(t, server, paged, func(c *informer.Config[*corev1.Pod]) { c.CheckInterval = -1 })
				elapse(time.Minute)
				server.set("after")
				elapse(24 * time.Hour)
				if lists, _ := server.Requests(); !c.want(lists) || r.Info().Polling != nil {
					t.Errorf("%d lists in a day, %+v", lists, r.Info())
				}
			})
		})
	}
}

// TestDelayIsBounded: no setting of Backoff makes a delay longer than it says.
func TestDelayIsBounded(t *testing.T) {
	b := informer.Backoff{Jitter: -1}
	if err := b.Complete(); err != nil {
		t.Fatal(err)
	}
	late := informertest.ParseError(strings.Fields("429 retry=2147483647"))
	for cause, most := range map[informer.Cause]time.Duration{
		informer.CauseServer: 30 * time.Second, informer.CauseForbidden: 30 * time.Second, informer.CauseNotInstalled: 10 * time.Second,
	} {
		for _, failure := range []int{1, 5, 1000, math.MaxInt} {
			if d := b.Delay(failure, cause, nil); d > most {
				t.Errorf("%s, failure %d: %v", cause, failure, d)
			}
			if d := b.Delay(failure, cause, late); d != 5*time.Minute {
				t.Errorf("%s, failure %d, Retry-After 68 years: %v", cause, failure, d)
			}
		}
	}
	b.Denied = time.Minute
	if d := b.Delay(9, informer.CauseNotInstalled, nil); d != time.Minute {
		t.Errorf("Denied is a minute, and a kind that is not installed is asked for after %v", d)
	}
}
