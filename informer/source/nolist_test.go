// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/servertest"
)

// noLists are answers of 200 to the request of a list of pods that are none.
var noLists = map[string]string{
	"an empty object":      `{}`,
	"null":                 `null`,
	"success":              `{"kind":"Status","apiVersion":"v1","status":"Success","code":200}`,
	"failure":              `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500}`,
	"an error":             `{"error":{"code":401,"message":"sign in"}}`,
	"another kind":         `{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"20"},"items":[]}`,
	"another version":      `{"kind":"PodList","apiVersion":"v2","metadata":{"resourceVersion":"20"},"items":[]}`,
	"without version":      `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`,
	"version 0":            `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"0"},"items":[]}`,
	"without items":        `{"kind":"PodList","apiVersion":"v1","metadata":{}}`,
	"a page of two":        `{"kind":"PodList","apiVersion":"v1","metadata":{"continue":"x"},"items":[]}`,
	"services on page two": `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"20","continue":"services"},"items":[]}`,
	"nothing on page two":  `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"20","continue":"nothing"},"items":[]}`,
	"older on page two":    `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"20","continue":"older"},"items":[]}`,
}

// secondPages are by their continue token.
var secondPages = map[string]string{
	"services": noLists["another kind"],
	"nothing":  noLists["an empty object"],
	"older":    `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"15"},"items":[]}`,
}

func jsonAnswer(r *http.Request, body string) *http.Response {
	return servertest.Answer(r, http.StatusOK, runtime.ContentTypeJSON, strings.NewReader(body))
}

// noListTransport answers one list well, and ends the watch after it. Other lists are not
// lists, which fakeapi does not send.
type noListTransport struct {
	mu    sync.Mutex
	body  string
	lists int
}

func (s *noListTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	body := s.body
	switch {
	case q.Get("watch") != "" && s.lists == 1:
		body = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`
	case q.Get("watch") != "":
		return nil, errors.New("no watch any more")
	case q.Get("continue") != "":
		body = secondPages[q.Get("continue")]
	default:
		if s.lists++; s.lists == 1 {
			body = podList
		}
	}
	return jsonAnswer(r, body), nil
}

func (s *noListTransport) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// TestNoList: what is no page of the list deletes nothing, whatever client reads it.
func TestNoList(t *testing.T) {
	quiet(t)
	for name, body := range noLists {
		t.Run(name, func(t *testing.T) {
			transport := &noListTransport{body: body}
			client := &http.Client{Transport: transport}
			config := &rest.Config{Host: "http://127.0.0.1:1", QPS: -1}
			typed, err := kubernetes.NewForConfigAndClient(config, client)
			if err != nil {
				t.Fatal(err)
			}
			untyped, err := dynamic.NewForConfigAndClient(config, client)
			if err != nil {
				t.Fatal(err)
			}
			pods := typed.CoreV1().Pods("")
			t.Run("typed", func(t *testing.T) {
				playNoList(t, transport, source.FromListerWatcher[*corev1.Pod](listWatchBy(
					func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) }, pods.Watch), nil))
			})
			t.Run("dynamic", func(t *testing.T) {
				if name == "another version" {
					t.Skip("the version of a custom resource can change, and what a dynamic client asks for is not known")
				}
				pods := untyped.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
				playNoList(t, transport, source.FromListerWatcher[*unstructured.Unstructured](listWatchBy(
					func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
					func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return pods.Watch(ctx, o) }), nil))
			})
			t.Run("stream", func(t *testing.T) { playNoList(t, transport, podSource(hostileClient(t, transport))) })
		})
	}
}

func listWatchBy(list func(context.Context, metav1.ListOptions) (runtime.Object, error), open func(context.Context, metav1.ListOptions) (watch.Interface, error)) cache.ListerWatcher {
	return &cache.ListWatch{ListWithContextFunc: list, WatchFuncWithContext: open}
}

func playNoList[T any](t *testing.T, transport *noListTransport, s informer.Source[T]) {
	transport.mu.Lock()
	transport.lists = 0
	transport.mu.Unlock()
	sink := informertest.NewChanSink[T]()
	r, cancel, ran := runQuick(t, s, sink)
	deadline := time.Now().Add(30 * time.Second)
	for transport.listed() < 4 && len(sink.Commits) < 2 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	info := r.Info()
	cancel()
	<-ran
	if len(sink.Commits) != 1 || len(sink.Deleted) != 0 {
		t.Errorf("%d commits and %d deletions, want those of the good list alone", len(sink.Commits), len(sink.Deleted))
	}
	if info.Err == nil || strings.Contains(fmt.Sprint(info.Err), "no watch any more") {
		t.Errorf("the failure is %v", info.Err)
	}
}

// brokenListTransport answers a page of a list that then breaks off, and with what is no
// list from then on. fakeapi sends lists only.
type brokenListTransport struct {
	mu     sync.Mutex
	paged  bool
	others int
}

func (s *brokenListTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case q.Get("watch") != "":
		return nil, errors.New("no watch")
	case q.Get("continue") != "":
		return jsonAnswer(r, `null`), nil
	case !s.paged:
		s.paged = true
		return jsonAnswer(r, strings.Replace(podList, `"resourceVersion"`, `"continue":"more","resourceVersion"`, 1)), nil
	}
	s.others++
	return jsonAnswer(r, `{}`), nil
}

// TestNoListAfterBrokenPass: what is no page of the list does not complete a first list of
// which a page was read, and so deletes nothing of that.
func TestNoListAfterBrokenPass(t *testing.T) {
	quiet(t)
	transport := &brokenListTransport{}
	typed, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "http://127.0.0.1:1", QPS: -1}, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	pods := typed.CoreV1().Pods("")
	sink := informertest.NewChanSink[*corev1.Pod]()
	_, cancel, ran := runQuick(t, source.FromListerWatcher[*corev1.Pod](listWatchBy(
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) }, pods.Watch), nil), sink)
	for deadline := time.Now().Add(30 * time.Second); len(sink.Commits) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		transport.mu.Lock()
		others := transport.others
		transport.mu.Unlock()
		if others > 3 {
			break
		}
	}
	cancel()
	<-ran
	if len(sink.Commits) != 0 {
		t.Errorf("%d commits, want none", len(sink.Commits))
	}
}
