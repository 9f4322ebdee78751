// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"strings"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// TestChecker: each violation of a contract in a record is reported.
func TestChecker(t *testing.T) {
	a, b := store.Key{Namespace: "ns", Name: "a"}, store.Key{Namespace: "ns", Name: "b"}
	const v = 999_000_000
	h := newHistory()
	for _, c := range []change{
		{key: a, uid: "1"}, {key: b, uid: "2", red: true}, {key: a, uid: "1"}, {key: b, uid: "2", red: true, gone: true},
		{key: b, uid: "3"}, {key: b, uid: "3", gone: true},
	} {
		h.write(c)
	}
	start := entry{kind: began, at: 6}
	add := func(key store.Key, version int64) entry {
		c := h.log[version-1]
		return entry{kind: upsert, key: key, uid: c.uid, version: v + version, red: c.red, at: 6}
	}
	del := func(key store.Key, version int64) entry {
		c := h.log[version-1]
		return entry{kind: deleted, key: key, uid: c.uid, version: v + version, at: 6}
	}
	ok := func(key store.Key) entry { return entry{kind: done, key: key, at: 6} }
	failed := func(key store.Key) entry { return entry{kind: done, key: key, failed: true, at: 6} }
	sync := entry{kind: synced, at: 6}
	early := add(a, 3)
	early.at = 2
	strange := add(a, 3)
	strange.uid = "9"
	for name, test := range map[string]struct {
		entries []entry
		red     bool
		want    string // empty: nothing is wrong
	}{
		"all is well":          {entries: []entry{start, add(a, 1), ok(a), add(b, 2), ok(b), sync, ok(store.Key{}), del(b, 2), ok(b), add(a, 3), failed(a), add(a, 3), ok(a)}},
		"false deletion":       {entries: []entry{start, add(a, 3), ok(a), del(a, 3), ok(a), add(a, 3), ok(a)}, want: "existed all the time"},
		"lost update":          {entries: []entry{start, add(a, 1), ok(a)}, want: "state 0 was shown last, the server has 2"},
		"lost object":          {entries: []entry{start}, want: "it was not shown"},
		"lost deletion":        {entries: []entry{start, add(a, 3), ok(a), add(b, 2), ok(b)}, want: "its deletion was not shown"},
		"version back":         {entries: []entry{start, add(a, 3), ok(a), add(a, 1), ok(a)}, want: "it goes back"},
		"twice":                {entries: []entry{start, add(a, 3), ok(a), add(a, 3), ok(a)}, want: "it comes twice"},
		"event after Delete":   {entries: []entry{start, add(a, 3), ok(a), add(b, 2), ok(b), del(b, 2), ok(b), add(b, 2), ok(b), del(b, 2), ok(b)}, want: "it goes back"},
		"second Delete":        {entries: []entry{start, add(a, 3), ok(a), add(b, 2), ok(b), del(b, 2), ok(b), del(b, 2), ok(b)}, want: "no object was shown before"},
		"Delete of nothing":    {entries: []entry{start, add(a, 3), ok(a), del(b, 2), ok(b)}, want: "no object was shown before"},
		"replaced":             {entries: []entry{start, add(a, 3), ok(a), add(b, 2), ok(b), add(b, 5), ok(b), del(b, 5), ok(b)}, want: "was not deleted before"},
		"another Delete":       {entries: []entry{start, add(a, 3), ok(a), add(b, 5), ok(b), del(b, 2), ok(b)}, want: "object 3 was shown"},
		"without Done":         {entries: []entry{start, add(a, 1), add(a, 3), ok(a)}, want: "the event before it is not done"},
		"from the future":      {entries: []entry{start, early, ok(a)}, want: "did not have this version"},
		"state that never was": {entries: []entry{start, strange, ok(a)}, want: "the server had"},
		"two Syncs":            {entries: []entry{start, add(a, 3), ok(a), sync, ok(store.Key{}), sync}, want: "a second one"},
		"Sync too early":       {entries: []entry{start, sync, add(a, 3), ok(a)}, want: "ns/a was not shown before"},
		"filter":               {red: true, entries: []entry{start, add(a, 3), ok(a)}, want: "the filter rejects it"},
	} {
		r := &record{name: name, h: h, red: test.red, start: 1, entries: test.entries}
		got := strings.Join(r.check(), "\n")
		if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	state := map[store.Key]store.Meta{a: {UID: "1", Version: "999000003"}}
	if diff := h.differs(6, state, false); diff != "" {
		t.Errorf("the state of the end differs: %s", diff)
	}
	if diff := h.differs(2, state, false); diff == "" {
		t.Error("the state of the end does not differ from the one before")
	}
}
