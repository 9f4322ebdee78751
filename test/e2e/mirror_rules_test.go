// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

// rules are applied to a record from its beginning. What is acknowledged and tried
// is what the informer that is running knows; what was told of an object goes over
// all of them.
type rules struct {
	final        map[store.Key]store.Meta // what the server has in the end
	limit        int
	acked, tried map[store.Key]store.Meta
	busy         map[store.Key]bool
	newest       map[types.UID]string // version
	gone         map[types.UID]bool
	broken       []string
}

// violations returns which rules the record breaks, given what the server has in
// the end:
//
//   - of one key there is one call at a time;
//   - an object is added that is not acknowledged, updated or shown if it is, and
//     deleted if it is or was tried to be added; what was acknowledged is as it
//     was then;
//   - versions of one object do not go back, and nothing comes after its deletion,
//     but for an informer that resumes from a version: it may begin with older
//     news;
//   - no object is deleted that the server has, be it at the time of the call or
//     in the end;
//   - the object is the one that is announced, and no more is pending than there
//     may be.
func (d *database) violations(final map[store.Key]store.Meta) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := rules{
		final: final, busy: map[store.Key]bool{},
		newest: map[types.UID]string{}, gone: map[types.UID]bool{},
	}
	for _, e := range d.record {
		switch {
		case e.call == nil:
			r.start(e)
		case !e.ended:
			r.begin(*e.call)
		default:
			r.end(*e.call)
		}
	}
	return r.broken
}

func (r *rules) violated(c call, format string, args ...any) {
	r.broken = append(r.broken, fmt.Sprintf("%s %v (%s): ", c.kind, c.meta, c.meta.UID)+fmt.Sprintf(format, args...))
}

func (r *rules) start(e entry) {
	for key := range r.busy {
		r.broken = append(r.broken, fmt.Sprintf("%v: a call outlives its informer", key))
	}
	r.limit, r.acked, r.tried = e.limit, maps.Clone(e.rows), map[store.Key]store.Meta{}
	if e.resume != "" {
		clear(r.newest)
		clear(r.gone)
	}
}

func (r *rules) begin(c call) {
	key := c.meta.Key
	if r.busy[key] {
		r.violated(c, "another call of the key is under way")
	}
	r.busy[key] = true
	if c.pending > r.limit {
		r.violated(c, "%d pending, the limit is %d", c.pending, r.limit)
	}
	if c.kind != "delete" && c.object != c.meta || c.object.UID != "" && c.object.UID != c.meta.UID {
		r.violated(c, "the object is %v (%s)", c.object, c.object.UID)
	}
	acked, isAcked := r.acked[key]
	tried, isTried := r.tried[key]
	switch c.kind {
	case "add":
		if isAcked {
			r.violated(c, "%v (%s) is acknowledged", acked, acked.UID)
		}
		if isTried && tried.UID != c.meta.UID {
			r.violated(c, "%v (%s) was tried and not deleted", tried, tried.UID)
		}
		r.tried[key] = c.meta
	case "update":
		if order, ok := store.CompareVersions(c.meta.Version, c.old.Version); !ok || order <= 0 || c.old.UID != c.meta.UID {
			r.violated(c, "updates %v (%s)", c.old, c.old.UID)
		}
		if !isAcked || c.old != acked {
			r.violated(c, "updates %v (%s), acknowledged is %v (%s)", c.old, c.old.UID, acked, acked.UID)
		}
	case "sync":
		if !isAcked || c.meta != acked {
			r.violated(c, "acknowledged is %v (%s)", acked, acked.UID)
		}
	case "delete":
		known := isAcked && c.meta == acked || !isAcked && isTried && c.meta == tried
		if !known {
			r.violated(c, "acknowledged is %v (%s), tried was %v (%s)", acked, acked.UID, tried, tried.UID)
		}
		if c.alive == c.meta.UID {
			r.violated(c, "the server has it")
		}
		if is, ok := r.final[key]; ok && is.UID == c.meta.UID {
			r.violated(c, "the server still has it, as %v", is)
		}
		return
	}
	if r.gone[c.meta.UID] {
		r.violated(c, "it was deleted before")
	}
	newest := r.newest[c.meta.UID]
	if order, ok := store.CompareVersions(c.meta.Version, newest); ok && order < 0 {
		r.violated(c, "version %s was told before", newest)
	} else {
		r.newest[c.meta.UID] = c.meta.Version
	}
}

func (r *rules) end(c call) {
	key := c.meta.Key
	delete(r.busy, key)
	if c.err != nil {
		return
	}
	delete(r.tried, key)
	if c.kind == "delete" {
		delete(r.acked, key)
		r.gone[c.meta.UID] = true
	} else {
		r.acked[key] = c.meta
	}
}

// Each of the rules is broken by a record that breaks it.
func TestMirrorRules(t *testing.T) {
	object := func(uid, version string) store.Meta {
		return store.Meta{Key: store.Key{Name: "a"}, UID: types.UID(uid), Version: version}
	}
	started := func(resume string, rows ...store.Meta) []entry {
		e := entry{rows: map[store.Key]store.Meta{}, resume: resume, limit: 1}
		for _, row := range rows {
			e.rows[row.Key] = row
		}
		return []entry{e}
	}
	whole := func(c call) []entry {
		if c.kind != "delete" && c.object.UID == "" {
			c.object = c.meta
		}
		return []entry{{call: &c}, {call: &c, ended: true}}
	}
	add := func(m store.Meta) []entry { return whole(call{kind: "add", meta: m}) }
	update := func(old, m store.Meta) []entry { return whole(call{kind: "update", meta: m, old: old}) }
	remove := func(m store.Meta) []entry { return whole(call{kind: "delete", meta: m}) }
	refused := func(m store.Meta) []entry { return whole(call{kind: "add", meta: m, err: errRefused}) }
	begun := func(m store.Meta) []entry { return []entry{{call: &call{kind: "add", meta: m, object: m}}} }
	a1, a2, a3, b4 := object("a", "1"), object("a", "2"), object("a", "3"), object("b", "4")

	for _, c := range []struct {
		name   string
		record [][]entry
		broken string // part of the only violation; empty: none
	}{
		{"all is well", [][]entry{started(""), add(a1), update(a1, a2), remove(a2), refused(b4), add(b4)}, ""},
		{"two at a time", [][]entry{started(""), begun(a1), begun(a1)}, "another call"},
		{"a call outlives its informer", [][]entry{started(""), begun(a1), started("")}, "outlives"},
		{"added twice", [][]entry{started("", a1), add(a2)}, "is acknowledged"},
		{"added over another", [][]entry{started(""), refused(a1), add(b4)}, "was tried and not deleted"},
		{"updated from a state of before", [][]entry{started("", a2), update(a1, a3)}, "acknowledged is"},
		{"updated to another object", [][]entry{started("", a1), update(a1, b4)}, "updates"},
		{"updated to nothing new", [][]entry{started("", a2), update(a2, a2)}, "updates"},
		{"shown what is not acknowledged", [][]entry{started("", a1), whole(call{kind: "sync", meta: a2})}, "acknowledged is"},
		{"deleted without being known", [][]entry{started(""), remove(a1)}, "acknowledged is"},
		{"deleted after being tried", [][]entry{started(""), refused(a1), remove(a1)}, ""},
		{"deleted in a state of before", [][]entry{started("", a2), remove(a1)}, "acknowledged is"},
		{"deleted though it is there", [][]entry{started("", a1), whole(call{kind: "delete", meta: a1, alive: "a"})}, "has it"},
		{"deleted for another", [][]entry{started("", a1), whole(call{kind: "delete", meta: a1, alive: "b"})}, ""},
		{"deleted though it stays", [][]entry{started("", b4), remove(b4)}, "still has it"},
		{"back to an older version", [][]entry{started(""), refused(a2), refused(a1)}, "version 2 was told before"},
		{"back to life", [][]entry{started(""), add(a1), remove(a1), add(a2)}, "was deleted before"},
		{"back after a restart", [][]entry{started(""), add(a1), remove(a1), started(""), add(a1)}, "was deleted before"},
		{"back after resuming", [][]entry{started(""), add(a1), remove(a1), started("1"), add(a1)}, ""},
		{"another object", [][]entry{started(""), whole(call{kind: "add", meta: a1, object: a2})}, "the object is"},
		{"deleted with another object", [][]entry{started("", a1), whole(call{kind: "delete", meta: a1, object: b4})}, "the object is"},
		{"too much", [][]entry{started(""), whole(call{kind: "add", meta: a1, pending: 2})}, "2 pending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &database{}
			for _, entries := range c.record {
				d.record = append(d.record, entries...)
			}
			broken := d.violations(map[store.Key]store.Meta{b4.Key: object("b", "5")})
			if c.broken == "" && len(broken) > 0 || c.broken != "" && (len(broken) != 1 || !strings.Contains(broken[0], c.broken)) {
				t.Errorf("got %q, want %q", broken, c.broken)
			}
		})
	}
}
