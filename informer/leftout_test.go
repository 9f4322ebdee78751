// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// badPod is a pod that cannot be decoded.
func badPod(name, version string) string {
	return strings.Replace(informertest.PodText(name, version, "v"), `"nodeName":"v"`, `"nodeName":1`, 1)
}

// collection is a server of pods. The test says what its lists have and what its watch sends.
type collection struct {
	events chan string

	mu      sync.Mutex
	version string
	pods    []string
}

func (c *collection) set(version string, pods ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.pods = version, pods
}

func (c *collection) answer(w *informertest.Response, r *http.Request) {
	c.mu.Lock()
	version, pods := c.version, c.pods
	c.mu.Unlock()
	if !informertest.IsWatch(r) {
		w.Send(informertest.PodsText(version, "", pods...))
		return
	}
	w.WriteHeader(http.StatusOK)
	if informertest.IsInitial(r) {
		for _, pod := range pods {
			w.Send(informertest.EventText("ADDED", pod))
		}
		w.Send(informertest.BookmarkText(version, true))
	}
	for {
		select {
		case event := <-c.events:
			w.Send(event)
		case <-r.Context().Done():
			return
		}
	}
}

// leftOuts notes which objects are left out, and which are no longer.
type leftOuts struct {
	mu   sync.Mutex
	seen []string
}

func (l *leftOuts) Observe(_ informer.ReflectorInfo, o informer.Occurrence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o := o.(type) {
	case informer.ObjectLeftOut:
		l.seen = append(l.seen, "left out "+o.Meta.Key.String())
	case informer.LeftOutEnded:
		l.seen = append(l.seen, "ended "+o.Key.String())
	}
}

// take returns what was noted since the last call.
func (l *leftOuts) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := strings.Join(l.seen, ", ")
	l.seen = nil
	return seen
}

// podNames returns the names and values of what the store has.
func podNames(s *store.Store[*corev1.Pod]) string {
	var names []string
	for _, pod := range s.List() {
		names = append(names, pod.Name+"="+pod.Spec.NodeName)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// An object that cannot be decoded is left out of lists and watches: what was known of it
// stays until it can be decoded again, or is gone. It is reported once until then.
func TestObjectIsLeftOut(t *testing.T) {
	for _, mode := range []informer.ListMode{informer.ListPaged, informer.ListStreamed} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, seen := &collection{events: make(chan string)}, &leftOuts{}
				good := informertest.PodText
				server.set("10", badPod("x", "9"), good("a", "8", "1"))
				r, s := followPods(t, &informertest.Transport{Handler: server.answer}, func(c *informer.Config[*corev1.Pod]) {
					c.Lists, c.Observer = mode, seen
				})
				check := func(what, pods, version, leftOut, occurrences string) {
					t.Helper()
					synctest.Wait()
					info := r.Info()
					var left []string
					for _, l := range info.LeftOut {
						left = append(left, l.Meta.String())
						if l.Meta.Key.Name != "" && (informer.CauseOf(l.Err) != informer.CauseDecoding ||
							!strings.Contains(l.Err.Error(), "field spec.nodeName: a value that does not fit its field: a number for string")) {
							t.Errorf("%s: %v", what, l.Err)
						}
					}
					if got := podNames(s); got != pods || info.Version != version || s.Version() != version || info.Err != nil {
						t.Errorf("%s: %s at %s and %s, want %s at %s: %v", what, got, info.Version, s.Version(), pods, version, info.Err)
					}
					if got := strings.Join(left, " "); got != leftOut || info.MoreLeftOut {
						t.Errorf("%s: left out are %q, %v, want %q", what, got, info.MoreLeftOut, leftOut)
					}
					if got := seen.take(); got != occurrences {
						t.Errorf("%s: observed %q, want %q", what, got, occurrences)
					}
				}
				list := func(version string, pods ...string) {
					server.set(version, pods...)
					r.Resync(errors.New("by the test"))
					elapse(10 * time.Second)
				}
				event := func(kind, pod string) { server.events <- informertest.EventText(kind, pod) }

				elapse(time.Second)
				check("first list", "a=1", "10", "n/x@9", "left out n/x")
				event("MODIFIED", good("x", "11", "1"))
				check("mended", "a=1 x=1", "11", "", "ended n/x")
				event("MODIFIED", badPod("x", "12"))
				check("bad by a watch", "a=1 x=1", "12", "n/x@12", "left out n/x")
				event("MODIFIED", badPod("x", "13"))
				event("MODIFIED", good("a", "14", "2"))
				check("bad again", "a=2 x=1", "14", "n/x@13", "")
				list("15", good("a", "14", "2"), badPod("x", "13"), badPod("y", "15"))
				check("bad by a list", "a=2 x=1", "15", "n/x@13 n/y@15", "left out n/y")
				list("16", good("a", "14", "2"), good("x", "16", "2"))
				check("mended or gone by a list", "a=2 x=2", "16", "", "ended n/x, ended n/y")
				event("MODIFIED", badPod("x", "17"))
				event("DELETED", badPod("x", "18"))
				check("deleted", "a=2", "18", "", "left out n/x, ended n/x")
				list("19", good("b", "19", "1"), strings.Replace(good("c", "19", "1"), `"name":"c",`, "", 1))
				check("without a name", "a=2 b=1", "19", "@", "left out ")
				list("20", good("b", "19", "1"))
				check("all have names again", "b=1", "20", "", "ended ")
				event("ADDED", strings.Replace(badPod("b", "21"), `"uid":"u-b"`, `"uid":"other"`, 1))
				check("another object", "b=1", "21", "n/b@21", "left out n/b")
				list("22", strings.Replace(badPod("b", "21"), `"uid":"u-b"`, `"uid":"other"`, 1))
				check("another object by a list", "", "22", "n/b@21", "")
			})
		})
	}
}

// A list or a watch fails if the source is strict, and a list if the sink cannot keep what it
// has. The error names the object, and the watch of a sink that keeps nothing goes on.
func TestObjectIsNotLeftOut(t *testing.T) {
	strict := func(c *informer.Config[*corev1.Pod], server *informertest.Transport) {
		lw := source.NewListWatchFromClient(informertest.Client(t, server), "pods", "")
		c.Source = source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithStrictDecoding())
	}
	for name, test := range map[string]struct {
		change func(*informer.Config[*corev1.Pod], *informertest.Transport)
		watch  bool // fails
	}{
		"strict": {strict, true},
		"no Keeper": {func(c *informer.Config[*corev1.Pod], _ *informertest.Transport) {
			c.Sink = struct{ store.Sink[*corev1.Pod] }{c.Sink}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &collection{events: make(chan string)}
				server.set("10", informertest.PodText("x", "9", "1"), badPod("y", "10"))
				transport := &informertest.Transport{Handler: server.answer}
				r, s := followPods(t, transport, paged, func(c *informer.Config[*corev1.Pod]) { test.change(c, transport) })
				elapse(time.Minute)
				if info := r.Info(); info.Passes != 0 || info.Cause != informer.CauseDecoding || !strings.Contains(fmt.Sprint(info.Err), "n/y@10") {
					t.Errorf("list: %+v", info)
				}
				server.set("11", informertest.PodText("x", "9", "1"))
				elapse(time.Minute)
				server.events <- informertest.EventText("MODIFIED", badPod("x", "12"))
				synctest.Wait()
				info := r.Info()
				if failed := strings.Contains(fmt.Sprint(info.Err), "n/x@12"); failed != test.watch || failed == (info.Version == "12") || podNames(s) != "x=1" {
					t.Errorf("watch: %s, %+v", podNames(s), info)
				}
			})
		})
	}
}

// A first list of which nothing can be decoded fails, as it would look empty. One object is
// no proof that the type is wrong, and a later list deletes nothing.
func TestNothingCanBeDecoded(t *testing.T) {
	for _, mode := range []informer.ListMode{informer.ListPaged, informer.ListStreamed} {
		synctest.Test(t, func(t *testing.T) {
			server := &collection{}
			server.set("10", badPod("x", "9"), badPod("y", "9"))
			r, s := followPods(t, &informertest.Transport{Handler: server.answer}, func(c *informer.Config[*corev1.Pod]) { c.Lists = mode })
			list := func(version string, pods ...string) informer.ReflectorInfo {
				server.set(version, pods...)
				r.Resync(errors.New("by the test"))
				elapse(time.Minute)
				return r.Info()
			}
			elapse(time.Minute)
			if info := r.Info(); info.Passes != 0 || !strings.Contains(fmt.Sprint(info.Err), "none of the 2 objects in the list can be decoded, so none is left out: decoding object n/y@9: ") {
				t.Errorf("%+v", info)
			}
			if info := list("11", badPod("x", "9")); info.Passes != 1 || info.Err != nil || len(info.LeftOut) != 1 {
				t.Errorf("%+v", info)
			}
			list("12", informertest.PodText("x", "12", "1"), informertest.PodText("y", "12", "1"))
			if info := list("13", badPod("x", "13"), badPod("y", "13")); info.Passes != 3 || len(info.LeftOut) != 2 || podNames(s) != "x=1 y=1" {
				t.Errorf("%s, %+v", podNames(s), info)
			}
		})
	}
}

// A hundred objects are known by name, and one more is reported, however many are left out.
func TestManyAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, seen := &collection{events: make(chan string)}, &leftOuts{}
		var pods []string
		for i := range 300 {
			pods = append(pods, informertest.PodText(fmt.Sprintf("g%03d", i), "9", "1"), badPod(fmt.Sprintf("x%03d", i), "9"))
		}
		server.set("10", pods...)
		r, s := followPods(t, &informertest.Transport{Handler: server.answer}, func(c *informer.Config[*corev1.Pod]) { c.Observer = seen })
		elapse(time.Second)
		for range 3 {
			info := r.Info()
			if s.Len() != 300 || len(info.LeftOut) != 100 || !info.MoreLeftOut || info.Passes == 0 {
				t.Fatalf("%d objects, %d and %v left out", s.Len(), len(info.LeftOut), info.MoreLeftOut)
			}
			r.Resync(errors.New("by the test"))
			elapse(time.Minute)
		}
		if got := seen.take(); strings.Count(got, "left out") != 101 || strings.Contains(got, "ended") {
			t.Errorf("observed %s", got)
		}
		for range 2 {
			server.events <- informertest.EventText("ADDED", badPod("z", "11"))
		}
		synctest.Wait()
		if got := seen.take(); got != "" {
			t.Errorf("observed %s", got)
		}
		server.set("12", pods[:100]...)
		r.Resync(errors.New("by the test"))
		elapse(time.Minute)
		if info := r.Info(); len(info.LeftOut) != 50 || info.MoreLeftOut {
			t.Errorf("%d and %v left out", len(info.LeftOut), info.MoreLeftOut)
		}
	})
}

// What a transform fails for is left out, and tried again by lists that become rarer. So a
// transform that fails for a time leaves nothing out for ever.
func TestLeftOutIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tried []time.Duration
		start := time.Now()
		server := &collection{}
		server.set("10", informertest.PodText("a", "9", "1"), informertest.PodText("x", "9", "1"))
		transport := &informertest.Transport{Handler: server.answer}
		r, s := followPods(t, transport, paged, func(c *informer.Config[*corev1.Pod]) {
			lw := source.NewListWatchFromClient(informertest.Client(t, transport), "pods", "")
			c.Source = source.FromListerWatcher(lw, func(obj runtime.Object) (*corev1.Pod, error) {
				pod := obj.(*corev1.Pod)
				if pod.Name != "x" {
					return pod, nil
				}
				if tried = append(tried, time.Since(start).Round(time.Minute)); len(tried) < 5 {
					return nil, errors.New("not yet")
				}
				return pod, nil
			}, source.WithObjectType(&corev1.Pod{}))
			c.CheckInterval = 10 * time.Minute
		})
		elapse(24 * time.Hour)
		minutes := []time.Duration{0, 10, 30, 70, 130}
		for i := range minutes {
			minutes[i] *= time.Minute
		}
		if info := r.Info(); !slices.Equal(tried, minutes) || podNames(s) != "a=1 x=1" || len(info.LeftOut) > 0 || info.Polling != nil {
			t.Errorf("tried at %v: %s, %+v", tried, podNames(s), info)
		}
	})
}
