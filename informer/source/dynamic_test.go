// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

var (
	podsV1        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	deploymentsV1 = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// dynamicServer answers with an empty list, or with a watch without events, and
// passes on what it was asked.
func dynamicServer(t *testing.T) (*rest.Config, <-chan *url.URL) {
	asked := make(chan *url.URL, 100)
	return dynamicConfig(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			_, _ = w.Write([]byte(`{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[]}`))
		}
	}), asked
}

func dynamicConfig(t *testing.T, handler http.HandlerFunc) *rest.Config {
	srv := httptest.NewServer(handler)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
	})
	return &rest.Config{Host: srv.URL, Transport: transport, QPS: -1}
}

func newFactory(t *testing.T, config *rest.Config) source.DynamicListerWatcherFactory {
	t.Helper()
	factory, err := source.NewDynamicListerWatcherFactory(config)
	if err != nil {
		t.Fatal(err)
	}
	return factory
}

// contextless is what client-go asks for by deprecated names.
type contextless interface {
	List(metav1.ListOptions) (runtime.Object, error)
	Watch(metav1.ListOptions) (watch.Interface, error)
}

func withContext(lw cache.ListerWatcher) cache.ListerWatcherWithContext {
	return lw.(cache.ListerWatcherWithContext)
}

func streamed(t *testing.T, lw any, opts metav1.ListOptions) error {
	body, err := lw.(source.Streamer).Stream(t.Context(), opts)
	if err == nil {
		_ = body.Close()
	}
	return err
}

// TestDynamicPaths: requests go where the resource is, with and without a context, and as
// streams.
func TestDynamicPaths(t *testing.T) {
	config, asked := dynamicServer(t)
	factory := newFactory(t, config)
	for _, c := range []struct {
		namespace string
		gvr       schema.GroupVersionResource
		want      string
	}{
		{"", podsV1, "/api/v1/pods"},
		{"ns", podsV1, "/api/v1/namespaces/ns/pods"},
		{"", deploymentsV1, "/apis/apps/v1/deployments"},
		{"ns", deploymentsV1, "/apis/apps/v1/namespaces/ns/deployments"},
		{"", schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, "/api/v1/nodes"},
	} {
		lw := factory.ForResource(c.namespace, c.gvr)
		opts := metav1.ListOptions{Limit: 5}
		list, err := withContext(lw).ListWithContext(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if l := list.(*unstructured.UnstructuredList); l.GetResourceVersion() != "7" {
			t.Errorf("a list %v", l)
		}
		if _, err := contextless(lw).List(opts); err != nil {
			t.Error(err)
		}
		w, err := withContext(lw).WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"})
		if err != nil {
			t.Fatal(err)
		}
		w.Stop()
		if w, err = contextless(lw).Watch(metav1.ListOptions{ResourceVersion: "7"}); err != nil {
			t.Fatal(err)
		}
		w.Stop()
		if err := streamed(t, lw, opts); err != nil {
			t.Error(err)
		}
		if err := streamed(t, lw, metav1.ListOptions{ResourceVersion: "7", Watch: true}); err != nil {
			t.Error(err)
		}
		for _, query := range []string{
			"limit=5", "limit=5", "resourceVersion=7&watch=true", "resourceVersion=7&watch=true", "limit=5", "resourceVersion=7&watch=true",
		} {
			if u := <-asked; u.Path != c.want || u.RawQuery != query {
				t.Errorf("asked %s, want %s?%s", u, c.want, query)
			}
		}
	}
}

// TestDynamicTweak: the function may select, and nothing else: it cannot take the
// limit from a list, nor change what is watched from where.
func TestDynamicTweak(t *testing.T) {
	config, asked := dynamicServer(t)
	factory := newFactory(t, config)
	var saw []metav1.ListOptions
	lw := withContext(factory.ForResourceWithOptions("", podsV1, func(o *metav1.ListOptions) {
		saw = append(saw, *o.DeepCopy())
		if o.TimeoutSeconds != nil {
			*o.TimeoutSeconds = 1
		}
		if o.SendInitialEvents != nil {
			*o.SendInitialEvents = false
		}
		*o = metav1.ListOptions{
			LabelSelector: "app=x", FieldSelector: "spec.nodeName=n", ResourceVersion: "0", ResourceVersionMatch: "Exact", Continue: "other",
			Watch: !o.Watch, AllowWatchBookmarks: !o.AllowWatchBookmarks, TimeoutSeconds: new(int64),
		}
	}))
	yes, seconds := true, int64(300)
	first := metav1.ListOptions{Limit: 5, ResourceVersion: "3", ResourceVersionMatch: "NotOlderThan", TimeoutSeconds: &seconds}
	next := metav1.ListOptions{Limit: 5, Continue: "token"}
	events := metav1.ListOptions{
		ResourceVersion: "7", ResourceVersionMatch: "NotOlderThan", AllowWatchBookmarks: true, SendInitialEvents: &yes, TimeoutSeconds: &seconds,
	}
	for _, opts := range []metav1.ListOptions{first, next} {
		if _, err := lw.ListWithContext(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	w, err := lw.WatchWithContext(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	w.Stop()
	if err := streamed(t, lw, first); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"limit=5&resourceVersion=3&resourceVersionMatch=NotOlderThan&timeoutSeconds=300",
		// A timeout is its own to set where the caller set none.
		"continue=token&limit=5&timeoutSeconds=0",
		"allowWatchBookmarks=true&resourceVersion=7&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=300&watch=true",
		"limit=5&resourceVersion=3&resourceVersionMatch=NotOlderThan&timeoutSeconds=300",
	} {
		query := (<-asked).Query()
		if query.Get("labelSelector") != "app=x" || query.Get("fieldSelector") != "spec.nodeName=n" {
			t.Errorf("the selectors are missing: %v", query)
		}
		query.Del("labelSelector")
		query.Del("fieldSelector")
		if got := query.Encode(); got != want {
			t.Errorf("asked\n%s, want\n%s", got, want)
		}
	}
	if want := []metav1.ListOptions{first, next, events, first}; !reflect.DeepEqual(saw, want) {
		t.Errorf("the function saw\n%+v, want\n%+v", saw, want)
	}
	if !yes || seconds != 300 {
		t.Error("the caller's own options were changed")
	}
}

// TestDynamicCancel: a list that the server does not answer ends with its context,
// on the server as well.
func TestDynamicCancel(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	config := dynamicConfig(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	lw := withContext(newFactory(t, config).ForResource("", podsV1))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := lw.ListWithContext(ctx, metav1.ListOptions{Limit: 5})
		failed <- err
	}()
	informertest.Await(t, "request", arrived)
	cancel()
	if err := informertest.Await(t, "end of the list", failed); !errors.Is(err, context.Canceled) {
		t.Errorf("the list failed with %v", err)
	}
	informertest.Await(t, "end of the request", ended)
}

// TestDynamicShares: all that a factory makes is one client: one transport, one rate
// limit. The config is its own.
func TestDynamicShares(t *testing.T) {
	config, asked := dynamicServer(t)
	var transports atomic.Int32
	config.WrapTransport = func(rt http.RoundTripper) http.RoundTripper {
		transports.Add(1)
		return rt
	}
	config.QPS, config.Burst = 0.001, 2
	factory := newFactory(t, config)
	config.Host = "http://elsewhere.invalid"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	one, two := factory.ForResource("", podsV1), factory.ForResource("", podsV1)
	if one == two {
		t.Error("the same ListerWatcher twice")
	}
	if _, err := withContext(one).ListWithContext(ctx, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := streamed(t, two, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	<-asked
	// The next is in 1000 seconds, and so not within the minute.
	_, err := withContext(factory.ForResource("ns", deploymentsV1)).ListWithContext(ctx, metav1.ListOptions{})
	if err == nil || !strings.Contains(err.Error(), "rate") {
		t.Errorf("a request beyond the rate limit of all: %v", err)
	}
	if n := transports.Load(); n != 1 {
		t.Errorf("%d transports", n)
	}
}

// TestDynamicIsChecked: what makes no sense is an error that says what to do, at
// construction if possible.
func TestDynamicIsChecked(t *testing.T) {
	for want, config := range map[string]*rest.Config{
		"the rest.Config is nil: give":                 nil,
		"check the address and the credentials in the": {Host: "http://server:port"},
		"no-such-file": {Host: "https://server", TLSClientConfig: rest.TLSClientConfig{CAFile: "no-such-file"}},
	} {
		if f, err := source.NewDynamicListerWatcherFactory(config); f != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v, %v", want, f, err)
		}
	}
	config, _ := dynamicServer(t)
	for _, gvr := range []schema.GroupVersionResource{{}, {Version: "v1"}, {Resource: "pods"}} {
		lw := withContext(newFactory(t, config).ForResource("", gvr))
		const want = "a resource without a name or a version"
		if _, err := lw.ListWithContext(t.Context(), metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q listed: %v", gvr, err)
		}
		if _, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q watched: %v", gvr, err)
		}
		if err := streamed(t, lw, metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q streamed: %v", gvr, err)
		}
		_, err := informer.NewReflector(informer.Config[*unstructured.Unstructured]{
			Source: source.FromListerWatcher[*unstructured.Unstructured](newFactory(t, config).ForResource("", gvr), nil),
			Sink:   informertest.NewChanSink[*unstructured.Unstructured](),
		})
		if err == nil || !strings.Contains(err.Error(), "Config.Source: "+want) {
			t.Errorf("a Reflector of %q: %v", gvr, err)
		}
	}
}

// TestDynamicReflector: a Reflector follows a custom resource, of which no Go type
// is known, in pages and by watch.
func TestDynamicReflector(t *testing.T) {
	thing := func(name, version string) string {
		return fmt.Sprintf(`{"kind":"Thing","apiVersion":"test.io/v1","metadata":{"name":%q,"namespace":"ns","resourceVersion":%q}}`, name, version)
	}
	config := dynamicConfig(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		query := r.URL.Query()
		if query.Get("labelSelector") != "app=x" {
			t.Errorf("a request without the selector: %s", r.URL)
		}
		list := func(token string, item string) {
			_, _ = fmt.Fprintf(w, `{"kind":"ThingList","apiVersion":"test.io/v1","metadata":{"resourceVersion":"10","continue":%q},"items":[%s]}`, token, item)
		}
		switch {
		case query.Get("watch") != "":
			_, _ = fmt.Fprintf(w, `{"type":"DELETED","object":%s}`, thing("b", "11"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case query.Get("limit") != "1":
			t.Errorf("a list with another limit: %s", r.URL)
		case query.Get("continue") == "":
			list("x", thing("a", "1"))
		default:
			list("", thing("b", "2"))
		}
	})
	lw := newFactory(t, config).ForResourceWithOptions("ns", schema.GroupVersionResource{Group: "test.io", Version: "v1", Resource: "things"},
		func(o *metav1.ListOptions) { o.LabelSelector, o.Limit = "app=x", 0 })
	sink := informertest.NewChanSink[*unstructured.Unstructured]()
	r, err := informer.NewReflector(informer.Config[*unstructured.Unstructured]{
		Source: source.FromListerWatcher[*unstructured.Unstructured](lw, nil), Sink: sink, Settings: informer.Settings{PageSize: 1, Lists: informer.ListPaged},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	got := []string{informertest.Await(t, "first", sink.Applied), informertest.Await(t, "second", sink.Applied), informertest.Await(t, "pass", sink.Commits), informertest.Await(t, "deletion", sink.Deleted)}
	if want := []string{"ns/a", "ns/b", "10", "ns/b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cancel()
	informertest.Await(t, "end of Run", ran)
}
