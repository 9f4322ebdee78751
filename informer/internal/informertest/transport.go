// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// Transport is an http.RoundTripper that lets Handler answer, without a network. It is
// for virtual time. The answers are any bytes, in any pieces, and the trace of the request
// gets a connection. fakeapi does neither.
type Transport struct {
	Handler func(w *Response, r *http.Request)

	mu             sync.Mutex
	down           error
	lists, watches int
}

// Down makes requests fail with err before there is a connection; nil ends that.
func (t *Transport) Down(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = err
}

// Requests returns how many lists and watches were answered since it was last called. A
// watch with initial events is a list.
func (t *Transport) Requests() (lists, watches int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lists, watches = t.lists, t.watches
	t.lists, t.watches = 0, 0
	return lists, watches
}

// connect counts the request.
func (t *Transport) connect(r *http.Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.down != nil:
		return t.down
	case IsWatch(r) && !IsInitial(r):
		t.watches++
	default:
		t.lists++
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	call := func(f func()) {
		if f != nil {
			f()
		}
	}
	if trace.GetConn != nil {
		trace.GetConn(r.URL.Host)
	}
	if err := t.connect(r); err != nil {
		return nil, err
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	reader, writer := io.Pipe()
	w := &Response{ctx: ctx, header: http.Header{"Content-Type": {"application/json"}}, started: make(chan struct{}), body: writer}
	stop := context.AfterFunc(ctx, func() {
		_ = reader.CloseWithError(context.Cause(ctx))
		_ = writer.CloseWithError(context.Cause(ctx))
	})
	go func() {
		defer stop()
		t.Handler(w, r)
		w.WriteHeader(http.StatusOK)
		_ = writer.Close()
	}()
	select {
	case <-w.started:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	call(trace.GotFirstResponseByte)
	if w.err != nil {
		return nil, w.err
	}
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: reader, ContentLength: -1, Request: r,
	}, nil
}

// Response is an http.ResponseWriter. The header goes out with the first byte.
type Response struct {
	ctx     context.Context
	header  http.Header
	once    sync.Once
	started chan struct{}
	status  int
	err     error
	body    *io.PipeWriter
}

func (w *Response) Header() http.Header { return w.header }

func (w *Response) WriteHeader(status int) {
	w.once.Do(func() {
		w.status = status
		close(w.started)
	})
}

func (w *Response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Send writes text, after the header.
func (w *Response) Send(text string) { _, _ = io.WriteString(w, text) }

// Refuse answers with a code and a Status of that reason.
func (w *Response) Refuse(code int, reason string) {
	w.WriteHeader(code)
	w.Send(StatusText(code, reason))
}

// Break breaks the connection, whether the header went out or not.
func (w *Response) Break(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.started)
	})
	_ = w.body.CloseWithError(err)
}

// Wait waits for d, and for the end of the request at most. It reports false for that.
func (w *Response) Wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.ctx.Done():
		return false
	}
}

// IsWatch reports whether r is a watch, IsInitial whether it has initial events.
func IsWatch(r *http.Request) bool   { return r.URL.Query().Get("watch") != "" }
func IsInitial(r *http.Request) bool { return r.URL.Query().Get("sendInitialEvents") == "true" }

// Timeout returns after what time the server is asked to end a watch.
func Timeout(r *http.Request) time.Duration {
	seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	if err != nil {
		panic(err)
	}
	return time.Duration(seconds) * time.Second
}

// PodText returns a pod as a server sends it, with a value as its node name.
func PodText(name, version, value string) string {
	return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":"n","uid":"u-%s","resourceVersion":%q},"spec":{"nodeName":%q}}`,
		name, name, version, value)
}

// PodsText returns a page of pods. Next is the token of the next one.
func PodsText(version, next string, pods ...string) string {
	return fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":%q,"continue":%q},"items":[%s]}`,
		version, next, strings.Join(pods, ","))
}

// EventText returns an event.
func EventText(kind, object string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, object)
}

// BookmarkText returns a bookmark, which may be the end of the initial events.
func BookmarkText(version string, end bool) string {
	annotations := ""
	if end {
		annotations = `,"annotations":{"k8s.io/initial-events-end":"true"}`
	}
	return EventText("BOOKMARK", fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":%q%s}}`, version, annotations))
}

// StatusText returns a Status of a failure.
func StatusText(code int, reason string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"not now","reason":%q,"code":%d}`, reason, code)
}

// Client returns a REST client for core/v1 over transport.
func Client(t testing.TB, transport http.RoundTripper) rest.Interface {
	t.Helper()
	c, err := rest.RESTClientForConfigAndClient(&rest.Config{
		Host: "http://server", APIPath: "/api", QPS: -1,
		ContentConfig: rest.ContentConfig{
			GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: clientscheme.Codecs.WithoutConversion(),
		},
	}, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
