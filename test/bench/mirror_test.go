// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// localSource is a source in this process, and carries out its tasks here as well.
type localSource struct{ *httptest.Server }

func startLocalSource(objects int) (mirrorSource, error) {
	return localSource{httptest.NewServer(podServer{pods: objects, beat: time.Minute})}, nil
}

func (s localSource) do(t mirrorTask) (mirrorResult, error) {
	t.address = s.URL
	return t.do(context.Background())
}

func (s localSource) stop() error {
	s.Close()
	return nil
}

// TestMirror: in processes of their own, everybody comes to record exactly what the
// source has, be it after a start, after a restart, or after a stop on the way.
// That is checked by each process itself.
func TestMirror(t *testing.T) {
	const n = 1234 // some pages
	source, err := startSource(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []mirrorTask{
		{contestant: nameOurs},
		{contestant: nameOurs, restart: true},
		{contestant: nameOurs, hold: true},
		{contestant: nameClientGo},
		{contestant: nameStripped},
	} {
		task.objects = n
		got, err := source.do(task)
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Millis <= 0 || got.CPU <= 0 || got.PeakHeap <= 0 || got.Samples == 0 {
			t.Errorf("%+v measured %+v", task, got)
		}
		if task.hold && got.Held <= 0 {
			t.Errorf("%+v held %d bytes while it was stopped", task, got.Held)
		}
	}
	// A process that failed says why.
	for _, task := range []mirrorTask{
		{contestant: nameStripped, hold: true, objects: n},
		{contestant: nameOurs, objects: n - 1},
		{contestant: "nobody", objects: n},
	} {
		if _, err := source.do(task); err == nil {
			t.Errorf("%+v succeeded", task)
		} else {
			t.Log(err)
		}
	}
	if err := source.stop(); err != nil {
		t.Error(err)
	}
}

// TestPodServer: lists are paged, except of version "0", and watches begin with all pods
// on request. The pods are as in the README.
func TestPodServer(t *testing.T) {
	const n = 25
	server := httptest.NewServer(podServer{pods: n, beat: time.Millisecond})
	defer server.Close()
	lw, err := podsAt(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	list := func(opts metav1.ListOptions) *corev1.PodList {
		t.Helper()
		obj, err := cache.ToListerWithContext(lw).ListWithContext(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		return obj.(*corev1.PodList)
	}
	var pods []corev1.Pod
	for opts := (metav1.ListOptions{Limit: 10}); ; {
		page := list(opts)
		pods = append(pods, page.Items...)
		if page.ResourceVersion != collectionVersion {
			t.Errorf("the list has version %q", page.ResourceVersion)
		}
		if page.Continue == "" {
			break
		}
		if len(page.Items) != 10 || *page.RemainingItemCount != int64(n-len(pods)) {
			t.Errorf("a page of %d, and %d more", len(page.Items), *page.RemainingItemCount)
		}
		opts.Continue = page.Continue
	}
	seen := map[store.Meta]bool{}
	for i := range pods {
		if got, want := store.MetaOf(&pods[i]), metaOf(i, n); got != want {
			t.Errorf("pod %d is %s, want %s", i, got, want)
		}
		seen[store.MetaOf(&pods[i])] = true
		same := *makePod(0)
		same.Namespace, same.Name, same.UID, same.ResourceVersion = pods[i].Namespace, pods[i].Name, pods[i].UID, pods[i].ResourceVersion
		if !apiequality.Semantic.DeepEqual(pods[i], same) {
			t.Errorf("pod %d differs in more than what tells it from others: %v", i, pods[i])
		}
	}
	if len(pods) != n || len(seen) != n {
		t.Errorf("%d pods, %d different ones; want %d", len(pods), len(seen), n)
	}
	if whole := list(metav1.ListOptions{Limit: 10, ResourceVersion: "0"}); len(whole.Items) != n || whole.Continue != "" {
		t.Errorf("a list of version 0 has %d pods", len(whole.Items))
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	yes := true
	w, err := cache.ToWatcherWithContext(lw).WatchWithContext(ctx, metav1.ListOptions{SendInitialEvents: &yes, AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n + 2 {
		event := <-w.ResultChan()
		pod, ok := event.Object.(*corev1.Pod)
		switch {
		case !ok:
			t.Fatalf("event %d is %v", i, event)
		case i < n:
			if got, want := store.MetaOf(pod), metaOf(i, n); event.Type != watch.Added || got != want {
				t.Errorf("event %d is %s of %s, want %s", i, event.Type, got, want)
			}
		default:
			ends := pod.Annotations[metav1.InitialEventsAnnotationKey] == "true"
			if event.Type != watch.Bookmark || pod.ResourceVersion != collectionVersion || ends != (i == n) {
				t.Errorf("event %d is %s of version %s, end of the initial events: %t", i, event.Type, pod.ResourceVersion, ends)
			}
		}
	}
	cancel()
	for range w.ResultChan() {
	}
}

var uuid = regexp.MustCompile("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$")

// TestIdentities: no two pods of a collection are confused.
func TestIdentities(t *testing.T) {
	const n = 50_000
	names, versions, namespaces := map[store.Key]bool{}, map[string]bool{}, map[string]bool{}
	for i := range n {
		meta := metaOf(i, n)
		names[meta.Key], versions[meta.Version], namespaces[meta.Key.Namespace] = true, true, true
	}
	if len(names) != n || len(versions) != n || len(namespaces) != mirroredNamespaces {
		t.Errorf("%d names, %d versions, %d namespaces", len(names), len(versions), len(namespaces))
	}
	if meta := metaOf(12345, n); len(meta.Key.Namespace) != 12 || len(meta.Key.Name) != 36 || !uuid.MatchString(string(meta.UID)) {
		t.Errorf("a pod is %s with UID %s", meta, meta.UID)
	}
}
