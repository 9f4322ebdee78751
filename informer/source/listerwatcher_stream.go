// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
)

// errStopped is what Next returns after Stop.
var errStopped = errors.New("the watch was stopped")

// listerWatcherStream is a [informer.Stream] over a watch.Interface.
type listerWatcherStream[T any] struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  watch.Interface
	events <-chan watch.Event
	item   objectItem[T]
	failed error // what ended the stream
	stop   sync.Once
}

// Next implements [informer.Stream].
func (s *listerWatcherStream[T]) Next() (informer.WatchEvent[T], error) {
	if s.failed != nil {
		return informer.WatchEvent[T]{}, s.failed
	}
	event, err := s.next()
	if err != nil {
		s.failed = err
	}
	return event, err
}

func (s *listerWatcherStream[T]) next() (informer.WatchEvent[T], error) {
	var (
		raw watch.Event
		ok  bool
	)
	select {
	case raw, ok = <-s.events:
	case <-s.ctx.Done():
		return informer.WatchEvent[T]{}, context.Cause(s.ctx)
	}
	if !ok {
		if s.ctx.Err() != nil {
			return informer.WatchEvent[T]{}, context.Cause(s.ctx) // the end of ctx closed it
		}
		return informer.WatchEvent[T]{}, io.EOF
	}
	switch raw.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		if err := s.item.set(raw.Object); err != nil {
			return informer.WatchEvent[T]{}, err
		}
		if s.item.bad != nil && (raw.Type == watch.Deleted || check.IsNil(raw.Object)) {
			return informer.WatchEvent[T]{}, s.item.bad
		}
		if s.item.source.typed {
			// Before anything is concluded from it, a deletion least of all.
			if _, ok := any(raw.Object).(T); !ok {
				_, err := assert[T](raw.Object)
				return informer.WatchEvent[T]{}, &informer.DecodingError{Meta: s.item.meta, Err: err}
			}
		}
		return informer.WatchEvent[T]{Type: raw.Type, Item: &s.item, Version: s.item.meta.Version, Form: formOf(raw.Object)}, nil
	case watch.Bookmark:
		return bookmark[T](raw.Object)
	case watch.Error:
		return informer.WatchEvent[T]{}, statusError(raw.Object)
	}
	return informer.WatchEvent[T]{}, &informer.DecodingError{Err: fmt.Errorf("an event of unknown type %q with a %T", raw.Type, raw.Object)}
}

func bookmark[T any](obj runtime.Object) (e informer.WatchEvent[T], err error) {
	m, err := metaOf(obj)
	if err != nil {
		return e, &informer.DecodingError{Err: fmt.Errorf("bookmark: %w", err)}
	}
	defer func() {
		if p := recover(); p != nil {
			err = &informer.DecodingError{Err: fmt.Errorf("bookmark: %s", redact.Panic(p))}
		}
	}()
	e = informer.WatchEvent[T]{Type: watch.Bookmark, Version: m.Version}
	if o, err := meta.Accessor(obj); err == nil {
		e.InitialEventsEnd = o.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
	}
	return e, nil
}

// Stop implements [informer.Stream].
func (s *listerWatcherStream[T]) Stop() {
	s.stop.Do(func() {
		stopWatch(s.watch)
		s.cancel(errStopped)
	})
}

// stopWatch stops a watch and waits until it has closed its channel: its reader has then
// ended. It stops waiting after patience, since some watches never close it.
func stopWatch(w watch.Interface) {
	if check.IsNil(w) {
		return
	}
	w.Stop()
	late := time.After(patience)
	events := w.ResultChan()
	if events == nil {
		return
	}
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-late:
			return
		}
	}
}
