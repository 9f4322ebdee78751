// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// Source reads one collection of an API server, one object at a time. A
// [Reflector] drives it; [source.FromListerWatcher] makes one of anything that client-go
// can list and watch.
//
// The options of a request are those of the Kubernetes API and are set by the
// Reflector: limit, continue, resource version and match, bookmarks, timeouts.
// A Source adds what selects the collection. Its methods are called from one
// goroutine at a time.
type Source[T any] interface {
	// List requests one page and calls yield for each object of it, in order,
	// as it is read. It returns when the page is read whole; only a nil error
	// says that nothing is missing from it. An error from yield ends the
	// request and is returned as it is. Errors of the server are returned such
	// that those of apimachinery's api/errors package recognise them.
	List(ctx context.Context, opts metav1.ListOptions, yield func(Item[T]) error) (Page, error)

	// Watch opens a watch and returns when the server accepted it. The stream
	// lives until it ends, ctx ends, or Stop is called.
	Watch(ctx context.Context, opts metav1.ListOptions) (Stream[T], error)

	// WatchList reports whether a watch with SendInitialEvents may be tried.
	// It is false where it is known to be refused or ignored.
	WatchList() bool
}

// Item is an object on its way from the server. It is valid until the call that
// it is passed to returns, or until the next call of Next.
type Item[T any] interface {
	// Meta identifies the object. It is zero if nothing does, as of an object without a
	// name: Decode then returns an error.
	Meta() store.Meta

	// Decode returns the object, transformed and detached from whatever
	// buffer or page it came in. It is called at most once. An error leaves the object
	// out, unless the source is a [StrictDecoder].
	Decode() (T, error)
}

// StrictDecoder can be implemented by a [Source] whose lists and watches are to fail if one of
// their objects cannot be decoded.
type StrictDecoder interface {
	// StrictDecoding reports whether it is so. [NewReflector] calls it.
	StrictDecoding() bool
}

// Page is what the server says of a page of a list.
type Page struct {
	// Version is the resource version of the list.
	Version string

	// Continue is the token of the next page, empty on the last one.
	Continue string

	// Remaining is how many objects will follow, -1 if the server does not say.
	Remaining int64

	// Kind is that of the list, such as PodList, empty if the source does not know. All
	// pages of a collection have the same.
	Kind string

	// Form is the API version that the server sent the objects in, empty if the source
	// does not know. If it differs from that of the pass before, one pass hands every
	// object to the sink again.
	Form string
}

// Stream is an open watch.
type Stream[T any] interface {
	// Next blocks until there is an event. It returns io.EOF when the server
	// ended the watch in an orderly way, the error of the server if it sent
	// one in the stream (410 Expired among them), the cause of the context of
	// Watch when that ended, or what went wrong with the connection or with
	// decoding. After an error every further call returns an error.
	Next() (Event[T], error)

	// Stop ends the stream and waits for what reads it. It may be called more
	// than once, and from another goroutine than Next, which it unblocks.
	Stop()
}

// Event is an event of a watch.
type Event[T any] struct {
	// Type is Added, Modified, Deleted or Bookmark.
	Type watch.EventType

	// Item is the object; nil for bookmarks.
	Item Item[T]

	// Version is the resource version that the event brings the watch to.
	Version string

	// InitialEventsEnd is set on the bookmark that ends the initial events.
	InitialEventsEnd bool

	// Form is that of [Page], for Item.
	Form string
}
