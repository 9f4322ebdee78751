// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/apiary-go/apiary/internal/servertest"
)

// What becomes of a watch from a version that is to come.
const (
	futureExpired = iota
	futureTooLarge
	futureSilent // it is accepted, and brings bookmarks alone
)

// stream is a watch that is being served.
type stream struct {
	*proxy
	ctx       context.Context
	w         io.Writer
	end       func(error)
	mediaType string

	next      int // change to be sent
	era       int
	initial   bool // the present objects come first
	marked    bool // and their end after them
	bookmarks bool
	ignores   bool // everything: the watch was from a version that is to come
	timeout   time.Duration
}

func (p *proxy) watch(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	from := parse(q.Get("resourceVersion"))
	seconds, _ := strconv.Atoi(q.Get("timeoutSeconds"))
	s := &stream{proxy: p, mediaType: accepted(r), timeout: time.Duration(seconds) * time.Second, bookmarks: p.server.bookmarks}
	s.marked = q.Get("sendInitialEvents") != ""
	if s.marked && !p.streams {
		return p.status(r, 422, "")
	}
	p.h.mu.Lock()
	version, horizon := p.h.version, p.h.horizon
	s.next, s.era = len(p.h.log), len(p.h.eras)
	p.h.mu.Unlock()
	switch {
	case from == 0 || s.marked:
		if from > version {
			return p.encoded(r, 504, tooLarge())
		}
		s.initial = true
	case from > version && p.future == futureTooLarge:
		return p.encoded(r, 504, tooLarge())
	case from > version && p.future == futureSilent:
		s.ignores, s.bookmarks = true, true
	case from > version || from < horizon:
		if p.roll(2) == 0 {
			return p.status(r, 410, "")
		}
		s.next = -1
	default:
		p.h.mu.Lock()
		s.next = p.h.at(from)
		p.h.mu.Unlock()
	}
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(r.Context())
	s.ctx, s.w, s.end = ctx, writer, func(err error) { _ = writer.CloseWithError(err) }
	context.AfterFunc(ctx, func() { s.end(ctx.Err()) })
	p.wg.Go(func() {
		defer cancel()
		defer s.end(io.EOF)
		s.serve()
	})
	return respondWith(r, accepted(r), &pipe{reader, cancel}), nil
}

func respondWith(r *http.Request, contentType string, body io.ReadCloser) *http.Response {
	resp := servertest.Answer(r, 200, contentType, nil)
	resp.Body = body
	return resp
}

// serve serves until the watch ends.
func (s *stream) serve() {
	if s.next < 0 {
		s.send(watch.Error, statusOf(410))
		return
	}
	end := time.After(s.timeout)
	var silent <-chan time.Time // held back, until then
	if s.chance(12) && s.fault("watch that brings nothing") {
		silent = time.After(time.Duration(s.roll(1200)) * time.Second)
	}
	if s.chance(25) && s.fault("reset after 90 s") {
		end = time.After(90 * time.Second)
	}
	if s.initial && silent == nil && !s.present() {
		return
	}
	for {
		s.h.mu.Lock()
		news, changed, version := s.h.log[s.next:], s.h.changed, s.h.version
		current := len(s.h.eras) == s.era
		s.h.mu.Unlock()
		if !current {
			return
		}
		if silent == nil {
			if s.initial {
				if !s.present() {
					return
				}
				continue // with what came since
			}
			for _, c := range news {
				if !s.ignores && !s.change(c) {
					return
				}
				s.next++
			}
		}
		select {
		case <-changed:
		case <-silent:
			silent = nil
		case <-s.calm:
			if silent != nil {
				return // the proxy that held it back has ended
			}
			select {
			case <-changed:
			case <-s.pause():
				if !s.bookmark(version) {
					return
				}
			case <-end:
				return
			case <-s.ctx.Done():
				return
			}
		case <-s.pause():
			if silent == nil && !s.bookmark(version) {
				return
			}
		case <-end:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// pause is the time between bookmarks.
func (s *stream) pause() <-chan time.Time { return time.After(55 * time.Second) }

// present sends the objects that there are, and the end of them if it was asked for.
func (s *stream) present() bool {
	s.initial = false
	s.h.mu.Lock()
	s.next = len(s.h.log)
	version := s.h.version
	var all []change
	for _, i := range s.h.state(s.next) {
		all = append(all, s.h.log[i])
	}
	s.h.mu.Unlock()
	for _, c := range all {
		if s.chance(200) && s.fault("reset within initial events") {
			s.end(syscall.ECONNRESET)
			return false
		}
		if !s.send(watch.Added, object(c)) {
			return false
		}
	}
	if !s.marked {
		return true
	}
	if s.chance(10) && s.fault("initial events without end") {
		return true
	}
	mark := bookmark(version)
	mark.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	return s.send(watch.Bookmark, mark)
}

func bookmark(version int64) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.FormatInt(version, 10)},
	}
}

func (s *stream) bookmark(version int64) bool {
	return !s.bookmarks || s.send(watch.Bookmark, bookmark(version))
}

// change sends an event, unless there is a fault.
func (s *stream) change(c change) bool {
	kind, obj := watch.Modified, object(c)
	s.h.mu.Lock()
	index := s.h.byState[c.version]
	before, _, existed := s.h.last(c.key, index)
	s.h.mu.Unlock()
	switch {
	case c.gone:
		kind = watch.Deleted
	case !existed || before.uid != c.uid:
		kind = watch.Added
	}
	switch {
	case s.chance(100) && s.fault("ERROR event of 410"):
		s.send(watch.Error, statusOf(410))
		return false
	case s.chance(100) && s.fault("ERROR event of 500"):
		s.send(watch.Error, statusOf(500))
		return false
	case s.chance(150) && s.fault("ERROR event of 429"):
		s.send(watch.Error, statusOf(429))
		return false
	case s.chance(100) && s.fault("end of a watch"):
		return false
	case s.chance(100) && s.fault("reset of a watch"):
		s.end(syscall.ECONNRESET)
		return false
	case s.chance(100) && s.fault("half an event"):
		frame := s.frame(kind, obj)
		_, _ = s.w.Write(frame[:s.roll(len(frame))])
		if s.roll(2) == 0 {
			s.end(syscall.ECONNRESET)
		}
		return false
	case s.chance(150) && s.fault("event of an unknown type"):
		s.send("GUESSED", obj)
		return false
	case s.chance(150) && s.fault("garbage in a watch"):
		_, _ = io.Copy(s.w, strings.NewReader("<html>\n\x00\x00\x00\x05{{{{{"))
		return false
	case s.lying && before.version > 0 && s.chance(40) && s.fault("event of an older version"):
		old := before
		old.gone = false
		if existed && !s.send(watch.Modified, object(old)) {
			return false
		}
	}
	if !s.send(kind, obj) {
		return false
	}
	if s.chance(30) && s.fault("event sent twice") {
		return s.send(kind, obj)
	}
	return true
}

func (s *stream) send(kind watch.EventType, obj runtime.Object) bool {
	_, err := s.w.Write(s.frame(kind, obj))
	return err == nil
}

// frame returns the bytes of an event.
func (s *stream) frame(kind watch.EventType, obj runtime.Object) []byte {
	info := serializer(s.mediaType)
	var frame writer
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: encode(s.mediaType, obj)}}
	encoder := scheme.Codecs.EncoderForVersion(info.StreamSerializer.Serializer, metav1.Unversioned)
	if err := encoder.Encode(event, info.StreamSerializer.NewFrameWriter(&frame)); err != nil {
		panic(err)
	}
	return frame
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}
