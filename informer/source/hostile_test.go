// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/store"
)

const (
	podList  = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}},{"metadata":{"name":"b","resourceVersion":"2"}},{"metadata":{"name":"c","resourceVersion":"3"}}]}`
	podEvent = `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"d","resourceVersion":"11"}}}`
)

// hostile are bodies that a server should not send, as list or as watch.
var hostile = map[string]string{
	"nothing":            ``,
	"null":               `null`,
	"truncated list":     podList[:len(podList)-20],
	"truncated event":    podEvent[:len(podEvent)-20],
	"html":               `<html><body>502 Bad Gateway</body></html>`,
	"a string":           `"pods"`,
	"an array":           `[` + podEvent + `]`,
	"deep":               strings.Repeat(`{"a":`, 20000),
	"wrong list":         `{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[]}`,
	"no list":            `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"10"}}`,
	"unknown kind":       `{"kind":"Wat","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[]}`,
	"no kind":            `{"metadata":{"resourceVersion":"10"},"items":[]}`,
	"table":              `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"10"},"columnDefinitions":[],"rows":[]}`,
	"status success":     `{"kind":"Status","apiVersion":"v1","status":"Success","code":200}`,
	"status failure":     `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500}`,
	"null items":         `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[null,null]}`,
	"nameless":           `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[{}]}`,
	"items no array":     `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":{"a":1}}`,
	"same page for ever": `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"10","continue":"x"},"items":[]}`,
	"event null":         `{"type":"DELETED","object":null}`,
	"event no object":    `{"type":"DELETED"}`,
	"event wrong kind":   `{"type":"DELETED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"12"}}}`,
	"event of a status":  `{"type":"DELETED","object":{"kind":"Status","apiVersion":"v1","metadata":{"resourceVersion":"12"}}}`,
	"event of no type":   `{"object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"12"}}}`,
	"event of odd type":  `{"type":"EXPLODED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"12"}}}`,
	"event nameless":     `{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"12"}}}`,
	"error of a pod":     `{"type":"ERROR","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"12"}}}`,
	"error of nothing":   `{"type":"ERROR","object":{}}`,
	"bookmark of null":   `{"type":"BOOKMARK","object":null}`,
	"protobuf garbage":   "k8s\x00\n\x0b\n\x02v1\x12\x05PodXX\xff\xff\xff\xff\xff\xff",
	"protobuf frame":     "\x7f\xff\xff\xffk8s\x00",
	"zeroes":             strings.Repeat("\x00", 4096),
}

// hostileTransport answers in place of a server: well, or with hostile bytes, which fakeapi
// does not have.
type hostileTransport struct {
	mu          sync.Mutex
	body        string // empty: well
	contentType string
	bad         int // hostile answers so far
	good        bool
	watched     chan struct{}
}

func (h *hostileTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answer := func(contentType string, body io.Reader) (*http.Response, error) {
		return servertest.Answer(r, http.StatusOK, contentType, body), nil
	}
	watches := r.URL.Query().Get("watch") != ""
	if h.good {
		if !watches {
			return answer("application/json", strings.NewReader(podList))
		}
		body := &endlessBody{ctx: r.Context()}
		if h.bad > 0 {
			body.first.WriteString(podEvent)
		}
		select {
		case h.watched <- struct{}{}:
		default:
		}
		return answer("application/json", body)
	}
	h.bad++
	return answer(h.contentType, strings.NewReader(h.body))
}

func (h *hostileTransport) set(good bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.good = good
}

func (h *hostileTransport) answered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bad
}

// endlessBody gives what it has, and then nothing until ctx ends.
type endlessBody struct {
	first bytes.Buffer
	ctx   context.Context
}

func (b *endlessBody) Read(p []byte) (int, error) {
	if b.first.Len() > 0 {
		return b.first.Read(p)
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func hostileClient(t testing.TB, transport http.RoundTripper) rest.Interface {
	base := restClient(t, "http://127.0.0.1:1", nil).(*rest.RESTClient)
	base.Client = &http.Client{Transport: transport}
	return base
}

// quiet keeps client-go from telling of what hostile servers send.
func quiet(t testing.TB) {
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
}

// runQuick runs a Reflector of pages that retries at once. The end of Run comes on ended.
func runQuick[T any](t *testing.T, from informer.Source[T], sink store.Sink[T]) (r *informer.Reflector[T], cancel context.CancelFunc, ended <-chan error) {
	t.Helper()
	r, err := informer.NewReflector(informer.Config[T]{
		Source: from, Sink: sink, Settings: informer.Settings{
			Lists:   informer.ListPaged,
			Backoff: informer.Backoff{Initial: time.Millisecond, Max: 2 * time.Millisecond, Denied: time.Millisecond},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	return r, cancel, ran
}

// TestHostileBytes lets a server answer everything with bytes that it should
// not send, after a good list of three objects. Nothing crashes or hangs,
// nothing is deleted, and once the server is well again all goes on.
func TestHostileBytes(t *testing.T) {
	quiet(t)
	for name, body := range hostile {
		for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
			t.Run(name+" as "+contentType, func(t *testing.T) {
				transport := &hostileTransport{good: true, body: body, contentType: contentType, watched: make(chan struct{}, 1)}
				sink := informertest.NewChanSink[*corev1.Pod]()
				r, cancel, ran := runQuick(t, podSource(hostileClient(t, transport)), sink)
				informertest.Await(t, "first list", sink.Commits)
				informertest.Await(t, "first watch", transport.watched)

				transport.set(false)
				r.Resync(errors.New("to get a hostile list"))
				deadline := time.After(30 * time.Second)
				for transport.answered() < 10 {
					select {
					case version := <-sink.Commits:
						// An empty watch is nothing out of the way; an empty list is.
						t.Fatalf("%q was taken for a list, of version %q", body, version)
					case <-deadline:
						t.Fatalf("only %d answers: %+v", transport.answered(), r.Info())
					case <-time.After(time.Millisecond):
					}
				}
				if info := r.Info(); info.Err == nil || info.Cause == informer.CauseUnknown {
					t.Errorf("Info has cause %q, error %v", info.Cause, info.Err)
				}
				transport.set(true)
				informertest.Await(t, "list of a server that is well again", sink.Commits)
				for name := range sink.Applied {
					if name == "d" {
						break
					}
				}
				cancel()
				informertest.Await(t, "end of Run", ran)
				if len(sink.Deleted) > 0 {
					t.Errorf("%q deleted %s", body, <-sink.Deleted)
				}
			})
		}
	}
}

// TestHostileWatch is the same for a server whose lists are good.
func TestHostileWatch(t *testing.T) {
	quiet(t)
	for name, body := range hostile {
		for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
			t.Run(name+" as "+contentType, func(t *testing.T) {
				transport := &hostileTransport{body: body, contentType: contentType}
				source := podSource(hostileClient(t, transport))
				stream, err := source.Watch(t.Context(), metav1.ListOptions{})
				if err != nil {
					return
				}
				defer stream.Stop()
				for {
					event, err := stream.Next()
					if err != nil {
						if _, again := stream.Next(); again == nil {
							t.Error("no error after an error")
						}
						if cause := informer.CauseOf(err); cause == informer.CauseUnknown && err != io.EOF {
							t.Errorf("cause of %v is unknown", err)
						}
						return
					}
					t.Errorf("%q gave an event: %s %v", body, event.Type, event.Item)
				}
			})
		}
	}
}

// FuzzBytes feeds bytes to a list and to a watch through a typed client.
func FuzzBytes(f *testing.F) {
	quiet(f)
	for _, body := range hostile {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Add([]byte(podList), false)
	f.Add([]byte(podEvent), false)
	f.Fuzz(func(t *testing.T, body []byte, protobuf bool) {
		contentType := "application/json"
		if protobuf {
			contentType = "application/vnd.kubernetes.protobuf"
		}
		transport := &hostileTransport{body: string(body), contentType: contentType}
		source := podSource(hostileClient(t, transport))
		check := func(item informer.Item[*corev1.Pod]) error {
			meta := item.Meta()
			pod, err := item.Decode()
			if err == nil && meta.Key.Name == "" {
				t.Errorf("an item without a name")
			}
			if err == nil && (pod == nil || pod.Name != meta.Key.Name) {
				t.Errorf("%v decoded to %v", meta, pod)
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, _ = source.List(ctx, metav1.ListOptions{Limit: 500}, check)
		if stream, err := source.Watch(ctx, metav1.ListOptions{}); err == nil {
			for {
				event, err := stream.Next()
				if err != nil {
					break
				}
				if event.Item != nil {
					_ = check(event.Item)
				}
			}
			stream.Stop()
		}
		if ctx.Err() != nil {
			t.Errorf("hangs on %q", body)
		}
	})
}
