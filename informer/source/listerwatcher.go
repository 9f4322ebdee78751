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
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// patience is how long a call of a ListerWatcher may outlive its context before
// it is abandoned, and a stopped watch may take to close its channel.
const patience = 500 * time.Millisecond

// FromListerWatcher returns a [informer.Source] that reads lw: a typed, dynamic, metadata or
// fake client, or any other ListerWatcher. For dynamic clients, prefer
// [NewDynamicListerWatcherFactory].
//
// Convert converts a decoded object to a T. If it is nil, objects must be Ts. It is called at
// most once for each object that is read, and not for objects that the sink holds. An object
// that cannot be decoded or converted, also because convert panics, is left out, unless
// [WithStrictDecoding] is given. If lw decodes by itself, an object that its client cannot
// decode fails the list or the watch. A panic of lw fails the request.
//
//   - ListWithContext and WatchWithContext are used if lw has them. A call that does not
//     return within half a second of the end of its context is abandoned: its goroutine
//     goes on until the call returns, and the result is dropped. Nothing else of a
//     Reflector outlives Run.
//   - A [Streamer], and a [NewListWatchFromClient] with its own functions, is read object by
//     object. No list is in memory as a whole, and objects that the sink holds are not
//     decoded. With convert, a NewListWatchFromClient also needs [WithObjectType].
//   - Equal parts of streamed objects are shared, see [WithoutSharing]. With convert only
//     strings are, since convert can modify its objects, unless [WithSharing] is given.
//   - Passes are streamed, unless lw has an IsWatchListSemanticsUnSupported that returns
//     true, as client-go's fakes do. Feature gates and environment variables of client-go
//     have no effect.
//   - An object does not keep the list that it came in in memory.
//   - An object of a list without a resource version, as in metrics.k8s.io, gets
//     store.ContentVersion in its [store.Meta], so that a sink can hold it. The object is
//     not changed. Each list then encodes such objects. If that fails, they have no version.
//   - A Table, or an object or a list of another kind, is an error. It never counts as an
//     empty collection.
//   - For a response that is no list, such as {}, typed clients return an empty list without
//     kind and version, as client-go's fakes do. As the first one it is an empty collection.
func FromListerWatcher[T any](lw cache.ListerWatcher, convert func(runtime.Object) (T, error), opts ...SourceOption) informer.Source[T] {
	s := &listerWatcher[T]{convert: convert, typed: convert == nil}
	if s.typed {
		s.convert = assert[T]
	}
	if check.IsNil(lw) {
		return s
	}
	s.lw, s.given = cache.ToListerWatcherWithContext(lw), lw
	s.streams = !watchlist.DoesClientNotSupportWatchListSemantics(lw)
	var o sourceOptions
	if o, s.err = gatherSource(opts); s.err != nil {
		return s
	}
	s.strict = o.strict
	if streamed := s.streamed(lw, o); streamed != nil {
		return recorded(streamed, o)
	}
	if s.err == nil && o.masked {
		s.leaveOut(o)
	}
	return recorded[T](s, o)
}

// streamed returns a source that reads the bodies of lw, or nil if lw cannot be streamed.
func (s *listerWatcher[T]) streamed(lw cache.ListerWatcher, o sourceOptions) informer.Source[T] {
	own := ownType[T](s.typed)
	var stream, metadata func(context.Context, metav1.ListOptions) (io.ReadCloser, error)
	sent := own
	made, ok := lw.(*ListWatch)
	ok = ok && made.asMade()
	if s.err = o.checkSent(own, s.typed, ok); s.err != nil {
		return nil
	}
	switch streamer, is := lw.(Streamer); {
	case ok:
		stream, metadata = made.stream, made.metadata
		if o.sent != nil {
			sent = o.sent
		}
	case is:
		sent, stream = streamer.ObjectType(), streamer.Stream
		if m, can := lw.(MetadataStreamer); can {
			metadata = m.StreamMetadata
		}
		if s.typed && reflect.TypeOf(sent) != reflect.TypeOf(own) {
			return nil // its List reports the wrong type
		}
	default:
		return nil
	}
	codec, err := newCodec(sent, !s.typed, o)
	if s.err = err; codec == nil {
		return nil
	}
	codec.named = ok || codec.typ != nil || o.kind != ""
	return (&wireSource[T]{listerWatcher: *s, stream: stream, codec: codec}).withMetadata(metadata)
}

// ownType returns an empty T if objects are not converted and T is a pointer to a struct.
func ownType[T any](typed bool) runtime.Object {
	if !typed || reflect.TypeFor[T]().Kind() != reflect.Pointer {
		return nil
	}
	obj, _ := reflect.New(reflect.TypeFor[T]().Elem()).Interface().(runtime.Object)
	return obj
}

// leaveOut removes masked fields from objects before they are converted.
func (s *listerWatcher[T]) leaveOut(o sourceOptions) {
	typ, _ := typeOf(ownType[T](s.typed))
	mask, err := o.mask(typ)
	if err != nil {
		s.err = err
		return
	}
	m := &masker{mask: mask, limits: o.limits}
	convert := s.convert
	s.convert = func(obj runtime.Object) (t T, err error) {
		if obj, err = m.only(obj); err != nil {
			return t, err
		}
		return convert(obj)
	}
}

func assert[T any](obj runtime.Object) (T, error) {
	t, ok := any(obj).(T)
	if !ok {
		return t, fmt.Errorf("the object is a %T, not a %v: use a client for that type, or give FromListerWatcher a function that converts",
			obj, reflect.TypeFor[T]())
	}
	return t, nil
}

type listerWatcher[T any] struct {
	lw      cache.ListerWatcherWithContext // nil: missing
	given   cache.ListerWatcher            // lw as it was given: client-go's wrapper has lists and watches only
	convert func(runtime.Object) (T, error)
	typed   bool // objects are T as they were decoded
	streams bool
	strict  bool
	err     error // what is wrong with the options
}

var errNoListerWatcher = errors.New("FromListerWatcher was given no ListerWatcher")

// Validate returns an error for a missing ListerWatcher or invalid options.
// [informer.NewReflector] calls it.
func (s *listerWatcher[T]) Validate() error {
	if s.lw == nil {
		return errNoListerWatcher
	}
	if s.err != nil {
		return s.err
	}
	return check.Validate(s.given)
}

// Absent implements [informer.AbsenceFinder], if the ListerWatcher does.
func (s *listerWatcher[T]) Absent(ctx context.Context) (bool, error) {
	finder, ok := s.lw.(informer.AbsenceFinder)
	if !ok {
		return false, nil
	}
	return finder.Absent(ctx)
}

// StrictDecoding implements [informer.StrictDecoder].
func (s *listerWatcher[T]) StrictDecoding() bool { return s.strict }

// WatchList implements [informer.Source].
func (s *listerWatcher[T]) WatchList() bool { return s.streams }

// List implements [informer.Source].
func (s *listerWatcher[T]) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[T]) error) (informer.Page, error) {
	if s.lw == nil {
		return informer.Page{}, errNoListerWatcher
	}
	list, err := await(ctx, "List of the ListerWatcher", func() (runtime.Object, error) { return s.lw.ListWithContext(ctx, opts) }, nil)
	if err != nil {
		return informer.Page{}, err
	}
	if check.IsNil(list) {
		return informer.Page{}, &informer.DecodingError{Err: errors.New("the list is nil")}
	}
	if isTable(list) {
		return informer.Page{}, &informer.DecodingError{Err: errTable}
	}
	elem := elementOf(list)
	if s.typed && !fits[T](elem) {
		// An empty one above all: it would delete everything.
		return informer.Page{}, &informer.DecodingError{Err: fmt.Errorf("the list is a %T, which does not hold a %v: use a client for that type, "+
			"or give FromListerWatcher a function that converts", list, reflect.TypeFor[T]())}
	}
	lm, err := meta.ListAccessor(list)
	if err != nil {
		return informer.Page{}, &informer.DecodingError{Err: fmt.Errorf("a %T is not a list: %w", list, err)}
	}
	gvk := list.GetObjectKind().GroupVersionKind()
	if err := isList(list, gvk); err != nil {
		return informer.Page{}, err
	}
	page := informer.Page{Version: lm.GetResourceVersion(), Continue: lm.GetContinue(), Remaining: -1, Kind: gvk.Kind}
	if n := lm.GetRemainingItemCount(); n != nil {
		page.Remaining = *n
	}
	item := objectItem[T]{source: s, copies: elem != nil && elem.Kind() == reflect.Struct}
	var yielded error
	err = eachItem(list, func(obj runtime.Object) error {
		if err := item.setListed(obj); err != nil {
			return err
		}
		if item.bad == nil {
			page.Form = formOf(obj)
		}
		yielded = yield(&item)
		return yielded
	})
	switch {
	case yielded != nil:
		return page, yielded
	case err != nil:
		return page, informer.AsDecodingError(store.Meta{}, err)
	}
	return page, nil
}

// isList reports why a response is no list. Dynamic clients return whatever the server sent.
func isList(list runtime.Object, gvk schema.GroupVersionKind) error {
	if gvk.Kind == "" || strings.HasSuffix(gvk.Kind, "List") {
		return nil
	}
	if u, ok := list.(*unstructured.UnstructuredList); ok && gvk.Kind == "Status" {
		status := &metav1.Status{}
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, status)
		if err == nil && status.Status == metav1.StatusFailure {
			return apierrors.FromObject(status)
		}
	}
	return &informer.DecodingError{Err: fmt.Errorf("the server sent a %s %q in place of a list", gvk.GroupVersion(), gvk.Kind)}
}

// formOf returns the API version of obj, if it has one.
func formOf(obj runtime.Object) string {
	return obj.GetObjectKind().GroupVersionKind().GroupVersion().String()
}

// converted converts an object. If the object lies in an array of others, it converts a copy,
// so that the object does not keep the array.
func (s *listerWatcher[T]) converted(m store.Meta, obj runtime.Object, copies bool) (t T, err error) {
	defer func() {
		if err != nil {
			err = &informer.DecodingError{Meta: m, Err: err}
		}
	}()
	defer usercode.Recover("transform", m.Key, &err)
	if copies {
		if v := reflect.ValueOf(obj); v.Kind() == reflect.Pointer {
			detached := reflect.New(v.Type().Elem())
			detached.Elem().Set(v.Elem())
			obj = detached.Interface().(runtime.Object)
		}
	}
	return s.convert(obj)
}

// eachItem is meta.EachListItem, which panics on lists of a strange shape.
func eachItem(list runtime.Object, f func(runtime.Object) error) (err error) {
	inside := false
	defer func() {
		if inside {
			return // a panic of the sink is not ours
		}
		if p := recover(); p != nil {
			err = fmt.Errorf("reading the items of a %T panicked: %s", list, redact.Panic(p))
		}
	}()
	return meta.EachListItem(list, func(obj runtime.Object) error {
		inside = true
		err := f(obj)
		inside = false
		return err
	})
}

// elementOf returns the type of the items of list: a struct if they lie in an
// array, so that one of them keeps all of them. It is nil if the type says
// nothing of what the items are.
func elementOf(list runtime.Object) reflect.Type {
	ptr, err := meta.GetItemsPtr(list)
	if err != nil {
		return nil
	}
	slice := reflect.TypeOf(ptr)
	if slice.Kind() != reflect.Pointer || slice.Elem().Kind() != reflect.Slice {
		return nil
	}
	elem := slice.Elem().Elem()
	if elem.Kind() == reflect.Interface || elem == reflect.TypeFor[runtime.RawExtension]() {
		return nil
	}
	return elem
}

// fits reports whether an element of a list can be a T, as far as is known.
func fits[T any](elem reflect.Type) bool {
	if elem == nil {
		return true
	}
	if elem.Kind() == reflect.Struct {
		elem = reflect.PointerTo(elem)
	}
	return elem.AssignableTo(reflect.TypeFor[T]())
}

// Watch implements [informer.Source].
func (s *listerWatcher[T]) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[T], error) {
	if s.lw == nil {
		return nil, errNoListerWatcher
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w, err := await(ctx, "Watch of the ListerWatcher", func() (watch.Interface, error) { return s.lw.WatchWithContext(ctx, opts) }, stopWatch)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if check.IsNil(w) {
		cancel(nil)
		return nil, &informer.DecodingError{Err: errors.New("the watch is nil")}
	}
	return &listerWatcherStream[T]{
		ctx: ctx, cancel: cancel, watch: w, events: w.ResultChan(),
		item: objectItem[T]{source: s},
	}, nil
}

// await calls call, a function of the user, in a goroutine, so that one that ignores its
// context cannot hold up the caller. The result of an abandoned call goes to discard.
func await[R any](ctx context.Context, function string, call func() (R, error), discard func(R)) (R, error) {
	type result struct {
		value R
		err   error
	}
	results := make(chan result)
	abandoned := make(chan struct{})
	safely := func() (value R, err error) {
		defer usercode.Recover(function, store.Key{}, &err)
		return call()
	}
	go func() {
		value, err := safely()
		select {
		case results <- result{value, err}:
		case <-abandoned:
			if err == nil && discard != nil {
				defer func() { _ = recover() }() // no caller is left for an error
				discard(value)
			}
		}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-results:
		return r.value, r.err
	case <-time.After(patience):
		close(abandoned)
		var none R
		return none, context.Cause(ctx)
	}
}
