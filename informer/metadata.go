// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

// MetadataLister is an optional interface of a [Source] that can list the metadata of its
// objects only. [Settings.CheckMetadata] requires it.
type MetadataLister interface {
	// ListMetadata is as List of the Source, but requests only metadata. yield gets the key,
	// the UID and the version of each object. Kind and Form of the page are ignored.
	ListMetadata(ctx context.Context, opts metav1.ListOptions, yield func(store.Meta) error) (Page, error)
}

var errDiffers = errors.New("the sink does not have an object in the version of the server")

// metaItem is an object in a list of metadata.
type metaItem[T any] struct{ meta store.Meta }

// Meta implements [Item].
func (i metaItem[T]) Meta() store.Meta { return i.meta }

// Decode implements [Item].
func (metaItem[T]) Decode() (none T, err error) { return none, errDiffers }

// byMetadata reports whether the pass that is wanted reads metadata only.
func (c *cycle[T]) byMetadata() bool {
	return c.cfg.CheckMetadata && c.want == store.ReasonCheck && !c.differs && !c.anew && !c.order.constant
}

// list requests a page, of metadata if the pass reads metadata only.
func (c *cycle[T]) list(ctx context.Context, p *passing, opts metav1.ListOptions, yield func(Item[T]) error) (Page, error) {
	if !p.metadata {
		return c.cfg.Source.List(ctx, opts, yield)
	}
	page, err := c.cfg.Source.(MetadataLister).ListMetadata(ctx, opts, func(meta store.Meta) error {
		return yield(metaItem[T]{meta})
	})
	page.Kind, page.Form = c.kind, c.form
	return page, err
}

// foundDifference breaks off a pass that reads metadata, and makes the next step a pass
// that reads whole objects.
func (c *cycle[T]) foundDifference(p *passing, err error) {
	c.cfg.Sink.Abort(p.pass, err)
	c.differs = true
	c.r.contacted(c.now())
	c.r.observe(CheckDiffers{Pass: p.pass, Key: p.lacks})
}
