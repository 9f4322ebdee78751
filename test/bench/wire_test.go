// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// TestWireReaders: in processes of their own, everybody comes to have exactly what the
// server has, in each form, and after changes. Each process checks that itself.
func TestWireReaders(t *testing.T) {
	const n = 777 // some pages
	for form, names := range map[string][]string{
		wireProtobuf: append([]string{nameSmall}, wireNames...), wireJSON: wireFollow, wireWidgets: wireUntyped,
	} {
		load := wireLoad{Form: form, Objects: n}
		if form != wireWidgets {
			load.Changes, load.Rounds = 100, 2
		}
		h, err := startWireHost(load)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			err := h.with(name, 2, func(r *wireRun) error {
				synced, retained, err := r.sync()
				if err != nil {
					return err
				}
				if synced.CPU <= 0 || synced.PeakHeap <= 0 || retained.Retained <= 0 {
					t.Errorf("%s measured %+v, %+v", name, synced, retained)
				}
				changed, err := r.change()
				if load.Rounds > 0 && changed.Allocated <= 0 {
					t.Errorf("%s measured %+v of changes", name, changed)
				}
				return err
			})
			if err != nil {
				t.Errorf("%s, %s: %v", form, name, err)
			}
		}
		// Who has something else than the server is found out.
		h.Objects, h.Rounds = n-1, 0
		if err := h.with(nameOurs, 0, func(r *wireRun) error { _, _, err := r.sync(); return err }); err == nil {
			t.Error("nobody minds an object too many")
		}
		if err := h.with("nobody", 1, func(r *wireRun) error { _, _, err := r.sync(); return err }); err == nil {
			t.Error("nobody read something")
		}
		if err := h.stop(nil); err != nil {
			t.Error(err)
		}
	}
}

// wireTestServer serves a few objects in this process.
func wireTestServer(t *testing.T, form string, n int) (*wireServer, wireTask) {
	t.Helper()
	rounds := 0
	if form != wireWidgets {
		rounds = 1
	}
	c, err := newWireCollection(form, n, 2, rounds)
	if err != nil {
		t.Fatal(err)
	}
	s := newWireServer([]*wireCollection{c}, time.Minute, func() {})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return s, wireTask{wireLoad: wireLoad{Form: form, Objects: n}, Address: server.URL}
}

// TestWireServer: what client-go decodes of the server is what was made, in lists, pages
// and watches.
func TestWireServer(t *testing.T) {
	const n = 25
	for _, form := range []string{wireProtobuf, wireJSON} {
		s, task := wireTestServer(t, form, n)
		lw, err := task.listWatch()
		if err != nil {
			t.Fatal(err)
		}
		var pods []corev1.Pod
		for opts := (metav1.ListOptions{Limit: 10}); ; {
			obj, err := cache.ToListerWithContext(lw).ListWithContext(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			page := obj.(*corev1.PodList)
			pods = append(pods, page.Items...)
			if page.ResourceVersion != "25" {
				t.Errorf("the list has version %q", page.ResourceVersion)
			}
			if opts.Continue = page.Continue; opts.Continue == "" {
				break
			}
		}
		if len(pods) != n {
			t.Fatalf("%d pods", len(pods))
		}
		for i := range pods {
			got, _ := pods[i].Marshal()
			if want, _ := wirePod(i).Marshal(); !bytes.Equal(got, want) {
				t.Errorf("%s: pod %d is %s", form, i, &pods[i])
			}
		}
		whole, err := cache.ToListerWithContext(lw).ListWithContext(t.Context(), metav1.ListOptions{Limit: 10, ResourceVersion: "0"})
		if err != nil || len(whole.(*corev1.PodList).Items) != n {
			t.Errorf("a list of version 0 is not whole: %v", err)
		}
		testWireWatch(t, s, lw, n)
	}
}

func testWireWatch(t *testing.T, s *wireServer, lw cache.ListerWatcher, n int) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watcher, yes := cache.ToWatcherWithContext(lw), true
	w, err := watcher.WatchWithContext(ctx, metav1.ListOptions{SendInitialEvents: &yes, AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	next := func(kind watch.EventType, version string) watch.Event {
		t.Helper()
		event := <-w.ResultChan()
		if pod, ok := event.Object.(*corev1.Pod); event.Type != kind || ok && pod.ResourceVersion != version {
			t.Fatalf("got %v, want %s of version %s", event, kind, version)
		}
		return event
	}
	for i := range n {
		next(watch.Added, wireVersion(i, n, 0))
	}
	if pod := next(watch.Bookmark, "25").Object.(*corev1.Pod); pod.Annotations[metav1.InitialEventsAnnotationKey] != "true" {
		t.Errorf("the bookmark is not that of the end: %v", pod)
	}
	s.broadcast(serverChange)
	for i := range 2 {
		got := next(watch.Modified, wireVersion(i, n, 1)).Object.(*corev1.Pod)
		old := wirePod(i)
		if got.Status.Conditions[3].LastTransitionTime == old.Status.Conditions[3].LastTransitionTime || got.Labels["app.kubernetes.io/name"] != old.Labels["app.kubernetes.io/name"] {
			t.Errorf("pod %d has changed to %v", i, got)
		}
	}
	s.broadcast(serverExpire)
	if err := apierrors.FromObject(next(watch.Error, "").Object); !apierrors.IsResourceExpired(err) {
		t.Errorf("the watch ended with %v", err)
	}
	if event, ok := <-w.ResultChan(); ok {
		t.Errorf("another event: %v", event)
	}
	// Only a list gives a version that can be watched from.
	again, err := watcher.WatchWithContext(ctx, metav1.ListOptions{ResourceVersion: "25"})
	if err != nil {
		t.Fatal(err)
	}
	if event := <-again.ResultChan(); event.Type != watch.Error {
		t.Errorf("a watch that is too old begins with %v", event)
	}
	again.Stop()
}

// TestWireWidgets: the list is what a server sends of custom resources, its metadata at
// the end, and a widget is as long as a pod.
func TestWireWidgets(t *testing.T) {
	_, task := wireTestServer(t, wireWidgets, 3)
	resp, err := http.Get(task.Address + "/apis/bench.example.com/v1/widgets")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal(body, &list); err != nil || len(list.Items) != 3 {
		t.Errorf("%d items, %v", len(list.Items), err)
	}
	if !bytes.HasSuffix(body, []byte(`"metadata":{"resourceVersion":"3"}}`+"\n")) {
		t.Errorf("the list ends with %s", body[len(body)-80:])
	}
	widget, _ := json.Marshal(wireWidget(1).Object)
	pod, _ := wirePod(1).Marshal()
	for what, size := range map[string]int{"widget": len(widget), "pod": len(pod)} {
		if size < 2700 || size > 3100 {
			t.Errorf("a %s has %d bytes", what, size)
		}
	}
}

// TestWirePlot: the plot is XML and has a curve for each contestant.
func TestWirePlot(t *testing.T) {
	traces := &wireTraces{}
	for _, name := range []string{"a", "b"} {
		stop := traces.watch(os.Getpid(), "50k", name)
		time.Sleep(3 * wireSampling)
		stop()
	}
	text := traces.svg()
	if n := strings.Count(string(text), "<polyline"); n != 2 {
		t.Errorf("%d curves", n)
	}
	dec := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	if len(traces.traces["a"]) < 2 {
		t.Errorf("%d samples", len(traces.traces["a"]))
	}
}
