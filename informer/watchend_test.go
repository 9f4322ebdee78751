// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// podServer serves one pod, with a value. Its lists work, and the test decides what its watches do. It
// streams initial events, or refuses to; what follows them is silence, unless watches are
// live.
type podServer struct {
	informertest.Transport
	streams bool

	mu         sync.Mutex
	watch      ending
	live       bool
	bookmarks  bool
	version    int64 // of the collection
	podVersion int64
	hidden     int64 // a version of the pod that no watch brings
	value      string
	changed    chan struct{} // closed by a change
	broken     chan struct{} // closed to break the watches
}

// ending answers a watch.
type ending = func(w *informertest.Response, r *http.Request)

func newPodServer(watch ending) *podServer {
	s := &podServer{version: 10, podVersion: 10, value: "before", watch: watch, changed: make(chan struct{}), broken: make(chan struct{})}
	s.Handler = s.serve
	return s
}

// set changes the pod.
func (s *podServer) set(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.podVersion, s.value = s.version, value
	close(s.changed)
	s.changed = make(chan struct{})
}

// hide changes the pod, and no watch brings that.
func (s *podServer) hide(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.podVersion, s.value, s.hidden = s.version, value, s.version
}

// watches makes watches end in another way.
func (s *podServer) watches(end ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch, s.live = end, false
}

// watchesLive makes watches work. With bookmarks there is one each minute.
func (s *podServer) watchesLive(bookmarks bool) {
	s.watches(func(w *informertest.Response, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		s.follow(w, r, informertest.Number(r.URL.Query().Get("resourceVersion")))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live, s.bookmarks = true, bookmarks
}

// tick brings the collection to another version, and returns that.
func (s *podServer) tick() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	return strconv.FormatInt(s.version, 10)
}

// breakWatches resets the connections of live watches.
func (s *podServer) breakWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.broken)
	s.broken = make(chan struct{})
}

func (s *podServer) serve(w *informertest.Response, r *http.Request) {
	s.mu.Lock()
	version, watch, live := s.version, s.watch, s.live
	pod := informertest.PodText("x", strconv.FormatInt(s.podVersion, 10), s.value)
	s.mu.Unlock()
	switch text := strconv.FormatInt(version, 10); {
	case !informertest.IsWatch(r):
		w.Send(informertest.PodsText(text, "", pod))
	case !informertest.IsInitial(r):
		watch(w, r)
	case s.streams:
		w.Send(informertest.EventText("ADDED", pod))
		w.Send(informertest.BookmarkText(text, true))
		if live {
			s.follow(w, r, version)
		} else {
			w.Wait(informertest.Timeout(r))
		}
	default:
		w.Refuse(http.StatusUnprocessableEntity, "Invalid")
	}
}

// follow is a watch that works.
func (s *podServer) follow(w *informertest.Response, r *http.Request, from int64) {
	end := time.After(informertest.Timeout(r))
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		s.mu.Lock()
		news, changed, broken, bookmarks := s.podVersion > from && s.podVersion != s.hidden, s.changed, s.broken, s.bookmarks
		from = max(from, s.podVersion)
		pod := informertest.PodText("x", strconv.FormatInt(s.podVersion, 10), s.value)
		s.mu.Unlock()
		if news {
			w.Send(informertest.EventText("MODIFIED", pod))
		}
		select {
		case <-changed:
		case <-broken:
			w.Break(errReset)
			return
		case <-minute.C:
			if bookmarks {
				w.Send(informertest.BookmarkText(s.tick(), false))
			}
		case <-end:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// followPods runs a Reflector of server into a store until the end of the bubble. Delays
// have no jitter.
func followPods(t *testing.T, server http.RoundTripper, change ...func(*informer.Config[*corev1.Pod])) (*informer.Reflector[*corev1.Pod], *store.Store[*corev1.Pod]) {
	t.Helper()
	return followSource(t, source.FromListerWatcher[*corev1.Pod](source.NewListWatchFromClient(informertest.Client(t, server), "pods", ""), nil), change...)
}

// elapse lets time go by, and waits for what happens then.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// valueOf returns the value of the pod that is called x.
func valueOf(s *store.Store[*corev1.Pod]) string {
	pod, _ := s.Get(store.Key{Namespace: "n", Name: "x"})
	if pod == nil {
		return ""
	}
	return pod.Spec.NodeName
}

// refuses answers with a code.
func refuses(code int, reason string) ending {
	return func(w *informertest.Response, _ *http.Request) { w.Refuse(code, reason) }
}

// retryAfter does so as a proxy does, with a Retry-After.
func retryAfter(seconds string, code int) ending {
	return func(w *informertest.Response, _ *http.Request) {
		w.Header().Set("Retry-After", seconds)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(code)
		w.Send("Please try again later.")
	}
}

// sends opens the watch, sends text and ends it.
func sends(text string) ending {
	return func(w *informertest.Response, _ *http.Request) { w.Send(text) }
}

// says sends an error event.
func says(code int, reason string) ending {
	return sends(informertest.EventText("ERROR", informertest.StatusText(code, reason)))
}

// open opens the watch and ends it after d, with err if that is not nil.
func open(d time.Duration, err error) ending {
	return func(w *informertest.Response, _ *http.Request) {
		if w.WriteHeader(http.StatusOK); w.Wait(d) && err != nil {
			w.Break(err)
		}
	}
}

var errReset = errors.Join(errors.New("read tcp"), syscall.ECONNRESET)

// Ways in which a watch ends, or does not, and brings nothing.
var endings = map[string]ending{
	"400":                       refuses(400, "BadRequest"),
	"401":                       refuses(401, "Unauthorized"),
	"403":                       refuses(403, "Forbidden"),
	"404":                       refuses(404, "NotFound"),
	"405":                       refuses(405, "MethodNotAllowed"),
	"408":                       refuses(408, "Timeout"),
	"422":                       refuses(422, "Invalid"),
	"429":                       refuses(429, "TooManyRequests"),
	"429, Retry-After 1":        retryAfter("1", 429),
	"429, Retry-After 68 years": retryAfter("2147483647", 429),
	"500":                       refuses(500, "InternalError"),
	"502 by a proxy": func(w *informertest.Response, _ *http.Request) {
		w.WriteHeader(502)
		w.Send("<html>Bad Gateway</html>")
	},
	"503":                       refuses(503, "ServiceUnavailable"),
	"504":                       refuses(504, "Timeout"),
	"504 after 90 s":            func(w *informertest.Response, _ *http.Request) { w.Wait(90 * time.Second); w.WriteHeader(504) },
	"200 and nothing":           sends(""),
	"204":                       func(w *informertest.Response, _ *http.Request) { w.WriteHeader(204) },
	"a page of a proxy":         sends("<html>Please log in</html>"),
	"garbage":                   sends("\x00\x01\x02"),
	"the end within an event":   sends(`{"type":"MODIFIED","object":{"kind":"Pod","meta`),
	"an unknown event":          sends(informertest.EventText("CHANGED", informertest.PodText("x", "20", "after"))),
	"ERROR Timeout":             says(504, "Timeout"),
	"ERROR InternalError":       says(500, "InternalError"),
	"ERROR TooManyRequests":     says(429, "TooManyRequests"),
	"ERROR Forbidden":           says(403, "Forbidden"),
	"ERROR NotFound":            says(404, "NotFound"),
	"ERROR of no reason":        sends(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure"}}`),
	"a reset at once":           func(w *informertest.Response, _ *http.Request) { w.Break(errReset) },
	"a reset when it is open":   open(0, errReset),
	"a reset after 90 s":        open(90*time.Second, errReset),
	"an end after 20 s":         open(20*time.Second, nil),
	"an end after 90 s":         open(90*time.Second, nil),
	"an end in time":            func(w *informertest.Response, r *http.Request) { w.WriteHeader(200); w.Wait(informertest.Timeout(r)) },
	"silence, with a header":    open(1000*time.Hour, nil),
	"silence, without a header": func(w *informertest.Response, _ *http.Request) { w.Wait(1000 * time.Hour) },
	"bookmarks that never move": func(w *informertest.Response, r *http.Request) {
		for end := time.Now().Add(informertest.Timeout(r)); time.Now().Before(end) && w.Wait(time.Minute); {
			w.Send(informertest.BookmarkText(r.URL.Query().Get("resourceVersion"), false))
		}
	},
}

// mostLists is how many lists there are at most in so many hours in which the pod changes
// once: 159 in a day. Where lists have shown that watches do not bring changes, there is
// one every ten minutes from then on, besides those of the first minutes. A watch that is
// refused is polled for, every half a minute.
func mostLists(hours int, polled bool) int {
	if polled {
		return 120*hours + 2
	}
	return 6*hours + 15
}

// TestWatchEnds: however a watch ends without having brought a change, the store has the
// change within 25 minutes, since lists work, and lists are few.
func TestWatchEnds(t *testing.T) {
	for name, ends := range endings {
		const hours = 6
		most := mostLists(hours, name == "403" || name == "404" || name == "405")
		for streams, how := range map[bool]string{false: "paged", true: "streamed"} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := newPodServer(ends)
					server.streams = streams
					_, s := followPods(t, server)
					elapse(time.Minute)
					server.set("after")
					elapse(25 * time.Minute)
					if got := valueOf(s); got != "after" {
						t.Fatalf("25 minutes after the change x is %q", got)
					}
					if streams {
						return // the rest costs as much, or less
					}
					elapse(hours*time.Hour - 26*time.Minute)
					lists, watches := server.Requests()
					t.Logf("%d lists and %d watches in %d hours", lists, watches, hours)
					if lists > most {
						t.Errorf("%d lists in %d hours, want %d at most", lists, hours, most)
					}
					server.set("later")
					elapse(25 * time.Minute)
					if got := valueOf(s); got != "later" {
						t.Errorf("25 minutes after a change hours later x is %q", got)
					}
				})
			})
		}
	}
}
