// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// Fake is a resource and its server. All methods can be called from any goroutine. Inside a
// testing/synctest bubble, the Fake must have been created in it. Only [Fake.Flush] blocks.
type Fake[T runtime.Object] struct {
	tb       testing.TB
	resource resource.Resource[T]
	server   *server[T]
}

// New returns a Fake with a started resource, which is stopped when the test ends. It has
// no objects, and is not synced until [Fake.Sync].
//
// The options are those of [resource.NewFromSource], without transforms. The name of the
// resource is as in package cells, such as "Pod.v1". A type that client-go's scheme does not
// know has the default of [resource.WithName].
// [resource.WithSettings] replaces [Settings] completely.
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

// NewOn is like [New] with a lifecycle of the caller, which starts and stops the
// resource. Use the lifecycle of a hive, or one that the test starts after it has
// subscribed.
func NewOn[T runtime.Object](tb testing.TB, lc cell.Lifecycle, opts ...resource.Option) *Fake[T] {
	s := newServer[T]()
	opts = append([]resource.Option{resource.WithName(kindName[T]()), resource.WithSettings(Settings())}, opts...)
	return &Fake[T]{tb: tb, server: s, resource: resource.NewFromSource[T](lc, s, opts...)}
}

// kindName returns the name that package cells gives a resource of T. It is empty unless T
// is a built-in kind.
func kindName[T runtime.Object]() string {
	typ := reflect.TypeFor[T]()
	if typ.Kind() != reflect.Pointer {
		return ""
	}
	obj, _ := reflect.New(typ.Elem()).Interface().(runtime.Object)
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil || len(kinds) != 1 {
		return ""
	}
	return strings.TrimSuffix(kinds[0].Kind+"."+kinds[0].Version+"."+kinds[0].Group, ".")
}

// Settings returns the settings of a Fake without [resource.WithSettings]. They are the
// defaults, except that failures are retried within 100 ms, and that idle requests have no
// timeout. A test can modify them, and pass them to [resource.WithSettings].
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

// Resource returns the resource, for the consumer under test. [resource.Filter] accepts it.
func (f *Fake[T]) Resource() resource.Resource[T] { return f.resource }

// Upsert stores a copy of obj on the server with a new resource version, and returns a
// copy of the stored object. The caller can modify it and upsert it again.
//
// As on a real server, each incarnation of an object has its own UID:
//
//   - A new object keeps the UID of obj. It gets a new UID if obj has none, or the UID of a
//     deleted object.
//   - An update keeps the UID of the stored object.
//   - If obj has another UID, which is not that of a deleted object, the stored object is
//     deleted and obj is created.
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

// Delete deletes the object of key from the server. Like a real server, it returns the
// last state with the resource version of the deletion. The test fails if there is no
// such object.
func (f *Fake[T]) Delete(key store.Key) T {
	f.tb.Helper()
	last, err := f.server.delete(key)
	if err != nil {
		f.tb.Errorf("resourcetest: Delete: %v", err)
		return last
	}
	return deepCopy(last)
}

// Sync completes the first list. Earlier changes belong to the initial state: subscribers
// get them before their Sync event. Later changes come after it. Further calls do
// nothing.
//
// Before Sync, upserted objects are streamed to subscribers. With paged lists, the first
// list is blocked until Sync.
func (f *Fake[T]) Sync() { f.server.sync() }

// Fail makes all open and new requests fail with err, until Fail(nil). For an error of
// the API server, use package k8s.io/apimachinery/pkg/api/errors: NewForbidden,
// NewUnauthorized and so on.
//
// As after any failed stream, the resource may use paged lists afterwards.
func (f *Fake[T]) Fail(err error) { f.server.fail(err) }

// Disconnect ends all open requests. A watch ends normally if err is nil, and otherwise
// with err. A list always ends with an error, because it is incomplete. The resource
// reconnects at once or after a short backoff, and misses no change. Without open
// requests nothing happens.
func (f *Fake[T]) Disconnect(err error) { f.server.disconnect(err) }

// Expire removes the history of the server. An open watch ends with 410 Expired and
// cannot be resumed, so the resource lists again. An open list expires at its next page.
func (f *Fake[T]) Expire() { f.server.expire() }

// Requests counts the requests to the server.
type Requests struct {
	// Lists counts pages.
	Lists int

	// Watches counts watches, including those that stream a list first.
	Watches int
}

// Requests returns the number of requests so far, including failed ones.
func (f *Fake[T]) Requests() Requests {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	return f.server.requests
}

// Flush blocks until the resource has received all changes before the call: its store has
// them, if it is synced, and the events are queued for the subscribers. It does not wait
// for subscribers to handle them; in a synctest bubble, synctest.Wait does.
//
// Flush waits until the resource is used, and while requests fail. If ctx ends first, it
// returns an error that wraps the cause and says what is missing.
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

// pending returns true if the stream has unread events. It requires the mutex.
func (st *stream[T]) pending() bool {
	return st.err != nil || len(st.initial) > 0 || st.ending && st.server.synced ||
		st.server.version > st.at
}

// notFlushed returns what Flush waits for. It requires the mutex.
func (s *server[T]) notFlushed() string {
	switch {
	case s.requests == (Requests{}):
		return "there was no request, because the resource is not used or not started"
	case s.failing != nil:
		return fmt.Sprintf("requests fail with %q", s.failing)
	case len(s.streams) == 0 && !s.synced:
		return "the first list waits for Sync"
	case len(s.streams) == 0:
		return "the resource has not opened a watch"
	}
	return "the resource has not received all changes"
}
