// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// Fake is a resource and the server that it follows. Its methods may be called
// from any goroutine, and inside a testing/synctest bubble if the Fake was made
// in it. None but [Fake.Flush] blocks.
type Fake[T runtime.Object] struct {
	tb       testing.TB
	resource resource.Resource[T]
	server   *server[T]
}

// New returns a Fake whose resource has been started, and is stopped when the
// test ends. It is empty, and not synced until [Fake.Sync].
//
// The options are those of [resource.NewFromSource]; transforms do not apply.
// [resource.WithSettings] replaces [Settings] as a whole.
func New[T runtime.Object](tb testing.TB, opts ...resource.Option) *Fake[T] {
	tb.Helper()
	lc := &cell.DefaultLifecycle{}
	f := NewOn[T](tb, lc, opts...)
	log := slog.New(slog.DiscardHandler)
	if err := lc.Start(log, context.Background()); err != nil {
		tb.Errorf("resourcetest: start: %v", err)
		return f
	}
	tb.Cleanup(func() {
		if err := lc.Stop(log, context.Background()); err != nil {
			tb.Errorf("resourcetest: stop: %v", err)
		}
	})
	return f
}

// NewOn is [New] on a lifecycle of the caller's, which starts and stops the
// resource: that of a hive, or one that the test starts when it has subscribed.
func NewOn[T runtime.Object](tb testing.TB, lc cell.Lifecycle, opts ...resource.Option) *Fake[T] {
	s := newServer[T]()
	opts = append([]resource.Option{resource.WithSettings(Settings())}, opts...)
	return &Fake[T]{tb: tb, server: s, resource: resource.NewFromSource[T](lc, s, opts...)}
}

// Settings returns the settings that a Fake has unless [resource.WithSettings] is
// given: the defaults, but that failures are retried within a tenth of a second,
// and that no request is given up because nothing comes. Change what a test needs
// changed, such as Lists, and hand them to [resource.WithSettings].
func Settings() informer.Settings {
	return informer.Settings{
		Silence:        -1,
		InitialSilence: 10 * 365 * 24 * time.Hour,
		Backoff: informer.Backoff{
			Initial: time.Millisecond,
			Max:     100 * time.Millisecond,
			Jitter:  -1,
			Reset:   100 * time.Millisecond,
			Denied:  time.Millisecond,
		},
	}
}

// Resource returns the resource, for the consumer under test. It is one that
// package resource has made, and may be given to [resource.Filter].
func (f *Fake[T]) Resource() resource.Resource[T] { return f.resource }

// Upsert stores a copy of obj on the server, in a new resource version, and
// returns what was stored. The result is the caller's to change, and to upsert
// again.
//
// UIDs are as on a server, where each belongs to one incarnation of an object:
//
//   - If there is no object of that key, one is created. Its UID is that of obj,
//     or a new one if obj has none or that of a deleted object.
//   - If there is one, it is updated and keeps its UID.
//   - But if obj has another UID, which is not that of a deleted object, the one
//     that is there is deleted and obj created in its place.
//
// The test fails if obj has no name.
func (f *Fake[T]) Upsert(obj T) T {
	f.tb.Helper()
	stored, err := f.server.upsert(deepCopy(obj))
	if err != nil {
		f.tb.Errorf("resourcetest: Upsert: %v", err)
		return obj
	}
	return deepCopy(stored)
}

// Delete deletes the object of that key from the server, and returns it as a
// server shows it: the last state, in the resource version of the deletion. The
// test fails if there is no such object.
func (f *Fake[T]) Delete(key store.Key) T {
	f.tb.Helper()
	last, err := f.server.delete(key)
	if err != nil {
		f.tb.Errorf("resourcetest: Delete: %v", err)
		return last
	}
	return deepCopy(last)
}

// Sync has the server complete its first answer. What was upserted and deleted
// before belongs to the collection as it is first known, and comes to subscribers
// before their Sync event; what comes later is a change. Calls after the first do
// nothing.
//
// Before Sync, objects are streamed to subscribers as they are upserted. With
// paged lists, the first list is answered at Sync and not before.
func (f *Fake[T]) Sync() { f.server.sync() }

// Fail has every request fail with err from now on, and ends those under way with
// it, until Fail(nil). Make err with package k8s.io/apimachinery/pkg/api/errors to
// have it understood as the answer of a server: NewForbidden, NewUnauthorized and
// so on.
//
// As with any server that fails to stream, paged lists may be used afterwards.
func (f *Fake[T]) Fail(err error) { f.server.fail(err) }

// Disconnect ends the requests under way: a watch in an orderly way if err is nil,
// and with err if it is not; a list, which must not end early, with an error in
// any case. The resource comes back at once or after a short backoff, and misses
// nothing. If no request is under way nothing happens.
func (f *Fake[T]) Disconnect(err error) { f.server.disconnect(err) }

// Expire has the server forget its history: the watch under way ends with 410
// Expired, it cannot be resumed, and the resource lists anew. A list under way
// expires at its next page.
func (f *Fake[T]) Expire() { f.server.expire() }

// Requests counts what the server was asked for.
type Requests struct {
	// Lists counts pages.
	Lists int

	// Watches counts watches, those that stream a whole list first included.
	Watches int
}

// Requests returns how many requests there were, failed ones included.
func (f *Fake[T]) Requests() Requests {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	return f.server.requests
}

// Flush blocks until the resource has taken in what was done before the call: its
// store shows it, if it is synced, and the events are on their way to the
// subscribers. It says nothing of what these have done about them; in a synctest
// bubble, synctest.Wait tells that as well.
//
// It waits until somebody asks for the resource, and as long as the server fails.
// When ctx ends first, the error says so.
func (f *Fake[T]) Flush(ctx context.Context) error {
	s := f.server
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for st := range s.streams {
			if st.idle && !st.pending() {
				return nil
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("resourcetest: Flush: %s: %w", s.notFlushed(), context.Cause(ctx))
		}
		changed := s.next()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
}

// pending reports whether there is something to be read from the stream. It is
// called with the mutex held.
func (st *stream[T]) pending() bool {
	return st.err != nil || len(st.initial) > 0 || st.ending && st.server.synced ||
		st.server.version > st.at
}

// notFlushed says what Flush waits for. It is called with the mutex held.
func (s *server[T]) notFlushed() string {
	switch {
	case s.requests == (Requests{}):
		return "nothing was requested, since nobody asked for the resource or it was not started"
	case s.failing != nil:
		return fmt.Sprintf("requests fail with %q", s.failing)
	case len(s.streams) == 0 && !s.synced:
		return "the first list waits for Sync"
	case len(s.streams) == 0:
		return "the resource has not opened a watch"
	}
	return "the resource has not taken everything"
}
