// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/logtest"
	"github.com/apiary-go/apiary/store"
)

// TestErrorObserver: the handler is told of failures, with the error as it is, and
// of nothing else.
func TestErrorObserver(t *testing.T) {
	broken, expired := informertest.ParseError([]string{"500"}), informertest.ParseError([]string{"410"})
	full := &store.FullError{Drained: make(chan struct{})}
	for _, c := range []struct {
		o    informer.ReflectorEvent
		want error
	}{
		{informer.ListFailed{Cause: informer.CauseServer, Err: broken}, broken},
		{informer.WatchEnded{Cause: informer.CauseServer, Err: broken}, broken},
		{informer.WatchEnded{Cause: informer.CauseExpired, Err: expired}, expired},
		{informer.ListFailed{Cause: informer.CauseSink, Err: &informer.SinkError{Call: "Apply", Err: io.EOF}}, io.EOF},
		// A sink that is full and does not say until when is a failure.
		{informer.ListFailed{Cause: informer.CauseSink, Err: &store.FullError{}}, &store.FullError{}},

		// It may be the connection.
		{informer.ListFailed{Streamed: true, Cause: informer.CauseServer, Err: broken}, broken},
		{informer.ListFailed{Streamed: true, Cause: informer.CauseSilent, Err: &informer.IdleTimeoutError{Unanswered: true}}, &informer.IdleTimeoutError{Unanswered: true}},

		{informer.ListFailed{Streamed: true, Cause: informer.CauseForbidden, Err: informertest.ParseError([]string{"403"})}, nil},
		{informer.ListFailed{Streamed: true, Cause: informer.CauseRejected, Err: informertest.ParseError([]string{"400"})}, nil},
		{informer.ListFailed{Streamed: true, Cause: informer.CauseSilent, Err: &informer.IdleTimeoutError{}}, nil},
		{informer.WatchEnded{Cause: informer.CauseClosed}, nil},
		{informer.ListFailed{Cause: informer.CauseClosed, Err: errors.New("closed early")}, nil},
		{informer.ListFailed{Cause: informer.CauseCanceled, Err: context.Canceled}, nil},
		{informer.WatchEnded{Cause: informer.CauseCanceled, Err: errors.New("stopped")}, nil},
		{informer.ListFailed{Cause: informer.CauseSink, Err: &informer.SinkError{Call: "Apply", Err: fmt.Errorf("no: %w", full)}}, nil},
		{informer.WatchEnded{Cause: informer.CauseSink, Err: &informer.SinkError{Call: "Apply", Err: store.ErrResync}}, nil},
		{informer.BackingOff{Cause: informer.CauseServer, Err: broken}, nil},
		{informer.RelistNeeded{Err: broken}, nil},
		{informer.WatchOpened{}, nil},
		{informer.ListDone{}, nil},
	} {
		var got []error
		informer.ErrorObserver(func(info informer.ReflectorInfo, err error) {
			if info.Name != "pods" {
				t.Errorf("%+v: info %+v", c.o, info)
			}
			got = append(got, err)
		}).Observe(informer.ReflectorInfo{Name: "pods"}, c.o)
		switch {
		case c.want == nil && len(got) == 0:
		case c.want == nil || len(got) != 1 || !strings.HasSuffix(got[0].Error(), c.want.Error()):
			t.Errorf("%+v: the handler was told of %v, want %v", c.o, got, c.want)
		}
	}
}

// TestErrorHandlerInARun: the handler is called once for each failure, before the
// Reflector backs off, and the Reflector goes on.
func TestErrorHandlerInARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true, Replies: []informertest.Reply{
			{Verb: "list", Words: []string{"error", "403"}},
			{Verb: "list", Words: []string{"rv=5", "a@1"}},
			{Verb: "watch", Words: []string{"error", "refused"}},
			{Verb: "watch", Lines: []string{"after 30s", "close"}},
			{Verb: "watch", Lines: []string{"after 30s", "error 500"}},
			{Verb: "watch", Lines: []string{"after 30s", "error 410"}},
			{Verb: "list", Words: []string{"rv=9", "a@1"}},
			{Verb: "watch"},
		}}
		var told []string
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Name: "pods", Source: source.FromListerWatcher[informertest.Object](server, nil), Sink: informertest.NewChanSink[informertest.Object](),
			Observer: informer.ErrorObserver(func(info informer.ReflectorInfo, err error) {
				told = append(told, string(informer.CauseOf(err)))
				if info.State == informer.StateBackingOff || !strings.Contains(err.Error(), "pods: ") {
					t.Errorf("info %+v, error %v", info, err)
				}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		_ = r.Run(ctx)
		if got, want := strings.Join(told, ", "), "forbidden, connection refused, server, expired"; got != want {
			t.Errorf("told of %s, want %s", got, want)
		}
		if passes := r.Info().Passes; passes != 2 {
			t.Errorf("%d passes", passes)
		}
	})
}

// TestDefaultWatchErrorHandler: it warns of what needs attention, says what to do,
// and says nothing of no error.
func TestDefaultWatchErrorHandler(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, c := range []struct {
		err  error
		want []string // the line has
	}{
		{nil, nil},
		{informertest.ParseError([]string{"403"}), []string{"level=WARN", `cause=forbidden`, "grant the client's identity the verbs list and watch", "resource=pods"}},
		{informertest.ParseError([]string{"500"}), []string{"level=WARN", "cause=server"}},
		{informertest.ParseError([]string{"410"}), []string{"level=DEBUG", "cause=expired"}},
		{context.Canceled, []string{"level=DEBUG"}},
		{&informer.SinkError{Call: "Apply", Err: store.ErrResync}, []string{"level=DEBUG"}},
		{&informer.SinkError{Call: "Apply", Err: &store.FullError{Drained: make(chan struct{})}}, []string{"level=DEBUG"}},
		{&informer.SinkError{Call: "Apply", Err: errors.New("no room")}, []string{"level=WARN", "no room"}},
		// The network of a handler is not that of the API server.
		{&informer.HandlerError{Call: "OnAdd", Err: informertest.ParseError([]string{"refused"})}, []string{"level=WARN", "A change could not be handled", `connection refused"`}},
	} {
		out.Reset()
		informer.DefaultWatchErrorHandler(informer.ReflectorInfo{Name: "pods"}, c.err)
		line := out.String()
		if strings.Count(line, "\n") != min(1, len(c.want)) {
			t.Errorf("%v: %q", c.err, line)
		}
		for _, part := range c.want {
			if !strings.Contains(line, part) {
				t.Errorf("%v: %q lacks %q", c.err, line, part)
			}
		}
	}
	out.Reset()
	informer.ErrorObserver(nil).Observe(informer.ReflectorInfo{}, informer.ListFailed{Cause: informer.CauseServer, Err: informertest.ParseError([]string{"500"})})
	if !strings.Contains(out.String(), "level=WARN") {
		t.Errorf("the handler that nil stands for: %q", out.String())
	}
}
