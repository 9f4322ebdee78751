// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// serveWatch streams until the client closes the connection, the timeout of the request
// passes, or f disconnects.
func (f *Server) serveWatch(w http.ResponseWriter, r *http.Request, req Request, kind Kind, out fakeFormat) error {
	sel, err := selectionOf(req, kind)
	if err == nil {
		err = checkListOptions(req)
	}
	if err != nil {
		writeError(w, err)
		return nil
	}
	ctx, cancel := f.withLive(r.Context())
	defer cancel()
	if req.Options.TimeoutSeconds != nil {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*req.Options.TimeoutSeconds)*time.Second)
		defer cancel()
	}

	stream := &fakeStream{w: w, out: out}
	from, initial, err := f.startWatch(req, sel)
	if err != nil {
		status := statusOf(err)
		if status.Code != http.StatusGone {
			writeError(w, err)
			return nil
		}
		// A real server reports this after it has accepted the watch.
		stream.open()
		return stream.send(watch.Error, status)
	}
	stream.open()
	for _, obj := range initial {
		if err := stream.send(watch.Added, obj); err != nil {
			return err
		}
	}
	if streamed(req) && req.Options.AllowWatchBookmarks {
		if err := stream.send(watch.Bookmark, f.bookmark(req, from, true)); err != nil {
			return err
		}
	}
	return f.sendChanges(ctx, stream, req, sel, from)
}

// streamed returns true if the watch requests initial events.
func streamed(req Request) bool {
	return req.Options.SendInitialEvents != nil && *req.Options.SendInitialEvents
}

// sendChanges sends the changes after version from, and bookmarks, until ctx ends.
func (f *Server) sendChanges(ctx context.Context, stream *fakeStream, req Request, sel selection, from uint64) error {
	var bookmarks <-chan time.Time
	if req.Options.AllowWatchBookmarks {
		ticker := time.NewTicker(bookmarkInterval)
		defer ticker.Stop()
		bookmarks = ticker.C
	}
	for {
		f.mu.Lock()
		expired, changed, events := from < f.compacted, f.changed, f.sinceLocked(from)
		f.mu.Unlock()
		if expired {
			return stream.send(watch.Error, statusOf(apierrors.NewResourceExpired("the watch was too slow")))
		}
		for _, e := range events {
			from = e.version
			kind, obj := sel.event(e, req)
			if obj == nil {
				continue
			}
			if err := stream.send(kind, obj); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-bookmarks:
			if err := stream.send(watch.Bookmark, f.bookmark(req, from, false)); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// withLive returns a context that ends with ctx, and when f disconnects. Disconnect waits
// until the cancel function is called.
func (f *Server) withLive(ctx context.Context) (context.Context, context.CancelFunc) {
	ended := make(chan struct{})
	f.mu.Lock()
	live := f.live
	f.streams[ended] = true
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(live, cancel)
	return ctx, func() {
		stop()
		cancel()
		f.mu.Lock()
		delete(f.streams, ended)
		f.mu.Unlock()
		close(ended)
	}
}

// startWatch returns the version after which events are sent, and the objects that are sent
// before them.
func (f *Server) startWatch(req Request, sel selection) (uint64, []runtime.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	opts := req.Options
	from, err := parseVersion(opts.ResourceVersion)
	if err != nil {
		return 0, nil, apierrors.NewInternalError(err)
	}
	switch {
	case from > f.version:
		return 0, nil, tooLarge(from, f.version)
	case from == 0 || streamed(req):
		objects, _, err := f.listLocked(req.Resource, sel, metav1.ListOptions{})
		return f.version, objects, err
	case from < f.compacted:
		return 0, nil, apierrors.NewResourceExpired("too old resource version: " + opts.ResourceVersion)
	}
	return from, nil, nil
}

// event returns the event that a watch with this selection gets for a change, or nil.
func (s selection) event(e change, req Request) (watch.EventType, runtime.Object) {
	if e.resource != req.Resource {
		return "", nil
	}
	was := e.old != nil && s.matches(e.old)
	is := e.kind != watch.Deleted && s.matches(e.object)
	switch {
	case was && is:
		return watch.Modified, e.object
	case is:
		return watch.Added, e.object
	case was && e.kind == watch.Deleted:
		return watch.Deleted, e.object
	case was:
		// The last state that matched, at the version of the change.
		gone := e.old.DeepCopyObject()
		accessor, _ := meta.Accessor(gone)
		accessor.SetResourceVersion(strconv.FormatUint(e.version, 10))
		return watch.Deleted, gone
	}
	return "", nil
}

// bookmark returns the object of a bookmark at version. If initial is true, it marks the
// end of the initial events.
func (f *Server) bookmark(req Request, version uint64, initial bool) runtime.Object {
	f.mu.Lock()
	gvk := f.kinds[req.Resource].GVK()
	f.mu.Unlock()
	var obj runtime.Object
	if typed, err := scheme.Scheme.New(gvk); err == nil {
		obj = typed
	} else {
		obj = &unstructured.Unstructured{Object: map[string]any{}}
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	accessor, _ := meta.Accessor(obj)
	accessor.SetResourceVersion(strconv.FormatUint(version, 10))
	if initial {
		accessor.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return obj
}

// fakeStream writes the events of a watch.
type fakeStream struct {
	w   http.ResponseWriter
	out fakeFormat
}

func (s *fakeStream) open() {
	mediaType := s.out.mediaType
	if s.out.protobuf {
		mediaType += ";stream=watch"
	}
	s.w.Header().Set("Content-Type", mediaType)
	s.w.WriteHeader(http.StatusOK)
	s.flush()
}

func (s *fakeStream) flush() {
	if flusher, ok := s.w.(http.Flusher); ok {
		flusher.Flush()
	}
}

func (s *fakeStream) send(kind watch.EventType, obj runtime.Object) error {
	data, err := s.out.encode(obj)
	if err != nil {
		return err
	}
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: data}}
	if s.out.protobuf {
		if data, err = event.Marshal(); err == nil {
			_, err = protobuf.LengthDelimitedFramer.NewFrameWriter(s.w).Write(data)
		}
	} else if data, err = json.Marshal(event); err == nil {
		_, err = s.w.Write(append(data, '\n'))
	}
	s.flush()
	return err
}

// transport passes requests to a Server without a connection.
type transport struct{ api *Server }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	if err := context.Cause(req.Context()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	r := req.Clone(ctx)
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if !isWatch(req) {
		defer cancel(errBodyClosed)
		w := &fakeAnswer{header: http.Header{}}
		if err := t.api.serve(w, r); err != nil {
			return nil, err
		}
		return w.response(req, io.NopCloser(&w.body)), nil
	}

	t.api.mu.Lock()
	live := t.api.live
	t.api.mu.Unlock()
	pr, pw := io.Pipe()
	w := &fakeAnswer{header: http.Header{}, pipe: pw, opened: make(chan struct{})}
	done := make(chan struct{})
	go func() { // ends with the body, or with the context of the request
		defer close(done)
		err := t.api.serve(w, r)
		w.once.Do(func() { w.failed = err; close(w.opened) })
		if cause := context.Cause(ctx); err == nil && cause != nil {
			err = cause
		}
		pw.CloseWithError(err)
	}()
	// There may be no reader when either ends.
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	stopLive := context.AfterFunc(live, func() { pw.Close() })
	body := &fakeBody{PipeReader: pr, close: func() {
		stop()
		stopLive()
		cancel(errBodyClosed)
		pr.Close()
		<-done
	}}
	select {
	case <-w.opened:
	case <-ctx.Done():
		body.Close()
		return nil, context.Cause(req.Context())
	}
	if w.failed != nil {
		body.Close()
		return nil, w.failed
	}
	return w.response(req, body), nil
}

var errBodyClosed = errors.New("the body of the response was closed")

// fakeBody ends its request when it is closed, and waits for the end.
type fakeBody struct {
	*io.PipeReader
	once  sync.Once
	close func()
}

func (b *fakeBody) Close() error {
	b.once.Do(b.close)
	return nil
}

// fakeAnswer is the http.ResponseWriter of transport.
type fakeAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer

	// For watches.
	pipe   *io.PipeWriter
	once   sync.Once
	opened chan struct{} // closed when there is a header
	failed error
}

func (w *fakeAnswer) Header() http.Header { return w.header }

func (w *fakeAnswer) WriteHeader(code int) {
	if w.code != 0 {
		return
	}
	w.code = code
	if w.pipe != nil {
		w.once.Do(func() { close(w.opened) })
	}
}

func (w *fakeAnswer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.pipe != nil {
		return w.pipe.Write(p)
	}
	return w.body.Write(p)
}

func (w *fakeAnswer) response(req *http.Request, body io.ReadCloser) *http.Response {
	code := w.code
	if code == 0 {
		code = http.StatusOK
	}
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: body, ContentLength: -1, Request: req,
	}
}
