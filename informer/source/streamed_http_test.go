// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// TestNoConnection: a network that lets no connection through says nothing of
// whether the server streams its lists.
func TestNoConnection(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	client, err := rest.RESTClientFor(&rest.Config{
		Host: "http://server", APIPath: "/api", QPS: -1,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			<-end
			return nil, errors.New("end of test")
		},
		ContentConfig: rest.ContentConfig{
			GroupVersion:         &schema.GroupVersion{Version: "v1"},
			NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	failures := make(chan informer.ListFailed, 100)
	r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
		Source: podSource(client), Sink: informertest.NewChanSink[*corev1.Pod](), Settings: informer.Settings{
			InitialSilence: 20 * time.Millisecond,
			Backoff:        informer.Backoff{Initial: time.Millisecond, Max: time.Millisecond},
		},
		Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
			switch o := o.(type) {
			case informer.ListFailed:
				select {
				case failures <- o:
				default:
				}
			case informer.WatchListUnavailable:
				t.Errorf("streams are given up: %v", o.Err)
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	for range 3 {
		failed := informertest.Await(t, "failure", failures)
		var silence *informer.SilenceError
		if failed.Cause != informer.CauseSilent || !errors.As(failed.Err, &silence) || silence.Unanswered {
			t.Errorf("%v: %v", failed.Cause, failed.Err)
		}
	}
	cancel()
	informertest.Await(t, "end of Run", ran)
}

// TestRetryAfterWithinClient: client-go itself waits as long as a busy server
// asks for, and then tries again. That the stream brings nothing meanwhile does
// not mean that the server has none, and a list would be what it asked not to
// be sent.
func TestRetryAfterWithinClient(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Get("watch") == "" {
			t.Errorf("a list: %s", req.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		if requests.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"}}}`+"\n"+
			`{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"2","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n")
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	}))
	t.Cleanup(srv.Close)
	sink := informertest.NewChanSink[*corev1.Pod]()
	r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
		Source: podSource(restClient(t, srv.URL, nil)), Sink: sink, Settings: informer.Settings{InitialSilence: 300 * time.Millisecond},
		Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
			if o, ok := o.(informer.ListFailed); ok && o.Cause != informer.CauseCanceled {
				t.Errorf("the pass failed: %v", o.Err)
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	if version := informertest.Await(t, "pass", sink.Commits); version != "2" {
		t.Errorf("committed at %s", version)
	}
	cancel()
	informertest.Await(t, "end of Run", ran)
}
