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

// Streamer is a ListerWatcher whose responses [FromListerWatcher] reads as streams. It calls
// List and Watch only for types that cannot be streamed. The ListerWatcher of
// [NewListWatchFromClient] is read in the same way.
type Streamer interface {
	cache.ListerWatcher

	// Stream sends the request for a list, or for a watch if opts.Watch is set, and
	// returns the body of a successful response. The caller must read the body to its
	// end and close it. The request and the body end with ctx.
	Stream(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error)

	// ObjectType returns an empty object of the type in the responses, before any
	// conversion. It must have its kind set if that is not the name of its Go type. If
	// the result is nil, or of a type that cannot be streamed, List and Watch are called.
	//
	// For unstructured objects, the kind is used when a list does not name it in time.
	// Their list can have any name that ends in List, as a custom resource definition can
	// set, unless [WithKind] is given.
	ObjectType() runtime.Object
}

// MetadataStreamer is a [Streamer] that can request only the metadata of its objects. Its
// source is an [informer.MetadataLister].
type MetadataStreamer interface {
	Streamer

	// StreamMetadata is like Stream for lists, with an Accept header for a
	// PartialObjectMetadataList.
	StreamMetadata(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error)
}
