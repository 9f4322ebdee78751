// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// What NewListWatchFromClient requests: the path, the selectors, the options of the
// Reflector, which selectors cannot touch; and a request ends with its context.
func TestNewListWatchFromClient(t *testing.T) {
	requests := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.String()
		if r.URL.Query().Get("watch") == "" && r.URL.Query().Get("limit") != "9" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a"}}]}`))
			return
		}
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	careless := func(o *metav1.ListOptions) { o.Limit, o.ResourceVersion = 0, "0" }
	lw := source.NewListWatchFromClient(restClient(t, srv.URL, nil), "pods", "shop",
		source.WithFieldSelector(fields.OneTermEqualSelector("spec.nodeName", "n1")), source.WithLabelSelector("app=web"), nil, careless)
	list, err := lw.List(metav1.ListOptions{Limit: 7, ResourceVersion: "3"})
	if pods, ok := list.(*corev1.PodList); err != nil || !ok || len(pods.Items) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if got, want := <-requests, "/api/v1/namespaces/shop/pods?fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Dweb&limit=7&resourceVersion=3"; got != want {
		t.Errorf("requested\n%s\nwant\n%s", got, want)
	}
	all := source.NewListWatchFromClient(restClient(t, srv.URL, nil), "nodes", "")
	if _, err := all.List(metav1.ListOptions{Limit: 1}); err != nil {
		t.Error(err)
	}
	if got, want := <-requests, "/api/v1/nodes?limit=1"; got != want {
		t.Errorf("requested %s, want %s", got, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := lw.ListWithContext(ctx, metav1.ListOptions{Limit: 9})
		ended <- err
	}()
	<-requests
	cancel()
	if err := informertest.Await(t, "end of the list", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the list ended with %v", err)
	}
	_, err = informer.NewReflector(informer.Config[informertest.Object]{
		Source: source.FromListerWatcher[informertest.Object](&source.ListWatch{}, nil), Sink: struct {
			store.Sink[informertest.Object]
		}{},
	})
	if err == nil || !strings.Contains(err.Error(), "NewListWatchFromClient") {
		t.Errorf("without functions: %v", err)
	}
}

// throttled is a client whose limit is used up.
type throttled struct{ cache.Getter }

func (c throttled) Get() *rest.Request {
	return c.Getter.Get().Throttle(flowcontrol.NewFakeNeverRateLimiter())
}

// Lists wait for the limit of the client, and watches, streamed or not, do not, as in
// client-go.
func TestListWatchThrottles(t *testing.T) {
	pods := answers{format: runtime.ContentTypeJSON, list: informertest.Encode(t, runtime.ContentTypeJSON, informertest.WirePods(1))}
	srv := httptest.NewServer(pods)
	t.Cleanup(srv.Close)
	for _, limited := range []bool{false, true} {
		var c cache.Getter = restClient(t, srv.URL, nil)
		if limited {
			c = throttled{c}
		}
		lw := source.NewListWatchFromClient(c, "pods", "")
		source := source.FromListerWatcher[*corev1.Pod](lw, nil)
		if _, _, err := listedBy(t, source); (err != nil) != limited {
			t.Errorf("limited %v: list: %v", limited, err)
		}
		stream, err := source.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Errorf("limited %v: streamed watch: %v", limited, err)
		} else {
			stream.Stop()
		}
		w, err := lw.Watch(metav1.ListOptions{})
		if err != nil {
			t.Errorf("limited %v: watch: %v", limited, err)
		} else {
			w.Stop()
		}
	}
}
