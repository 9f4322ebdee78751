// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source/internal/wire"
	"github.com/apiary-go/apiary/store"
)

// wireSource reads the bodies of a [Streamer] object by object.
type wireSource[T any] struct {
	listerWatcher[T]
	stream func(context.Context, metav1.ListOptions) (io.ReadCloser, error)
	codec  *codec
}

// metadataSource is a wireSource that can read only the metadata of its objects.
type metadataSource[T any] struct {
	*wireSource[T]
	metadata informer.Source[*metav1.PartialObjectMetadata]
}

// withMetadata returns a source that reads s, and metadata by the given requests. Without
// requests it returns s.
func (s *wireSource[T]) withMetadata(request func(context.Context, metav1.ListOptions) (io.ReadCloser, error)) informer.Source[T] {
	if request == nil {
		return s
	}
	codec, err := newCodec(&metav1.PartialObjectMetadata{}, true, sourceOptions{limits: s.codec.limits})
	if err != nil {
		return s
	}
	return &metadataSource[T]{wireSource: s, metadata: &wireSource[*metav1.PartialObjectMetadata]{
		listerWatcher: listerWatcher[*metav1.PartialObjectMetadata]{lw: s.lw, given: s.given}, stream: request, codec: codec,
	}}
}

// ListMetadata implements [informer.MetadataLister].
func (s *metadataSource[T]) ListMetadata(ctx context.Context, opts metav1.ListOptions, yield func(store.Meta) error) (informer.Page, error) {
	return s.metadata.List(ctx, opts, func(item informer.Item[*metav1.PartialObjectMetadata]) error { return yield(item.Meta()) })
}

// open sends a request.
func (s *wireSource[T]) open(ctx context.Context, opts metav1.ListOptions) (*body, error) {
	in, err := await(ctx, "Stream of the Streamer", func() (io.ReadCloser, error) { return s.stream(ctx, opts) },
		func(in io.ReadCloser) { _ = in.Close() })
	if err != nil {
		return nil, err
	}
	if in == nil {
		return nil, fmt.Errorf("the Streamer (%T) returned neither a body nor an error", s.lw)
	}
	return newBody(ctx, in), nil
}

// List implements [informer.Source].
func (s *wireSource[T]) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[T]) error) (informer.Page, error) {
	requested, cancel := context.WithCancel(ctx)
	b, err := s.open(requested, opts)
	if err != nil {
		cancel()
		return informer.Page{}, err
	}
	b.ctx = ctx
	b.in = newReadAhead(b.in)
	defer b.close()
	defer cancel() // which ends the body also if to close it does not
	defer s.codec.sweep()
	var (
		item    = wireItem[T]{source: s}
		yielded error
		list    wire.ListMeta
	)
	list, err = wire.ReadList(b, s.codec.limits, func(l wire.ListMeta) error {
		list = l
		if l.Kind == "" {
			return nil // it may come after the objects
		}
		return s.codec.isListOf(l, s.codec.named)
	}, func(o *wire.Object) error {
		if err := item.set(o, list); err != nil {
			return err
		}
		yielded = yield(&item)
		return yielded
	})
	page := informer.Page{
		Version: list.Version, Continue: list.Continue, Remaining: list.Remaining, Kind: list.Kind, Form: item.form,
	}
	switch {
	case yielded != nil:
		return page, yielded
	case err != nil:
		return page, b.explain(err)
	}
	if err := s.codec.isListOf(list, s.codec.named || item.guessed); err != nil {
		return page, err
	}
	return page, nil
}

// isListOf returns an error if a list does not hold the expected objects. If named, its kind
// must be theirs with List appended.
func (c *codec) isListOf(list wire.ListMeta, named bool) error {
	kind, isList := strings.CutSuffix(list.Kind, "List")
	known := c.want.Kind != "" && kind == c.want.Kind
	switch {
	case list.Kind == "Table":
		return &informer.DecodingError{Err: errTable}
	case !isList || c.want.Kind != "" && named && !known || kind != "" && !c.isVersion(list.APIVersion): // a List has any
		// An empty one above all: it would delete everything.
		return &informer.DecodingError{Err: fmt.Errorf("the server sent a %s %q, not a list of %s: use a client for that resource and version, "+
			"or WithKind if the kind is not the name of the type", list.APIVersion, list.Kind, c)}
	case list.NoItems && !known:
		return &informer.DecodingError{Err: fmt.Errorf("the server sent a %s %q without items, which is possibly not a list: "+
			"give the source WithKind if the server leaves out empty items", list.APIVersion, list.Kind)}
	}
	return nil
}

// Watch implements [informer.Source].
func (s *wireSource[T]) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[T], error) {
	opts.Watch = true
	ctx, cancel := context.WithCancelCause(ctx)
	b, err := s.open(ctx, opts)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &wireStream[T]{
		cancel: cancel, body: b, watch: wire.NewWatch(b, s.codec.limits), item: wireItem[T]{source: s},
	}, nil
}

// body closes a response body at the end of its context, and records the error of reading
// it.
type body struct {
	ctx  context.Context
	in   io.ReadCloser
	stop func() bool
	some bool  // a byte was read
	err  error // of Read, except io.EOF
}

func newBody(ctx context.Context, in io.ReadCloser) *body {
	return &body{ctx: ctx, in: in, stop: context.AfterFunc(ctx, func() {
		defer func() { _ = recover() }() // the end of Read says what is wrong
		_ = in.Close()
	})}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	b.some = b.some || n > 0
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func (b *body) close() {
	b.stop()
	_ = b.in.Close()
}

// explain returns the cause of an error of reading: the end of the context, a connection
// that broke, or a response that cannot be decoded.
func (b *body) explain(err error) error {
	var (
		decoding *informer.DecodingError
		status   *wire.StatusError
		foreign  *wire.ForeignError
	)
	switch {
	case b.ctx.Err() != nil:
		return context.Cause(b.ctx)
	case errors.As(err, &status):
		return failureOf(&status.Object, err)
	case errors.As(err, &foreign):
		return informer.NewAnswerError(0, "", foreign.Head)
	case errors.As(err, &decoding):
		return err
	case b.err != nil && errors.Is(err, b.err):
		return fmt.Errorf("the response breaks off: %w", err)
	case !b.some:
		return informer.NewAnswerError(0, "", nil)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the response is cut off: %w", err)
	}
	return &informer.DecodingError{Err: err}
}

// statusOf returns the error of the Status in an error event.
func statusOf(o *wire.Object) error {
	if o.Kind != "" && o.Kind != "Status" {
		return &informer.DecodingError{Err: fmt.Errorf("an error event with a %s, not a Status", o.Kind)}
	}
	status := &metav1.Status{}
	if err := decodeStatus(o, status); err != nil {
		return &informer.DecodingError{Err: fmt.Errorf("an error event that cannot be read: %w", err)}
	}
	return apierrors.FromObject(status)
}

// failureOf returns the error of a Status that was sent in place of a list or an event. It
// wraps strange if the Status is not a failure.
func failureOf(o *wire.Object, strange error) error {
	status := &metav1.Status{}
	if err := decodeStatus(o, status); err != nil {
		return &informer.DecodingError{Err: fmt.Errorf("%w: it cannot be read: %w", strange, err)}
	}
	if status.Status != metav1.StatusFailure {
		return &informer.DecodingError{Err: fmt.Errorf("%w: its status is %q", strange, status.Status)}
	}
	return apierrors.FromObject(status)
}

// typeOf returns the struct type that obj points to.
func typeOf(obj runtime.Object) (reflect.Type, bool) {
	typ := reflect.TypeOf(obj)
	if typ == nil || typ.Kind() != reflect.Pointer || typ.Elem().Kind() != reflect.Struct {
		return nil, false
	}
	return typ.Elem(), true
}
