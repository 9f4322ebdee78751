// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"iter"
	"slices"

	"github.com/apiary-go/apiary/store"
)

// keeper is a sink that returns its content, as a [store.Store]. Only with such a sink the
// Reflector finds changes that the watch missed.
type keeper interface {
	GetMeta(key store.Key) (store.Meta, bool)
	Keys() iter.Seq[store.Key]
	Len() int
}

// missing is the state of the search for changes that the watch missed.
type missing struct {
	keeper keeper // nil: the sink does not return its content

	// known: a pass was committed, and the sink has lost nothing since. Through: the watch
	// brought everything up to the version of the cycle. Otherwise another change of that
	// version can follow.
	known, through bool

	// mixed: a watch brought versions in no order. A change that follows can then be older.
	mixed bool

	findings // of passes that broke off, since the last one that was committed
}

// findings are objects that the watch missed.
type findings struct {
	count int
	first store.Key
}

func (f *findings) add(count int, first store.Key) {
	if f.count == 0 {
		f.first = first
	}
	f.count += count
}

// checks reports whether the pass looks for changes that the watch missed.
func (c *cycle[T]) checks(p *passing) bool {
	m := &c.missing
	return m.keeper != nil && m.known && !m.mixed && !c.order.broken && !p.pass.Anew && !p.blind &&
		(p.pass.Reason == store.ReasonCheck || p.pass.Reason == store.ReasonAsked)
}

// lacks reports whether the watch should have brought this state of an object, and the
// sink has an older one, or none.
func (c *cycle[T]) lacks(p *passing, meta store.Meta) bool {
	if !c.checks(p) {
		return false
	}
	order, ordered := store.CompareVersions(meta.Version, c.version)
	if !ordered || order > 0 || order == 0 && !c.missing.through {
		return false // it is newer than the watch
	}
	held, ok := c.missing.keeper.GetMeta(meta.Key)
	if !ok {
		return true
	}
	order, ordered = store.CompareVersions(held.Version, meta.Version)
	return ordered && order < 0
}

// mended counts an object that the sink lacked, if it has it now.
func (c *cycle[T]) mended(p *passing, meta store.Meta) {
	if held, ok := c.missing.keeper.GetMeta(meta.Key); ok && held.Version == meta.Version {
		p.missed.add(1, meta.Key)
	}
}

// keepFindings keeps the findings of the pass, if its state is not older than the watch. An
// older state can show objects that are gone.
func (c *cycle[T]) keepFindings(p *passing) {
	if p.missed.count > 0 && p.version != "" && !c.older(p.version) {
		c.missing.add(p.missed.count, p.missed.first)
	}
}

// beforeSweep returns the keys of the sink, if the pass can show deletions that the watch
// missed: only if it is at exactly the version of the watch. Otherwise a deletion can be
// newer.
func (c *cycle[T]) beforeSweep(p *passing) []store.Key {
	if !c.checks(p) || !c.missing.through || p.version == "" || p.version != c.version || c.missing.keeper.Len() <= p.objects {
		return nil
	}
	return slices.Collect(c.missing.keeper.Keys())
}

// swept counts the keys that the sink does not have any more.
func (c *cycle[T]) swept(p *passing, keys []store.Key) {
	for _, key := range keys {
		if _, ok := c.missing.keeper.GetMeta(key); !ok {
			p.missed.add(1, key)
		}
	}
}

// reportMissed reports missed changes, once for a committed pass.
func (c *cycle[T]) reportMissed(p *passing) {
	m := &c.missing
	if m.count > 0 {
		c.r.observe(Missed{Pass: p.pass, Count: m.count, Key: m.first})
	}
	m.findings = findings{}
}
