// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// Source reads one collection of an API server, one object at a time. A [Reflector] calls it.
// source.FromListerWatcher makes a Source of a ListerWatcher of client-go.
//
// The options are those of the Kubernetes API. The Reflector sets limit, continue, resource
// version and match, bookmarks and timeouts. A Source adds selectors and the namespace. Calls
// come from one goroutine at a time.
type Source[T any] interface {
	// List requests one page and calls yield for each of its objects, in order, as they are
	// read. It returns when the page is read, and returns nil only if it is complete. An
	// error of yield ends the request and is returned unchanged. Errors of the server must
	// be recognised by the functions of apimachinery's package api/errors.
	List(ctx context.Context, opts metav1.ListOptions, yield func(Item[T]) error) (Page, error)

	// Watch opens a watch and returns when the server has accepted it. The stream lives until
	// the server ends it, ctx ends, or Stop is called.
	Watch(ctx context.Context, opts metav1.ListOptions) (Stream[T], error)

	// WatchList reports whether the Reflector can try a watch with SendInitialEvents. It is
	// false if the server is known to refuse or ignore the option.
	WatchList() bool
}

// Item is an object that was read and is not decoded yet. It is valid until yield returns, or
// until the next call of Next.
type Item[T any] interface {
	// Meta identifies the object. It is zero for an object without a name. Decode then
	// returns an error.
	Meta() store.Meta

	// Decode returns the object, transformed. It must not share memory with the buffer or
	// page that it was read from. It is called at most once. An error leaves the object out,
	// unless the source is a [StrictDecoder].
	Decode() (T, error)
}

// StrictDecoder is an optional interface of a [Source]. A list or watch of a strict Source
// fails if one of its objects cannot be decoded.
type StrictDecoder interface {
	// StrictDecoding reports whether the Source is strict. [NewReflector] calls it.
	StrictDecoding() bool
}

// Page has the metadata of a page of a list.
type Page struct {
	// Version is the resource version of the list.
	Version string

	// Continue is the token of the next page, empty on the last one.
	Continue string

	// Remaining is the number of objects that follow. It is -1 if the server does not send it.
	Remaining int64

	// Kind is the kind of the list, such as PodList. It is empty if the source does not know
	// it. All pages of a collection have the same Kind.
	Kind string

	// Form is the API version of the objects in the response. It is empty if the source does
	// not know it. If it changes from one pass to the next, one pass hands every object to the
	// sink again.
	Form string
}

// Stream is an open watch.
type Stream[T any] interface {
	// Next blocks until there is an event. It returns io.EOF if the server ended the watch in
	// an orderly way, the error that the server sent in the stream (such as 410 Expired), the
	// cause of the context of Watch if that ended, or the error of the connection or the
	// decoder. After an error each further call returns an error.
	Next() (WatchEvent[T], error)

	// Stop ends the stream, unblocks Next, and waits for the goroutines that read it. It can
	// be called several times, from any goroutine.
	Stop()
}

// WatchEvent is an event of a watch.
type WatchEvent[T any] struct {
	// Type is Added, Modified, Deleted or Bookmark.
	Type watch.EventType

	// Item is the object; nil for bookmarks.
	Item Item[T]

	// Version is the resource version of the watch after the event.
	Version string

	// InitialEventsEnd is set on the bookmark that ends the initial events.
	InitialEventsEnd bool

	// Form is the API version of Item, as in [Page].
	Form string
}
