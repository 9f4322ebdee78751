// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"net"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// oneConnection is a source that sends all its requests over one connection, as
// HTTP/2 does. The first watch is answered and then brings nothing. fakeapi has no
// connections in virtual time.
type oneConnection struct {
	watchList bool
	conn      closedConn
	answers   time.Duration      // how long the answer to the second request takes
	requests  int                // from the first watch on
	second    chan time.Duration // how long the second request lasted
}

// closedConn only knows when it was closed.
type closedConn struct {
	net.Conn
	closed atomic.Bool
}

func (c *closedConn) Close() error { c.closed.Store(true); return nil }

// request sends a request, and waits for its answer.
func (s *oneConnection) request(ctx context.Context) error {
	s.requests++
	trace := httptrace.ContextClientTrace(ctx)
	trace.GetConn("server")
	trace.GotConn(httptrace.GotConnInfo{Conn: &s.conn, Reused: s.requests > 1})
	if s.requests == 2 {
		begun := time.Now()
		select {
		case <-time.After(s.answers):
		case <-ctx.Done():
			s.second <- time.Since(begun)
			return context.Cause(ctx)
		}
		s.second <- time.Since(begun)
	}
	trace.GotFirstResponseByte()
	return nil
}

func (s *oneConnection) List(ctx context.Context, _ metav1.ListOptions, _ func(informer.Item[*corev1.Pod]) error) (informer.Page, error) {
	return informer.Page{Version: "1"}, s.request(ctx)
}

func (s *oneConnection) Watch(ctx context.Context, _ metav1.ListOptions) (informer.Stream[*corev1.Pod], error) {
	if err := s.request(ctx); err != nil {
		return nil, err
	}
	return silentStream{ctx}, nil
}

func (s *oneConnection) WatchList() bool { return s.watchList }

// silentStream brings nothing.
type silentStream struct{ ctx context.Context }

func (s silentStream) Next() (e informer.WatchEvent[*corev1.Pod], err error) {
	<-s.ctx.Done()
	return e, context.Cause(s.ctx)
}

func (silentStream) Stop() {}

// TestSilenceAfterAnswer: a watch that was answered, and then is silent for IdleTimeout,
// makes its connection suspect. The next request over it gets a tenth of IdleTimeout, and
// then the connection is closed. Initial events that are late for InitialIdleTimeout say
// nothing of the connection: the next request gets its time.
func TestSilenceAfterAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		watchList bool
		answers   time.Duration // what the second request takes
		lasts     time.Duration // how long it is let
		closed    bool
	}{
		"watch":          {false, time.Hour, 6 * time.Second, true},
		"initial events": {true, 50 * time.Second, 50 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &oneConnection{watchList: test.watchList, answers: test.answers, second: make(chan time.Duration, 1)}
				if !test.watchList {
					source.requests = -1 // the list is before the first watch
				}
				r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
					Source: source, Sink: informertest.NewChanSink[*corev1.Pod](), Settings: informer.Settings{IdleTimeout: time.Minute, InitialIdleTimeout: 10 * time.Second},
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- r.Run(ctx) }()
				if took := <-source.second; took != test.lasts {
					t.Errorf("the second request lasted %v, want %v", took, test.lasts)
				}
				synctest.Wait()
				if closed := source.conn.closed.Load(); closed != test.closed {
					t.Errorf("the connection was closed: %t", closed)
				}
				cancel()
				<-ran
			})
		})
	}
}

// lively is a source over the same connection, whose watch brings a bookmark every 20 s.
// fakeapi sends one a minute.
type lively struct{ *oneConnection }

func (l lively) trace(ctx context.Context) {
	trace := httptrace.ContextClientTrace(ctx)
	trace.GetConn("server")
	trace.GotConn(httptrace.GotConnInfo{Conn: &l.conn, Reused: true})
	trace.GotFirstResponseByte()
}

func (l lively) List(ctx context.Context, _ metav1.ListOptions, _ func(informer.Item[*corev1.Pod]) error) (informer.Page, error) {
	l.trace(ctx)
	return informer.Page{Version: "1"}, nil
}

func (l lively) Watch(ctx context.Context, _ metav1.ListOptions) (informer.Stream[*corev1.Pod], error) {
	l.trace(ctx)
	return &livelyStream{silentStream: silentStream{ctx}}, nil
}

type livelyStream struct {
	silentStream
	version int
}

func (s *livelyStream) Next() (e informer.WatchEvent[*corev1.Pod], err error) {
	select {
	case <-time.After(20 * time.Second):
		s.version++
		return informer.WatchEvent[*corev1.Pod]{Type: watch.Bookmark, Version: strconv.Itoa(s.version)}, nil
	case <-s.ctx.Done():
		return e, context.Cause(s.ctx)
	}
}

// TestSharedConnection: a request that is not answered does not close a connection over
// which others are, and gets its whole time.
func TestSharedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &oneConnection{requests: -1, answers: time.Hour, second: make(chan time.Duration, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 2)
		for _, s := range []informer.Source[*corev1.Pod]{source, lively{source}} {
			r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
				Source: s, Sink: informertest.NewChanSink[*corev1.Pod](), Settings: informer.Settings{IdleTimeout: time.Minute},
			})
			if err != nil {
				t.Fatal(err)
			}
			go func() { ran <- r.Run(ctx) }()
		}
		if took := <-source.second; took != time.Minute {
			t.Errorf("the second request lasted %v, want a minute", took)
		}
		if source.conn.closed.Load() {
			t.Error("the connection was closed")
		}
		cancel()
		<-ran
		<-ran
	})
}
