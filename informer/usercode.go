// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"cmp"
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// safeSource is a source whose panics are errors.
type safeSource[T any] struct {
	source Source[T]
	panics *usercode.Panics
}

// List implements [Source].
func (s safeSource[T]) List(ctx context.Context, opts metav1.ListOptions, yield func(Item[T]) error) (page Page, err error) {
	defer usercode.Recover("List of the source", store.Key{}, &err)
	item := safeItem[T]{}
	return s.source.List(ctx, opts, func(i Item[T]) error {
		item.set(i)
		return yield(&item)
	})
}

// ListMetadata implements [MetadataLister], if the source does.
func (s safeSource[T]) ListMetadata(ctx context.Context, opts metav1.ListOptions, yield func(store.Meta) error) (page Page, err error) {
	defer usercode.Recover("ListMetadata of the source", store.Key{}, &err)
	return s.source.(MetadataLister).ListMetadata(ctx, opts, yield)
}

// Watch implements [Source].
func (s safeSource[T]) Watch(ctx context.Context, opts metav1.ListOptions) (stream Stream[T], err error) {
	defer usercode.Recover("Watch of the source", store.Key{}, &err)
	stream, err = s.source.Watch(ctx, opts)
	switch {
	case err != nil:
		return nil, err
	case stream == nil:
		return nil, fmt.Errorf("the source (%T) returned neither a watch nor an error", s.source)
	}
	return &safeStream[T]{stream: stream, panics: s.panics}, nil
}

// WatchList implements [Source].
func (s safeSource[T]) WatchList() (streams bool) {
	_ = s.panics.Call("WatchList of the source", "", store.Key{}, func() { streams = s.source.WatchList() })
	return streams
}

// Absent implements [AbsenceFinder], if the source does.
func (s safeSource[T]) Absent(ctx context.Context) (absent bool, err error) {
	finder, ok := s.source.(AbsenceFinder)
	if !ok {
		return false, nil
	}
	panicked := s.panics.Call("Absent of the source", "", store.Key{}, func() { absent, err = finder.Absent(ctx) })
	return absent, cmp.Or(err, panicked)
}

// safeStream is a stream whose panics are errors.
type safeStream[T any] struct {
	stream Stream[T]
	panics *usercode.Panics
	item   safeItem[T]
}

// Next implements [Stream].
func (s *safeStream[T]) Next() (event WatchEvent[T], err error) {
	defer usercode.Recover("Next of the stream", store.Key{}, &err)
	event, err = s.stream.Next()
	if err == nil && event.Item != nil {
		s.item.set(event.Item)
		event.Item = &s.item
	}
	return event, err
}

// Stop implements [Stream].
func (s *safeStream[T]) Stop() {
	_ = s.panics.Call("Stop of the stream", "", store.Key{}, s.stream.Stop)
}

// safeItem is an item whose panics are errors. It is used for one item after the other.
type safeItem[T any] struct {
	item Item[T]
	meta store.Meta
}

func (i *safeItem[T]) set(item Item[T]) { i.item, i.meta = item, item.Meta() }

// Meta implements [Item].
func (i *safeItem[T]) Meta() store.Meta { return i.meta }

// Decode implements [Item].
func (i *safeItem[T]) Decode() (obj T, err error) {
	defer usercode.Recover("Decode of the item", i.meta.Key, &err)
	return i.item.Decode()
}

// Size implements [sizedItem], if the item does.
func (i *safeItem[T]) Size() int {
	if sized, ok := i.item.(sizedItem); ok {
		return sized.Size()
	}
	return 0
}

// safeSink is a sink whose panics are errors.
type safeSink[T any] struct {
	sink   store.Sink[T]
	panics *usercode.Panics
}

// Begin implements [store.Sink].
func (s safeSink[T]) Begin(ctx context.Context, pass store.Pass) (err error) {
	defer usercode.Recover("Begin of the sink", store.Key{}, &err)
	return s.sink.Begin(ctx, pass)
}

// Has implements [store.Sink].
func (s safeSink[T]) Has(meta store.Meta) (held bool) {
	_ = s.panics.Call("Has of the sink", "", meta.Key, func() { held = s.sink.Has(meta) })
	return held
}

// Apply implements [store.Sink].
func (s safeSink[T]) Apply(ctx context.Context, meta store.Meta, obj T) (err error) {
	defer usercode.Recover("Apply of the sink", meta.Key, &err)
	return s.sink.Apply(ctx, meta, obj)
}

// Keep implements [store.Keeper], if the sink does.
func (s safeSink[T]) Keep(ctx context.Context, meta store.Meta) (err error) {
	defer usercode.Recover("Keep of the sink", meta.Key, &err)
	return store.Keep(ctx, s.sink, meta)
}

// Page implements [store.Sink].
func (s safeSink[T]) Page(ctx context.Context, page store.PageInfo) (err error) {
	defer usercode.Recover("Page of the sink", store.Key{}, &err)
	return s.sink.Page(ctx, page)
}

// Delete implements [store.Sink].
func (s safeSink[T]) Delete(ctx context.Context, meta store.Meta, last T, known bool) (err error) {
	defer usercode.Recover("Delete of the sink", meta.Key, &err)
	return s.sink.Delete(ctx, meta, last, known)
}

// Commit implements [store.Sink].
func (s safeSink[T]) Commit(ctx context.Context, version string) (err error) {
	defer usercode.Recover("Commit of the sink", store.Key{}, &err)
	return s.sink.Commit(ctx, version)
}

// Abort implements [store.Sink].
func (s safeSink[T]) Abort(pass store.Pass, cause error) {
	_ = s.panics.Call("Abort of the sink", "", store.Key{}, func() { s.sink.Abort(pass, cause) })
}

// Progress implements [store.Sink].
func (s safeSink[T]) Progress(ctx context.Context, version string) (err error) {
	defer usercode.Recover("Progress of the sink", store.Key{}, &err)
	return s.sink.Progress(ctx, version)
}

// MayBlock implements [store.Sink].
func (s safeSink[T]) MayBlock() (blocks bool) {
	_ = s.panics.Call("MayBlock of the sink", "", store.Key{}, func() { blocks = s.sink.MayBlock() })
	return blocks
}
