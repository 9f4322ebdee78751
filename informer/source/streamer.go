// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"context"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// Streamer is a ListerWatcher whose responses [FromListerWatcher] reads by itself, as
// they come, instead of calling List and Watch; but Watch is called for what cannot be
// streamed. What [NewListWatchFromClient] returns is read in the same way.
type Streamer interface {
	cache.ListerWatcher

	// Stream sends the request for a list, or, if opts.Watch is set, for a watch, and
	// returns the body of a response that is no error. It is read to its end, and
	// closed, by the caller. The request, and the body, end with ctx.
	Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error)

	// ObjectType returns an empty object of the type that is sent, before any
	// conversion, with the kind that it has on the server if that is not the name of
	// its Go type. If it returns nil, or an object of a type that cannot be read from
	// a stream, List and Watch are called. The kind of an unstructured object is that
	// of objects for which their list does not say it in time. Of others the list may
	// have any name that ends in List, as the definition of a custom resource may give
	// it one, unless [WithKind] says the kind.
	ObjectType() runtime.Object
}

// MetadataStreamer is a [Streamer] that can request the metadata of its objects alone. A
// source of it is an [informer.MetadataLister].
type MetadataStreamer interface {
	Streamer

	// StreamMetadata is Stream for lists, with an Accept header for a
	// PartialObjectMetadataList.
	StreamMetadata(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error)
}
