// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
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
	lw := informer.NewListWatchFromClient(restClient(t, srv.URL, nil), "pods", "shop",
		informer.WithFieldSelector(fields.OneTermEqualSelector("spec.nodeName", "n1")), informer.WithLabelSelector("app=web"), nil, careless)
	list, err := lw.List(metav1.ListOptions{Limit: 7, ResourceVersion: "3"})
	if pods, ok := list.(*corev1.PodList); err != nil || !ok || len(pods.Items) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if got, want := <-requests, "/api/v1/namespaces/shop/pods?fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Dweb&limit=7&resourceVersion=3"; got != want {
		t.Errorf("requested\n%s\nwant\n%s", got, want)
	}
	all := informer.NewListWatchFromClient(restClient(t, srv.URL, nil), "nodes", "")
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
		Source: informer.FromListerWatcher[informertest.Object](&informer.ListWatch{}, nil), Sink: struct {
			store.Sink[informertest.Object]
		}{},
	})
	if err == nil || !strings.Contains(err.Error(), "NewListWatchFromClient") {
		t.Errorf("without functions: %v", err)
	}
}

// The helper calls OnList, then OnEvent, and OnList anew if told to or if OnEvent
// fails for good.
func TestListWatchHelper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true}
		for _, line := range []string{
			"list rv=100 a@1 b@2", "watch", "  after 10s", "  ~a@101", "  +c@102", "  -b@103",
			"list rv=110 a@101 c@102", "watch", "  after 100s", "  ~c@111", "list rv=120 c@111", "watch",
		} {
			if !server.Read(line) {
				t.Fatal(line)
			}
		}
		var mu sync.Mutex
		var calls []string
		failures := 0
		helper, err := informer.NewListWatchHelper(server, informer.ListWatchCallback[informertest.Object]{
			OnList: func(_ context.Context, objects []informer.Object[informertest.Object]) error {
				mu.Lock()
				defer mu.Unlock()
				text := "list"
				for _, obj := range objects {
					text += " " + obj.Meta.String()
				}
				calls = append(calls, text)
				return nil
			},
			OnEvent: func(_ context.Context, change informer.BatchChange[informertest.Object]) error {
				mu.Lock()
				defer mu.Unlock()
				if change.Version == "111" {
					failures++
					return errors.New("it fails for good")
				}
				calls = append(calls, fmt.Sprint(change.Kind, " ", change.Meta))
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = helper.Run(ctx) })
		time.Sleep(30 * time.Second)
		helper.Reset(errors.New("the remote side lost its data"))
		time.Sleep(10 * time.Minute)
		cancel()
		wg.Wait()
		want := []string{"list a@1 b@2", "modified a@101", "added c@102", "deleted b@2", "list a@101 c@102", "list c@111"}
		if !slices.Equal(calls, want) || failures != 5 {
			t.Errorf("%d failures, called\n%q\nwant\n%q", failures, calls, want)
		}
		if s := helper.Stats(); s.Snapshots != 3 || s.Accepted != 1 {
			t.Errorf("%+v", s)
		}
	})
	if _, err := informer.NewListWatchHelper(&informertest.ScriptedServer{}, informer.ListWatchCallback[informertest.Object]{}); err == nil {
		t.Error("without functions")
	}
}

// What is missing or makes no sense is an error of the constructor.
func TestBatcherConfigIsChecked(t *testing.T) {
	server, consumer := &informertest.ScriptedServer{}, &scriptedConsumer{}
	onBatch := func(context.Context, informer.Batch[informertest.Object]) error { return nil }
	for want, cfg := range map[string]informer.BatcherConfig[informertest.Object]{
		"Consumer is nil":    {ListerWatcher: server},
		"Source are nil":     {Consumer: consumer},
		"both set":           {Consumer: consumer, ListerWatcher: server, Source: informertest.CarelessSource{}},
		"nil function":       {Consumer: informer.WholeSnapshots(nil, onBatch), ListerWatcher: server},
		"MaxItems":           {Consumer: consumer, ListerWatcher: server, Merger: informer.MergerConfig[informertest.Object]{MaxItems: -1}},
		"MaxPendingBytes":    {Consumer: consumer, ListerWatcher: server, Merger: informer.MergerConfig[informertest.Object]{MaxPendingBytes: -1}},
		"Backoff.Initial":    {Consumer: consumer, ListerWatcher: server, Merger: informer.MergerConfig[informertest.Object]{Backoff: informer.Backoff{Initial: -1}}},
		"PageSize is -1":     {Consumer: consumer, ListerWatcher: server, PageSize: -1},
		"give ListAuto, Lis": {Consumer: consumer, ListerWatcher: server, Lists: 17},
	} {
		if _, err := informer.NewBatcher("pods", cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pods") {
			t.Errorf("error %v, want one with %q and the name", err, want)
		}
	}
	if _, err := informer.NewBatcher("", informer.BatcherConfig[informertest.Object]{ListerWatcher: server, Consumer: consumer}); err == nil {
		t.Error("without a name")
	}
	if _, err := informer.NewEventMerger[informertest.Object]("m", informer.MergerConfig[informertest.Object]{}, nil); err == nil {
		t.Error("a merger without a consumer")
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
		lw := informer.NewListWatchFromClient(c, "pods", "")
		source := informer.FromListerWatcher[*corev1.Pod](lw, nil)
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
