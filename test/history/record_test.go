// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

type entryKind string

const (
	began   entryKind = "began"   // a subscription
	resumed entryKind = "resumed" // an informer that knows less than was handed out
	upsert  entryKind = "upsert"
	deleted entryKind = "deleted"
	done    entryKind = "done"
	synced  entryKind = "synced"
)

// entry is a line of a record: what a consumer was handed, or answered.
type entry struct {
	kind    entryKind
	key     store.Key
	uid     types.UID
	version int64
	red     bool
	failed  bool // of done
	at      int  // how long the history was
}

func (e entry) String() string {
	return fmt.Sprintf("%s %v %s@%d at %d", e.kind, e.key, e.uid, e.version, e.at)
}

// record is what one consumer was handed, in order.
type record struct {
	name string
	h    *history

	red       bool // it has red objects only
	start     int  // how long the history was before the first request
	unordered bool // the server lies about its versions: states can go back
	repeats   bool // it can get a state twice

	mu      sync.Mutex
	entries []entry
	events  int
}

func (r *record) add(e entry) {
	e.at = r.h.length()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	if e.kind != began && e.kind != resumed && e.kind != done {
		r.events++
	}
}

func (r *record) object(kind entryKind, obj *corev1.ConfigMap) {
	e := entry{kind: kind, key: store.KeyOf(obj), uid: obj.UID, version: parse(obj.ResourceVersion), red: isRed(obj)}
	if obj.Data["version"] != obj.ResourceVersion {
		e.version = -1 // a mixture of two states
	}
	r.add(e)
}

func (r *record) done(key store.Key, err error) {
	r.add(entry{kind: done, key: key, failed: err != nil})
}

// shown is what a consumer was shown of a key.
type shown struct {
	index       int // of the state, in the history
	floor       int // no state before this can follow
	uid         types.UID
	version     int64
	open        bool // it was not deleted
	failed      bool // the last event failed
	outstanding bool
	unsure      bool // the last event failed, and the consumer may have forgotten it
}

// checker goes through a record.
type checker struct {
	*record
	keys   map[store.Key]*shown
	synced bool
	wrong  []string
}

// check returns what violates the contracts.
func (r *record) check() (violations []string) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	c := &checker{record: r, keys: map[store.Key]*shown{}}
	for _, e := range r.entries {
		c.entry(e)
	}
	c.end()
	return c.wrong
}

func (c *checker) failf(e entry, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf("%s: %v: %s", c.name, e, fmt.Sprintf(format, args...)))
}

func (c *checker) entry(e entry) {
	s := c.keys[e.key]
	if s == nil {
		s = &shown{index: -1, floor: -1}
	}
	switch e.kind {
	case began:
		c.keys, c.synced = map[store.Key]*shown{}, false
		return
	case resumed:
		for _, s := range c.keys {
			s.unsure = s.unsure || s.failed || s.outstanding
			s.floor, s.outstanding, s.failed = -1, false, true
		}
		return
	case synced:
		c.sync(e)
		return
	case done:
		if e.key == (store.Key{}) && e.failed {
			c.synced = false // it comes again
		}
		s.outstanding, s.failed = false, e.failed
		return
	}
	if s.outstanding {
		c.failf(e, "the event before it is not done")
	}
	if e.kind == upsert {
		c.upsert(e, s)
	} else {
		c.deletion(e, s)
	}
	s.outstanding = true
	c.keys[e.key] = s
}

func (c *checker) upsert(e entry, s *shown) {
	index, known := c.h.byState[e.version]
	if !known || index >= e.at {
		c.failf(e, "the server did not have this version")
		return
	}
	is := c.h.log[index]
	if is.key != e.key || is.uid != e.uid || is.red != e.red || is.gone {
		c.failf(e, "the server had %+v", is)
	}
	switch {
	case c.red && !e.red:
		c.failf(e, "the filter rejects it")
	case s.open && !s.failed && !c.repeats && s.uid != e.uid:
		c.failf(e, "object %s was not deleted before", s.uid)
	case c.unordered:
	case index < s.floor:
		c.failf(e, "it goes back: state %d after %d", index, s.floor)
	case index == s.index && s.open && !s.failed && !c.repeats:
		c.failf(e, "it comes twice")
	}
	*s = shown{index: index, floor: index, uid: e.uid, version: e.version, open: true}
}

func (c *checker) deletion(e entry, s *shown) {
	switch {
	case !s.open && !s.failed:
		c.failf(e, "no object was shown before")
		return
	case s.uid != e.uid:
		c.failf(e, "object %s was shown", s.uid)
	case e.version != s.version && s.open && e.version != 0:
		c.failf(e, "version %d was shown", s.version)
	}
	s.open, s.unsure = false, false
	if c.unordered && !permanent(e.key) {
		return // an older object can take its place
	}
	for _, i := range c.h.byKey[e.key] {
		is := c.h.log[i]
		if i > s.index && i < e.at && (is.gone || is.uid != e.uid || c.red && !is.red) {
			s.floor = max(s.floor, i)
			return
		}
	}
	c.failf(e, "the object existed all the time since state %d", s.index)
}

// sync demands what existed since before the first request. What came later may not have
// been heard of yet.
func (c *checker) sync(e entry) {
	if c.synced {
		c.failf(e, "a second one")
	}
	c.synced = true
	for key, of := range c.h.byKey {
		first, throughout := c.h.log[of[0]], of[0] < c.start
		for _, i := range of {
			is := c.h.log[i]
			if i < e.at && (is.gone || is.uid != first.uid || c.red && !is.red) {
				throughout = false
			}
		}
		if throughout && c.keys[key] == nil {
			c.failf(e, "%v was not shown before", key)
		}
	}
}

// end compares what was shown with the server at the end.
func (c *checker) end() {
	e := entry{kind: "end", at: len(c.h.log)}
	for key := range c.h.byKey {
		is, index, exists := c.h.last(key, len(c.h.log))
		exists = exists && (!c.red || is.red)
		s := c.keys[key]
		e.key, e.uid, e.version = key, is.uid, is.version
		switch {
		case s == nil || !s.open:
			if exists {
				c.failf(e, "it was not shown")
			}
		case !exists && s.unsure:
		case !exists:
			c.failf(e, "its deletion was not shown")
		case s.index != index:
			c.failf(e, "state %d was shown last, the server has %d", s.index, index)
		case s.outstanding:
			c.failf(e, "it is not done")
		}
	}
}
