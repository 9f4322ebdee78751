// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
	"github.com/apiary-go/apiary/store"
)

var update = flag.Bool("update", false, "write the messages into testdata")

func getting(err error) error {
	return &url.Error{Op: "Get", URL: "https://192.0.2.1:6443/api/v1/pods?limit=500", Err: err}
}

func dialing(errno syscall.Errno) error {
	return getting(&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6443}, Err: os.NewSyscallError("connect", errno)})
}

// page is the error that client-go makes of a page that comes with an HTTP status.
func page(code int, title string) error {
	body := "<html><head><title>" + title + "</title></head><body>" + strings.Repeat("…", 500) + "</body></html>"
	return apierrors.NewGenericServerResponse(code, http.MethodGet, schema.GroupResource{Resource: "pods"}, "", body, 0, true)
}

// failures are one or more of each cause.
func failures() []error {
	pods := schema.GroupResource{Resource: "pods"}
	return []error{
		apierrors.NewForbidden(pods, "", errors.New(`User "jane" cannot list resource "pods" in API group "" at the cluster scope`)),
		page(http.StatusForbidden, "Sign in"),
		apierrors.NewUnauthorized("Unauthorized"),
		getting(errors.New("getting credentials: exec: executable aws failed with exit code 254")),
		getting(errors.New(`failed to read token file "/var/run/secrets/kubernetes.io/serviceaccount/token": open: permission denied`)),
		apierrors.NewGenericServerResponse(http.StatusNotFound, http.MethodGet, pods, "", "404 page not found", 0, true),
		&meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "example.com", Kind: "Widget"}, SearchedVersions: []string{"v1"}},
		apierrors.NewMethodNotSupported(pods, "watch"),
		dialing(syscall.ECONNREFUSED),
		dialing(syscall.EHOSTUNREACH),
		getting(&net.DNSError{Err: "no such host", Name: "api.example.com"}),
		getting(x509.UnknownAuthorityError{}),
		getting(io.ErrUnexpectedEOF),
		informer.NewAnswerError(http.StatusOK, "text/html", []byte("<html><head><title>Sign in</title>")),
		informer.NewAnswerError(http.StatusOK, "text/plain", []byte("default backend")),
		informer.NewAnswerError(http.StatusNoContent, "", nil),
		&informer.IdleTimeoutError{After: 150 * time.Second, Unanswered: true},
		&informer.IdleTimeoutError{After: 10 * time.Second},
		apierrors.NewTimeoutError("the server was unable to return a response in the time allotted", 1),
		apierrors.NewTooManyRequests("too many requests, please try again later", 3),
		apierrors.NewResourceExpired("too old resource version: 100 (200)"),
		apierrors.NewInternalError(errors.New("conversion webhook is broken")),
		apierrors.NewServiceUnavailable("apiserver is shutting down"),
		page(http.StatusBadGateway, "502 Bad Gateway"),
		apierrors.NewBadRequest("sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"),
		apierrors.NewInvalid(schema.GroupKind{Group: "meta.k8s.io", Kind: "ListOptions"}, "", nil),
		&informer.DecodingError{Meta: store.Meta{Key: store.Key{Namespace: "shop", Name: "web"}, Version: "7"}, Err: errors.New("json: cannot unmarshal string into a field of type int32")},
		errors.New("Widget has no namespaces: leave out cells.InNamespace(\"shop\")"),
	}
}

// sides are where something can fail.
var sides = []string{"list", "streamed list", "watch", "sink"}

// failingSource fails on one side until it is mended. It is a source of strings, which
// fakeapi does not have, and a sink.
type failingSource struct {
	store.SinkDefaults
	side   string
	err    error
	mended atomic.Bool
}

func (f *failingSource) fails(side string) error {
	if f.side == side && !f.mended.Load() {
		return f.err
	}
	return nil
}

func (f *failingSource) WatchList() bool { return f.side == "streamed list" }

func (f *failingSource) List(context.Context, metav1.ListOptions, func(informer.Item[string]) error) (informer.Page, error) {
	return informer.Page{Version: "100", Remaining: -1}, f.fails("list")
}

func (f *failingSource) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[string], error) {
	side := "watch"
	if opts.SendInitialEvents != nil {
		side = "streamed list"
	}
	return &quietStream{ctx: ctx, initial: opts.SendInitialEvents != nil}, f.fails(side)
}

func (f *failingSource) Begin(context.Context, store.Pass) error                { return nil }
func (f *failingSource) Apply(context.Context, store.Meta, string) error        { return nil }
func (f *failingSource) Delete(context.Context, store.Meta, string, bool) error { return nil }
func (f *failingSource) Commit(context.Context, string) error                   { return f.fails("sink") }
func (f *failingSource) Abort(store.Pass, error)                                {}

// quietStream brings the end of the initial events, and nothing else.
type quietStream struct {
	ctx     context.Context
	initial bool
}

func (s *quietStream) Next() (informer.WatchEvent[string], error) {
	if s.initial {
		s.initial = false
		return informer.WatchEvent[string]{Type: watch.Bookmark, Version: "100", InitialEventsEnd: true}, nil
	}
	<-s.ctx.Done()
	return informer.WatchEvent[string]{}, context.Cause(s.ctx)
}

func (s *quietStream) Stop() {}

// TestMessages writes down all that is said of each failure on each side, for a reviewer
// to read it in one go: testdata/messages.txt. The flag -update writes it.
func TestMessages(t *testing.T) {
	var out strings.Builder
	out.WriteString(`What is said of a failure on each side: the log, with the error and the advice; the status of
health; the reason of a status. After a second what failed is mended. Health, an ErrorObserver
and Store have the error of the log without the advice.

Written by: go test ./cells -run TestMessages -update
`)
	for _, err := range failures() {
		fmt.Fprintf(&out, "\n# %s\n", informer.CauseOf(err))
		for _, side := range sides {
			synctest.Test(t, func(t *testing.T) { fmt.Fprintf(&out, "\n%s\n%s", side, story(t, side, err)) })
		}
	}
	file := filepath.Join("testdata", "messages.txt")
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wants := strings.Split(string(want), "\n")
	for i, line := range strings.Split(out.String(), "\n") {
		if i >= len(wants) || line != wants[i] {
			t.Fatalf("%s:%d differs: got\n%s\nRead the difference that -update makes.", file, i+1, line)
		}
	}
}

// story is what is said of one failure.
func story(t *testing.T, side string, err error) string {
	notes := &minutes{health: &healthLog{lines: make(chan string, 100)}}
	source := &failingSource{side: side, err: err}
	r, construction := informer.NewReflector(informer.Config[string]{
		Name: "pods", Source: source, Sink: source, Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}},
		Observer: informer.Observers(informer.LogObserver(slog.New(notes)),
			informer.ErrorObserver(func(_ informer.ReflectorInfo, err error) { notes.handled = err }),
			&reporter{health: notes.health}, notes),
	})
	if construction != nil {
		t.Fatal(construction)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
	if info := r.Info(); info.Err != nil {
		notes.say("status", "%s", status.ReasonOf(info.Err))
		if notes.handled == nil || notes.handled.Error() != info.Err.Error() {
			t.Errorf("an ErrorObserver gets %v, Info has %v", notes.handled, info.Err)
		}
		why := &resource.NotSyncedError{Resource: "pods", Cause: info.Cause, Err: info.Err, Ended: context.DeadlineExceeded}
		if !strings.Contains(why.Error(), "pods is not synced: "+info.Err.Error()) {
			t.Errorf("got %v", why)
		}
	}
	source.mended.Store(true)
	time.Sleep(time.Minute)
	cancel()
	<-ended
	return notes.out.String()
}

// minutes is a slog.Handler, and an informer.Observer that notes the lines of health.
type minutes struct {
	health *healthLog

	mu      sync.Mutex
	out     strings.Builder
	handled error
}

func (s *minutes) say(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.out, "    %-8s"+format+"\n", append([]any{who}, args...)...)
}

func (s *minutes) Observe(informer.ReflectorInfo, informer.ReflectorEvent) {
	for len(s.health.lines) > 0 {
		line := strings.TrimSpace(<-s.health.lines)
		if s.handled != nil {
			line = strings.TrimSuffix(line, ": "+s.handled.Error())
		}
		if !strings.Contains(line, "at the last list") {
			s.say("health", "%s", line)
		}
	}
}

func (s *minutes) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "List is complete") {
		return nil
	}
	var attrs, failure string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "error":
			failure = a.Value.String()
		case "until":
		default:
			attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	s.say("log", "%s %q%s", r.Level, r.Message, attrs)
	if failure != "" {
		s.say("", "%s", failure)
	}
	return nil
}

func (s *minutes) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (s *minutes) WithAttrs([]slog.Attr) slog.Handler               { return s }
func (s *minutes) WithGroup(string) slog.Handler                    { return s }
