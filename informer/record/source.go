// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"context"
	"errors"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// NewSource returns a source that reads src, and writes what src returns to w, one line for
// each object. It has the optional interfaces of src. Nothing is written before the first call.
//
// Writes are made on the goroutine of the Reflector: w must not block for long. If a write
// fails or panics, recording ends with a log line, and the source continues without it. An
// object that cannot be encoded is recorded as an error. The lines of a watch are written as
// its events are read. At the end of each call w.Flush is called, if w has it. NewSource
// does not close w.
//
// An invalid option is an error of [informer.NewReflector].
func NewSource[T any](src informer.Source[T], w io.Writer, opts ...Option) informer.Source[T] {
	s := &Switch{}
	r := newRecorder(w, opts)
	if check.IsNil(w) {
		r.invalid = errors.Join(r.invalid, errors.New("the writer of the recording is nil"))
	}
	r.of = s
	s.rec.Store(r)
	return newSource(src, s, r.invalid)
}

// NewSwitchedSource returns a source that reads src, and that s records. It has the optional
// interfaces of src. While s does not record, it adds nothing to the objects and events of src.
func NewSwitchedSource[T any](src informer.Source[T], s *Switch) informer.Source[T] {
	if s == nil {
		return newSource(src, &Switch{}, errors.New("the switch of the recording is nil"))
	}
	return newSource(src, s, nil)
}

func newSource[T any](src informer.Source[T], by *Switch, invalid error) informer.Source[T] {
	s := &source[T]{src: src, by: by, invalid: invalid}
	if m, ok := src.(informer.MetadataLister); ok {
		return &metadataSource[T]{source: s, lister: m}
	}
	return s
}

// source records the calls of another source.
type source[T any] struct {
	src     informer.Source[T]
	by      *Switch
	invalid error // an argument is
	strict  bool  // the last result of StrictDecoding
	streams bool  // the last result of WatchList
	called  bool
}

// metadataSource is a source that can list metadata.
type metadataSource[T any] struct {
	*source[T]
	lister informer.MetadataLister
}

// Validate returns an error for invalid options and for an invalid source.
func (s *source[T]) Validate() error {
	if s.invalid != nil {
		return s.invalid
	}
	if check.IsNil(s.src) {
		return errors.New("the source to record is nil")
	}
	return check.Validate(s.src)
}

// StrictDecoding implements [informer.StrictDecoder].
func (s *source[T]) StrictDecoding() bool {
	strict, ok := s.src.(informer.StrictDecoder)
	s.strict = ok && strict.StrictDecoding()
	return s.strict
}

// WatchList implements [informer.Source].
func (s *source[T]) WatchList() bool {
	s.streams = s.src.WatchList()
	return s.streams
}

// call records one call.
type call struct {
	rec  *recorder
	ctx  context.Context
	http progress
	over bool
}

// begin records the call of a method. It returns nil if the call is not recorded.
func (s *source[T]) begin(ctx context.Context, method string, opts *metav1.ListOptions) *call {
	first := !s.called
	s.called = true
	rec := s.by.rec.Load()
	if rec == nil || !rec.begins(first, method, opts) {
		return nil
	}
	rec.header.Objects, rec.header.Strict = check.TypeName[T](), s.strict
	c := &call{rec: rec}
	c.ctx = c.http.observe(ctx)
	// A list shows that the Reflector does not stream. The reason can be from before the recording.
	streams := s.streams && method != callList
	rec.write(&line{Line: lineCall, At: rec.now(), Call: method, Streams: streams, Options: opts})
	return c
}

// returned records the last line of the call. Line l is for a call without an error.
func (c *call) returned(l *line, err error) {
	var decoding *informer.DecodingError
	switch {
	case err == nil:
	case c.ctx.Err() != nil && !errors.As(err, &decoding):
		l = &line{Line: lineCanceled}
	default:
		l = &line{Line: lineFailed, Error: failureOf(err)}
	}
	c.over = true
	l.At, l.HTTP = c.rec.now(), c.http.load()
	c.rec.write(l)
	c.rec.flush()
}

// panicked records that the source has panicked, if the call is not over.
func (c *call) panicked() {
	if !c.over {
		c.returned(nil, errors.New("the source panicked"))
	}
}

// List implements [informer.Source].
func (s *source[T]) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[T]) error) (informer.Page, error) {
	c := s.begin(ctx, callList, &opts)
	if c == nil {
		return s.src.List(ctx, opts, yield)
	}
	defer c.panicked()
	item := &item[T]{rec: c.rec}
	var refused error
	page, err := s.src.List(c.ctx, opts, func(in informer.Item[T]) error {
		item.set(in, &line{Line: lineItem, At: c.rec.now(), HTTP: c.http.load()})
		err := yield(item)
		if refused == nil {
			refused = err
		}
		item.complete()
		return err
	})
	c.listed(page, refused, err)
	if err == nil && page.Continue == "" {
		c.rec.whole = false
	}
	return page, err
}

// listed records the end of a list.
func (c *call) listed(page informer.Page, refused, err error) {
	if refused != nil && c.ctx.Err() == nil {
		c.returned(&line{Line: lineRefused}, nil)
		return
	}
	c.returned(&line{Line: linePage, Page: &page}, err)
}

// ListMetadata implements [informer.MetadataLister].
func (s *metadataSource[T]) ListMetadata(ctx context.Context, opts metav1.ListOptions, yield func(store.Meta) error) (informer.Page, error) {
	c := s.begin(ctx, callMetadata, &opts)
	if c == nil {
		return s.lister.ListMetadata(ctx, opts, yield)
	}
	defer c.panicked()
	var refused error
	page, err := s.lister.ListMetadata(c.ctx, opts, func(meta store.Meta) error {
		c.rec.write(&line{Line: lineItem, At: c.rec.now(), HTTP: c.http.load(), Object: objectOf(meta)})
		err := yield(meta)
		if refused == nil {
			refused = err
		}
		return err
	})
	c.listed(page, refused, err)
	return page, err
}

// Absent implements [informer.AbsenceFinder], if the source does.
func (s *source[T]) Absent(ctx context.Context) (bool, error) {
	finder, ok := s.src.(informer.AbsenceFinder)
	if !ok {
		return false, nil
	}
	c := s.begin(ctx, callAbsent, nil)
	if c == nil {
		return finder.Absent(ctx)
	}
	defer c.panicked()
	absent, err := finder.Absent(c.ctx)
	c.returned(&line{Line: lineAbsent, Absent: absent}, err)
	return absent, err
}

// Watch implements [informer.Source].
func (s *source[T]) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[T], error) {
	c := s.begin(ctx, callWatch, &opts)
	if c == nil {
		return s.src.Watch(ctx, opts)
	}
	defer c.panicked()
	in, err := s.src.Watch(c.ctx, opts)
	if err == nil && check.IsNil(in) {
		err = errors.New("the source returned no stream")
	}
	c.returned(&line{Line: lineOpened}, err)
	if err != nil {
		return nil, err
	}
	return &stream[T]{call: c, in: in, item: item[T]{rec: c.rec}}, nil
}

// stream records the events of another stream.
type stream[T any] struct {
	call *call
	in   informer.Stream[T]
	item item[T]
	over bool
}

// Next implements [informer.Stream].
func (s *stream[T]) Next() (informer.WatchEvent[T], error) {
	s.item.complete()
	s.call.rec.settle(true)
	e, err := s.in.Next()
	if err != nil {
		if !s.over {
			s.over = true
			s.call.returned(nil, err)
		}
		return e, err
	}
	l := &line{Line: lineEvent, At: s.call.rec.now(),
		Event: &event{Type: e.Type, Version: e.Version, End: e.InitialEventsEnd, Form: e.Form}}
	s.item.set(e.Item, l)
	if e.InitialEventsEnd {
		s.call.rec.whole = false
	}
	if e.Item == nil {
		s.call.rec.settle(true)
	} else {
		e.Item = &s.item
	}
	return e, nil
}

// Stop implements [informer.Stream]. It records nothing, because any goroutine can call it. The
// next call of the source shows that the watch was stopped. What was decoded is written already.
func (s *stream[T]) Stop() { s.in.Stop() }

// item records one object after the other. Its line is written when the object is decoded, or
// when the next line is.
type item[T any] struct {
	rec  *recorder
	in   informer.Item[T]
	line *line
}

func (i *item[T]) set(in informer.Item[T], l *line) {
	if i.in, i.line = in, l; in != nil {
		l.Object = objectOf(in.Meta())
	}
	i.rec.await(l)
}

// Meta implements [informer.Item].
func (i *item[T]) Meta() store.Meta { return i.in.Meta() }

// Decode implements [informer.Item].
func (i *item[T]) Decode() (T, error) {
	obj, err := i.in.Decode()
	if !i.rec.awaits(i.line) {
		return obj, err
	}
	if err != nil {
		i.line.Object.Error = failureOf(err)
	} else if i.line.Object.Content, err = i.rec.encode(obj); err != nil {
		i.line.Object.Content = nil
		i.line.Object.Error = &failure{Text: "the object could not be recorded", Cause: informer.CauseDecoding}
		err = nil
	}
	i.rec.settle(i.line.Event != nil)
	return obj, err
}

// Size returns the size of a decoded item that knows it, or 0. See [informer.ReflectorInfo].
func (i *item[T]) Size() int {
	if sized, ok := i.in.(interface{ Size() int }); ok {
		return sized.Size()
	}
	return 0
}

// complete decodes an object that the sink had, for the first list of a recording.
func (i *item[T]) complete() {
	if !i.rec.whole || i.in == nil || !i.rec.awaits(i.line) {
		return
	}
	var err error // is recorded
	defer usercode.Recover("Decode of the item", i.in.Meta().Key, &err)
	_, err = i.Decode()
}
