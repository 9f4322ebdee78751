// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// checkStore compares a store with the server.
func (h *history) checkStore(what string, r resource.Resource[*corev1.Pod], keep func(*corev1.Pod) bool) {
	read, err := r.Store(h.t.Context())
	if err != nil {
		h.t.Errorf("%s: %v", what, err)
		return
	}
	want, wantRed := map[store.Key]string{}, 0
	for key := range h.states {
		if now, _ := h.at(key, h.latest); !now.gone && (keep == nil || now.red) {
			want[key] = fmt.Sprintf("%s@%d", now.uid, now.version)
			if now.red {
				wantRed++
			}
		}
	}
	got := map[store.Key]string{}
	for key, obj := range read.All() {
		got[key] = fmt.Sprintf("%s@%s", obj.UID, obj.ResourceVersion)
		if item, exists, _ := read.GetByKey(key); !exists || item != obj {
			h.t.Errorf("%s: GetByKey(%v) does not find what All has", what, key)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%s has %v, the server %v", what, got, want)
	}
	if red, err := read.ByIndex("color", "red"); err != nil || len(red) != wantRed {
		h.t.Errorf("%s: ByIndex: %d objects, want %d (%v)", what, len(red), wantRed, err)
	}
}

// memory is what a follower knows of a key by what it was told.
type memory struct {
	seen    *told // the last Upsert, until its Delete is acknowledged
	done    *told // the last one that was acknowledged
	last    *told // the last event
	deleted bool  // the last event was a Delete, and is being retried
	retries int
}

// check goes through the record of the follower.
func (f *follower) check() {
	known := map[store.Key]*memory{}
	var syncs, syncRetries int
	for i, e := range f.told {
		if e.kind == resource.Sync {
			syncs++
			if e.obj != nil || e.key != (store.Key{}) {
				f.bad(e, "it has a key or an object")
			}
			if e.answer != "" && e.retries != syncRetries {
				f.bad(e, "the error handler was told of %d retries, want %d", e.retries, syncRetries)
			}
			if e.answer == resource.ErrorActionRetry {
				syncRetries++
			}
			f.checkSync(i)
			continue
		}
		m := known[e.key]
		if m == nil {
			m = &memory{}
			known[e.key] = m
		}
		f.checkEvent(e, m)
		m.last = e
		switch e.answer {
		case resource.ErrorActionRetry:
			m.retries++
		default:
			m.retries = 0
		}
		if e.kind == resource.Upsert {
			m.seen, m.deleted = e, false
		} else if m.deleted = e.answer == resource.ErrorActionRetry; !m.deleted {
			m.seen = nil
		}
		if e.answer != resource.ErrorActionRetry {
			m.done = m.seen
		}
	}
	if f.left.Load() || f.stopped.Load() {
		return
	}
	if want := 1 + syncRetries; syncs != want {
		f.h.t.Errorf("%s: %d Syncs, want %d", f.name, syncs, want)
	}
	f.checkFinal(known)
}

// checkEvent checks an Upsert or a Delete by what the follower knew before.
func (f *follower) checkEvent(e *told, m *memory) {
	if e.obj == nil || store.KeyOf(e.obj) != e.key {
		f.bad(e, "key and object do not belong together")
		return
	}
	if m.last != nil && (m.last.done == 0 || m.last.done > e.got) {
		f.bad(e, "%v was outstanding", m.last)
	}
	if e.answer != "" && e.retries != m.retries {
		f.bad(e, "the error handler was told of %d retries, want %d", e.retries, m.retries)
	}
	said, _ := f.h.at(e.key, e.version)
	if said.gone || said.version != e.version || said.uid != e.obj.UID || said.red != isRed(e.obj) || e.version > e.now {
		f.bad(e, "the server never had that")
	}
	if f.filtered && !isRed(e.obj) {
		f.bad(e, "the filter does not keep it")
	}
	switch {
	case !f.old || m.done == nil:
		if e.old != nil {
			f.bad(e, "the old object is %s", e.old.ResourceVersion)
		}
	case e.old == nil || !f.same(m.done, e.old):
		f.bad(e, "the old object is not that of %v", m.done)
	}
	if e.kind == resource.Delete {
		switch {
		case m.seen == nil:
			f.bad(e, "no Upsert was seen")
		case !f.same(m.seen, e.obj):
			f.bad(e, "the object is not that of %v", m.seen)
		case !f.wasGone(e.key, e.obj.UID, e.version, e.now):
			f.bad(e, "the object was never gone")
		}
		return
	}
	if m.seen == nil {
		if m.last != nil && e.version <= m.last.version {
			f.bad(e, "it is not newer than %v", m.last)
		}
		return
	}
	failed := m.last.answer == resource.ErrorActionRetry
	switch {
	case e.version < m.seen.version:
		f.bad(e, "it is older than %v", m.seen)
	case f.same(m.seen, e.obj) && !failed:
		f.bad(e, "it was told before")
	case e.obj.UID != m.seen.obj.UID && !m.deleted:
		f.bad(e, "there was no Delete of %v", m.seen)
	}
}

// same reports whether an object is that of an event, or one that does not differ for
// this follower.
func (f *follower) same(e *told, obj *corev1.Pod) bool {
	return obj == e.obj || f.distinct && obj.UID == e.obj.UID && isRed(obj) == isRed(e.obj) && versionOf(obj.ResourceVersion) >= e.version
}

// isLike reports whether the server had a state of the key, in one of these versions, that
// does not differ for this follower from what it was told.
func (f *follower) isLike(e *told, from, upTo int64) bool {
	now, _ := f.h.at(e.key, from)
	like := func(s state) bool { return f.distinct && !s.gone && s.uid == e.obj.UID && s.red == isRed(e.obj) }
	return like(now) || slices.ContainsFunc(f.h.states[e.key], func(s state) bool {
		return s.version > from && s.version <= upTo && like(s)
	})
}

// wasGone reports whether the object of key with uid was gone for the follower at
// some version after one, up to another.
func (f *follower) wasGone(key store.Key, uid types.UID, after, upTo int64) bool {
	return slices.ContainsFunc(f.h.states[key], func(s state) bool {
		return s.version > after && s.version <= upTo && (s.gone || s.uid != uid || f.filtered && !s.red)
	})
}

// checkSync checks that the Sync at position i came after what it promises.
func (f *follower) checkSync(i int) {
	sync := f.told[i]
	base := f.base
	if base == nil {
		base = map[store.Key]int64{}
		for key := range f.h.states {
			if s, ok := f.h.at(key, f.h.committed); ok && !s.gone && (!f.filtered || s.red) {
				base[key] = s.version
			}
		}
	}
	for key, version := range base {
		said, _ := f.h.at(key, version)
		ok := f.wasGone(key, said.uid, version, sync.now)
		for _, e := range f.told[:i] {
			// The Sync may have been on its way since the event before was received.
			outstanding := e.returned == 0 || e.returned > f.told[i-1].asked
			if e.key == key && e.kind != resource.Sync && (e.kind == resource.Upsert && (e.version >= version || f.isLike(e, version, sync.now)) || outstanding) {
				ok = true
			}
		}
		if !ok {
			f.bad(sync, "%s was not told in version %d or newer", key, version)
		}
	}
}

// checkFinal checks that the follower knows the final state.
func (f *follower) checkFinal(known map[store.Key]*memory) {
	for key := range f.h.states {
		want, _ := f.h.at(key, f.h.latest)
		var seen *told
		if m := known[key]; m != nil {
			seen = m.seen
		}
		switch there := !want.gone && (!f.filtered || want.red); {
		case there && (seen == nil || seen.version != want.version && !f.isLike(seen, want.version, want.version)):
			f.lost(key, seen, want)
		case !there && seen != nil:
			f.lost(key, seen, want)
		}
	}
}

func (f *follower) lost(key store.Key, seen *told, want state) {
	f.h.t.Errorf("%s: knows %v of %s, the server is at %+v\n%s", f.name, seen, key, want, f.record(key))
}

func (f *follower) bad(e *told, format string, args ...any) {
	f.h.t.Errorf("%s: %v: %s\n%s", f.name, e, fmt.Sprintf(format, args...), f.record(e.key))
}

// record is what the server and the follower say of a key.
func (f *follower) record(key store.Key) string {
	var b strings.Builder
	for _, s := range f.h.states[key] {
		fmt.Fprintf(&b, "  server: %+v\n", s)
	}
	for _, e := range f.told {
		if e.key == key || e.kind == resource.Sync || key == (store.Key{}) {
			fmt.Fprintf(&b, "  told: %v\n", e)
		}
	}
	return b.String()
}
