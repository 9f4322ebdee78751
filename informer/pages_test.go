// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"fmt"
	"net/http"
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

// listsWith returns a server whose pages page makes, by their number, which is the token of
// the next one. Its watches are silent.
func listsWith(page func(w *informertest.Response, number int)) *informertest.Transport {
	return &informertest.Transport{Handler: func(w *informertest.Response, r *http.Request) {
		if informertest.IsWatch(r) {
			w.WriteHeader(http.StatusOK)
			<-r.Context().Done()
			return
		}
		number, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		page(w, number)
	}}
}

// page returns a page of pods with these names.
func page(next int, names ...string) string {
	var pods []string
	for _, name := range names {
		pods = append(pods, informertest.PodText(name, "5", "v"))
	}
	token := ""
	if next > 0 {
		token = strconv.Itoa(next)
	}
	return informertest.PodsText("10", token, pods...)
}

// TestRefusedPages: a collection of 20 pages is read although every seventh request is
// refused, whatever the refusal looks like: the page is requested again, by its token.
func TestRefusedPages(t *testing.T) {
	names := func(number int) (names []string) {
		for i := range 10 {
			names = append(names, fmt.Sprintf("p%d-%d", number, i))
		}
		return names
	}
	for name, refuse := range map[string]func(w *informertest.Response, number int){
		"429 by a header": func(w *informertest.Response, _ int) { retryAfter("1", 429)(w, nil) },
		"429 by a Status": func(w *informertest.Response, _ int) {
			w.WriteHeader(429)
			w.Send(strings.Replace(informertest.StatusText(429, "TooManyRequests"), `"code"`, `"details":{"retryAfterSeconds":1},"code"`, 1))
		},
		"500":   func(w *informertest.Response, _ int) { w.Refuse(500, "InternalError") },
		"reset": func(w *informertest.Response, _ int) { w.Break(errReset) },
		"a page that breaks off": func(w *informertest.Response, number int) {
			whole := page(1, names(number)...)
			w.Send(whole[:len(whole)/2])
			w.Break(errReset)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				server := listsWith(func(w *informertest.Response, number int) {
					if requests++; requests%7 == 0 {
						refuse(w, number)
						return
					}
					w.Send(page((number+1)%20, names(number)...))
				})
				r, s := followPods(t, server, paged, func(c *informer.Config[*corev1.Pod]) { c.PageSize = 10 })
				elapse(time.Minute)
				t.Logf("%d requests", requests)
				if info := r.Info(); info.Epoch != 1 || info.Passes != 1 || info.Err != nil {
					t.Errorf("%+v", info)
				}
				if n := s.Len(); n != 200 || requests > 30 {
					t.Errorf("%d objects after %d requests", n, requests)
				}
			})
		})
	}
}

// TestPageIsGivenUp: a page is requested five times. Then there is another pass.
func TestPageIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second atomic.Int32
		server := listsWith(func(w *informertest.Response, number int) {
			if number == 1 {
				second.Add(1)
				w.Refuse(500, "InternalError")
				return
			}
			first.Add(1)
			w.Send(page(1, "a"))
		})
		r, _ := followPods(t, server, paged)
		want := func(after time.Duration, pages, tries int32) {
			t.Helper()
			elapse(after)
			if a, b := first.Load(), second.Load(); a != pages || b != tries || r.Info().Cause != informer.CauseServer {
				t.Errorf("%d and %d requests, want %d and %d; %+v", a, b, pages, tries, r.Info())
			}
		}
		want(11*time.Second, 1, 4)
		want(10*time.Second, 1, 5)
		want(10*time.Second, 2, 6)
	})
}

// TestEndlessPages: a list that would never end fails, and is tried again no more often
// than any list. Nothing is concluded from it.
func TestEndlessPages(t *testing.T) {
	for name, c := range map[string]struct {
		page func(number, request int) string
		most int32 // requests of a pass
		want string
	}{
		"pages that go round":               {func(n, _ int) string { return page(1+n%7, fmt.Sprint("p", n%7)) }, 3 * 7, "begins with this object for the second time"},
		"pages that go round after a while": {func(n, _ int) string { return page(1+min(n, 40+(n-39)%60), fmt.Sprint("p", n)) }, 400, "begins with this object for the second time"},
		"the same page, with other tokens":  {func(n, _ int) string { return page(1+n, "a", "b") }, 2, "begins with this object for the second time"},
		"the same token":                    {func(_, request int) string { return page(1, fmt.Sprint("p", request)) }, 2, "returned the continue token of the request"},
		"empty pages":                       {func(n, _ int) string { return page(1 + n) }, 1000, "a thousand pages of the list in a row are empty"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests, passes atomic.Int32
				server := listsWith(func(w *informertest.Response, number int) {
					if number == 0 {
						passes.Add(1)
					}
					w.Send(c.page(number, int(requests.Add(1))))
				})
				r, _ := followPods(t, server, paged)
				elapse(time.Second / 2)
				info := r.Info()
				if info.Cause != informer.CauseDecoding || !strings.Contains(fmt.Sprint(info.Err), c.want) || info.Passes != 0 {
					t.Errorf("%+v", info)
				}
				if n := requests.Load(); n > c.most {
					t.Errorf("%d requests in a pass, want %d at most", n, c.most)
				}
				elapse(5 * time.Minute)
				if n := passes.Load(); n > 15 || r.HasInitializedSynced() {
					t.Errorf("%d passes in five minutes", n)
				}
			})
		})
	}
}

// TestManyPages: lists that only look like endless ones are read whole: many pages
// without objects, as of a server that filters them, and many with one.
func TestManyPages(t *testing.T) {
	for name, names := range map[string]func(number int) []string{
		"empty": func(n int) []string {
			if n%900 == 899 {
				return []string{fmt.Sprint("p", n)}
			}
			return nil
		},
		"one each": func(n int) []string { return []string{fmt.Sprint("p", n)} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := listsWith(func(w *informertest.Response, number int) { w.Send(page((number+1)%3000, names(number)...)) })
				r, _ := followPods(t, server, paged)
				synctest.Wait()
				if info := r.Info(); info.Passes != 1 || info.Err != nil {
					t.Errorf("%+v", info)
				}
			})
		})
	}
}

// TestEndlessStream: a streamed list that goes on for ever is given up for pages, and
// one that only takes long is not.
func TestEndlessStream(t *testing.T) {
	for name, c := range map[string]struct {
		every  time.Duration
		number func(i int) int
		most   int // additions; 0: without end
		within time.Duration
		pages  bool
	}{
		"slow":          {time.Second, func(i int) int { return i }, 0, 40 * time.Second, true},
		"repeated":      {time.Millisecond, func(i int) int { return i % 100 }, 0, 40 * time.Second, true},
		"long":          {5 * time.Millisecond, func(i int) int { return i }, 20_000, 101 * time.Second, false},
		"slow at first": {time.Second, func(i int) int { return i }, 25, 26 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := listsWith(func(w *informertest.Response, _ int) { w.Send(page(0, "x")) })
				lists := server.Handler
				server.Handler = func(w *informertest.Response, r *http.Request) {
					if !informertest.IsInitial(r) {
						lists(w, r)
						return
					}
					for i := 0; c.most == 0 || i < c.most; i++ {
						w.Send(informertest.EventText("ADDED", informertest.PodText(fmt.Sprint("p", c.number(i)), "5", "v")))
						if !w.Wait(c.every) {
							return
						}
					}
					w.Send(informertest.BookmarkText("10", true))
					<-r.Context().Done()
				}
				r, s := followPods(t, server)
				elapse(c.within)
				if info := r.Info(); info.Passes != 1 || info.Err != nil {
					t.Errorf("after %v: %+v", c.within, info)
				}
				if valueOf(s) != "" != c.pages || !c.pages && s.Len() != c.most {
					t.Errorf("%d objects, want those of pages: %v", s.Len(), c.pages)
				}
			})
		})
	}
}
