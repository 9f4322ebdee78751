// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
)

var errStopped = errors.New("the watch was stopped")

// stream is an open watch. The fields that change are guarded by the mutex of the server.
type stream[T runtime.Object] struct {
	server *server[T]
	ctx    context.Context

	initial []entry[T] // initial events that are not sent yet
	ending  bool       // the end of the initial events is not sent yet
	from    int64      // the version at the start of the watch
	at      int64      // the version of the last event
	idle    bool       // the reader has read everything and waits
	err     error      // not nil: the watch has ended
}

// Watch implements informer.Source.
func (s *server[T]) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[T], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.Watches++
	if s.failing != nil {
		return nil, s.failing
	}
	st := &stream[T]{server: s, ctx: ctx, from: s.version, at: s.version}
	switch {
	case opts.SendInitialEvents != nil && *opts.SendInitialEvents:
		st.initial, st.ending = s.entries(), true
	case opts.ResourceVersion == "" || opts.ResourceVersion == "0":
		st.initial = s.entries()
	default:
		at, err := strconv.ParseInt(opts.ResourceVersion, 10, 64)
		if err != nil || at > s.version {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("resource version %q is not a version of this server", opts.ResourceVersion))
		}
		if at < s.horizon {
			return nil, errExpired(s.horizon)
		}
		st.at = at
	}
	s.streams[st] = struct{}{}
	return st, nil
}

// Next implements informer.Stream.
func (st *stream[T]) Next() (informer.WatchEvent[T], error) {
	s := st.server
	for {
		if st.ctx.Err() != nil {
			return informer.WatchEvent[T]{}, context.Cause(st.ctx)
		}
		s.mu.Lock()
		event, ok, err := st.pop()
		if idle := !ok && err == nil; idle != st.idle {
			st.idle = idle
			s.wake()
		}
		if ok || err != nil {
			s.mu.Unlock()
			return event, err
		}
		changed := s.next()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-st.ctx.Done():
		}
	}
}

// pop returns the next event, if there is one. It requires the mutex.
func (st *stream[T]) pop() (event informer.WatchEvent[T], ok bool, err error) {
	s := st.server
	switch {
	case st.err != nil:
		return event, false, st.err
	case len(st.initial) > 0:
		e := st.initial[0]
		st.initial = st.initial[1:]
		return eventOf(watch.Added, e), true, nil
	}
	s.forget(st.at) // the resource has accepted the earlier events
	until := max(st.from, s.syncedAt)
	switch ended := st.ending && s.synced; {
	case len(s.log) > 0 && !(ended && s.log[0].version > until):
		c := s.log[0]
		st.at = c.version
		return eventOf(c.kind, c.entry), true, nil
	case ended:
		st.ending, st.at = false, max(st.at, until)
		return informer.WatchEvent[T]{
			Type:             watch.Bookmark,
			Version:          strconv.FormatInt(st.at, 10),
			InitialEventsEnd: true,
		}, true, nil
	}
	return event, false, nil
}

func eventOf[T runtime.Object](kind watch.EventType, e entry[T]) informer.WatchEvent[T] {
	return informer.WatchEvent[T]{Type: kind, Item: item[T]{e}, Version: e.meta.Version}
}

// end ends the stream, unless it has ended. It requires the mutex.
func (st *stream[T]) end(err error) {
	if st.err == nil {
		st.err, st.idle = err, false
		delete(st.server.streams, st)
	}
}

// Stop implements informer.Stream.
func (st *stream[T]) Stop() {
	s := st.server
	s.mu.Lock()
	defer s.mu.Unlock()
	st.end(errStopped)
	s.wake()
}
