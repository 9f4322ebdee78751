// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// How often passes decide what is true on a server whose versions cannot be compared.
const (
	disorderFirst = time.Minute
	disorderMost  = time.Hour
)

var (
	errDisorder = errors.New("the server sent an event that is not newer than the start of the watch: its versions cannot be compared")
	errForm     = errors.New("the server sends objects in another API version than before")
)

// order is what a cycle knows of the versions of a server.
//
// A watch from a version brings only what is newer, and the objects of a list are not
// newer than the list. What violates this proves that the versions of the server cannot
// be compared: they began anew, they never change, or a test writes them. From then on events are applied in the order in which they come, and
// passes, limited in rate, decide what is true.
type order struct {
	broken   bool      // proven
	constant bool      // objects change and keep their version: passes are [store.Pass.Anew]
	next     time.Time // no pass for this before
	wait     time.Duration
	formed   time.Duration // no pass for another API version before, since Reflector.base
}

// known returns version, or nothing if it is none: "0" means any.
func known(version string) string {
	if version == "0" {
		return ""
	}
	return version
}

// metaOf returns the meta of an item, with a version only if there is one.
func metaOf[T any](item Item[T]) store.Meta {
	meta := item.Meta()
	meta.Version = known(meta.Version)
	return meta
}

// disorder notes a proof, and whether it shows that objects keep their version.
func (c *cycle[T]) disorder(constant bool, meta store.Meta, from string) {
	c.order.constant = c.order.constant || constant
	if !c.order.broken {
		c.order.broken, c.order.wait = true, disorderFirst
		c.r.observe(VersionsUnordered{Meta: meta, From: from})
	}
}

// inOrder returns meta as the sink is to see it. Where versions cannot be compared it
// has none, so that the sink applies it whatever it holds. The error wants a pass once
// the event was applied.
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
