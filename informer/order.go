// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// The least time between passes for a server whose versions cannot be compared: at first, and
// at most.
const (
	disorderFirst = time.Minute
	disorderMost  = time.Hour
)

var (
	errDisorder = errors.New("the server sent an event that is not newer than the start of the watch: its versions cannot be compared")
	errForm     = errors.New("the server sends objects in another API version than before")
)

// order is the state of the versions of a server. See "Order of versions" in the
// documentation of the package. Versions that cannot be compared began anew, never change, or
// are written by a test.
type order struct {
	broken   bool      // proven
	constant bool      // objects change and keep their version: passes are [store.Pass.Anew]
	next     time.Time // no pass for this before
	wait     time.Duration
	formed   time.Duration // no pass for another API version before, since Reflector.base
}

// known returns version, or the empty string for "0", which means any version.
func known(version string) string {
	if version == "0" {
		return ""
	}
	return version
}

// metaOf returns the meta of an item, with an empty version for "0".
func metaOf[T any](item Item[T]) store.Meta {
	meta := item.Meta()
	meta.Version = known(meta.Version)
	return meta
}

// disorder records a proof, and whether it shows that objects keep their version.
func (c *cycle[T]) disorder(constant bool, meta store.Meta, from string) {
	c.order.constant = c.order.constant || constant
	if !c.order.broken {
		c.order.broken, c.order.wait = true, disorderFirst
		c.r.observe(VersionsUnordered{Meta: meta, From: from})
	}
}

// inOrder returns meta for the sink. If versions cannot be compared it has none, so that the
// sink applies the event in any case. The error requests a pass after the event was applied.
func (c *cycle[T]) inOrder(t watch.EventType, version string, meta store.Meta, w *following) (store.Meta, error) {
	if w.synthetic {
		return meta, nil
	}
	if w.floor == "" {
		meta.Version = ""
		return meta, nil
	}
	older, ordered := store.CompareVersions(version, w.floor)
	if t == watch.Deleted || !ordered || older > 0 {
		if c.order.broken {
			meta.Version = ""
		}
		return meta, nil
	}
	c.disorder(older == 0, meta, w.floor)
	meta.Version = ""
	now := time.Now()
	if now.Before(c.order.next) {
		return meta, nil
	}
	c.order.next = now.Add(c.order.wait)
	c.order.wait = min(2*c.order.wait, disorderMost)
	return meta, errDisorder
}
