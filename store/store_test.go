// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/apiary-go/apiary/store"
)

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		indexers map[string]store.IndexFunc[*thing]
		want     string
	}{
		{"no function", map[string]store.IndexFunc[*thing]{"ok": tags, "tag": nil}, `store things: index "tag" has no function`},
		{"no name", map[string]store.IndexFunc[*thing]{"": tags}, `store things: an index has no name`},
	} {
		s, err := store.New(store.Config[*thing]{Name: "things", Indexers: tt.indexers})
		if s != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", tt.name, s, err)
		}
	}
}

func TestZeroConfig(t *testing.T) {
	s, err := store.New(store.Config[*thing]{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, at("a", "u", "1"), &thing{}); err != nil || s.Len() != 1 {
		t.Error(err)
	}
	if _, err := s.ByIndex("tag", "x"); !strings.Contains(err.Error(), "store *store_test.thing:") {
		t.Errorf("the error does not name the type: %v", err)
	}
}

func TestPass(t *testing.T) {
	r := newRig(t)
	r.begin()
	a := r.apply(at("a", "u", "1"))
	r.apply(at("b", "u", "2"))
	if r.Version() != "" {
		t.Errorf("version %q within the first pass", r.Version())
	}
	if obj, ok := r.Get(a.Key); !ok || obj != a {
		t.Error("an object is to be seen only after its pass")
	}
	r.commit("2")
	r.wantChanges("added ns/a@1#u", "added ns/b@2#u")
	if r.Version() != "2" {
		t.Errorf("version %q", r.Version())
	}

	// Held, older, and missing in the next pass.
	r.apply(at("c", "u", "9"))
	r.changes = nil
	r.begin()
	if !r.Has(at("a", "u", "1")) {
		t.Error("does not hold what it was given")
	}
	r.apply(at("b", "u", "1"))
	r.wantChanges("updated ns/b@1#u was ns/b@2#u")
	r.commit("1")
	r.wantChanges("deleted ns/c@9#u")
	if r.Version() != "1" {
		t.Errorf("version %q: that of a pass counts whatever the numbers say", r.Version())
	}
	want := store.Stats{Objects: 2, Indexes: 2, Commits: 2, Swept: 1}
	if got := r.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestHolds(t *testing.T) {
	r := newRig(t)
	r.apply(at("a", "u", "1"))
	r.apply(at("b", "u", ""))
	r.begin()
	for _, tt := range []struct {
		meta store.Meta
		want bool
	}{
		{at("a", "u", "1"), true},
		{at("a", "u", "2"), false},
		{at("a", "v", "1"), false},
		{at("a", "", "1"), false},
		{at("b", "u", ""), false},
		{at("c", "u", "1"), false},
		{store.Meta{}, false},
	} {
		if got := r.Has(tt.meta); got != tt.want {
			t.Errorf("Has(%v#%s) = %t", tt.meta, tt.meta.UID, got)
		}
	}
	r.commit("2")
	if r.Len() != 1 {
		t.Errorf("%d objects: held counts as applied, not held does not", r.Len())
	}
}

func TestUnchangedInPass(t *testing.T) {
	r := newRig(t)
	first := r.apply(at("a", "u", "1"))
	r.begin()
	r.apply(at("a", "u", "1"))
	r.commit("1")
	r.wantChanges("added ns/a@1#u")
	if obj, _ := r.Get(first.Key); obj != first {
		t.Error("an unchanged object was replaced")
	}
	if r.Stats().Stale != 0 {
		t.Error("an unchanged object in a pass counts as stale")
	}
}

func TestUnversionedIsNewInEachPass(t *testing.T) {
	r := newRig(t)
	for range 2 {
		r.begin()
		r.apply(at("a", "u", ""))
		r.commit("")
	}
	r.wantChanges("added ns/a@#u", "updated ns/a@#u was ns/a@#u")
}

func TestAbort(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"abort": func(r *rig) { r.Abort(store.Pass{}, errors.New("broken off")) },
		"begin": func(*rig) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.apply(at("a", "u", "1"))
			r.apply(at("b", "u", "1"))
			r.begin()
			r.apply(at("c", "u", "2"))
			r.apply(at("a", "u", "2"))
			end(r)
			if r.Len() != 3 {
				t.Errorf("%d objects: an aborted pass drops nothing", r.Len())
			}
			r.changes = nil

			// What the aborted pass had does not count for the next one.
			r.begin()
			if !r.Has(at("b", "u", "1")) {
				t.Error("b is gone")
			}
			r.commit("3")
			if r.Len() != 1 || r.Stats().Aborts != 1 {
				t.Errorf("%d objects, %d aborts", r.Len(), r.Stats().Aborts)
			}
		})
	}
}

func TestAbortWithoutPass(t *testing.T) {
	r := newRig(t)
	r.Abort(store.Pass{}, nil)
	r.begin()
	r.commit("1")
	r.Abort(store.Pass{}, nil)
	if r.Stats().Aborts != 0 {
		t.Error("no pass broke off")
	}
}

func TestCommitWithoutBegin(t *testing.T) {
	r := newRig(t)
	r.apply(at("a", "u", "1"))
	for range 2 {
		if err := r.Commit(ctx, "5"); !errors.Is(err, store.ErrNoPass) {
			t.Errorf("got %v", err)
		}
	}
	if r.Len() != 1 || r.Version() != "1" {
		t.Errorf("a refused Commit left %d objects at %q", r.Len(), r.Version())
	}
	r.begin()
	r.commit("6")
	if err := r.Commit(ctx, "7"); !errors.Is(err, store.ErrNoPass) {
		t.Errorf("second commit of a pass: %v", err)
	}
}

func TestChangesOutsideOfPass(t *testing.T) {
	for _, tt := range []struct {
		name       string
		held, next store.Meta
		stale      bool
	}{
		{"newer", at("a", "u", "9"), at("a", "u", "10"), false},
		{"same", at("a", "u", "9"), at("a", "u", "9"), true},
		{"older", at("a", "u", "10"), at("a", "u", "9"), true},
		{"older by far", at("a", "u", long1), at("a", "u", long), true},
		{"no version", at("a", "u", "9"), at("a", "u", ""), false},
		{"held without version", at("a", "u", ""), at("a", "u", "1"), false},
		{"other mark", at("a", "u", "abc"), at("a", "u", "abd"), false},
		{"same mark", at("a", "u", "abc"), at("a", "u", "abc"), true},
		{"no UID, older", at("a", "", "9"), at("a", "u", "8"), true},
		{"other object, newer", at("a", "u", "9"), at("a", "v", "10"), false},
		{"other object, older", at("a", "u", "9"), at("a", "v", "8"), true},
		{"other object, no order", at("a", "u", "9"), at("a", "v", "abc"), false},
		{"other object, no version", at("a", "u", "9"), at("a", "v", ""), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.apply(tt.held, "old")
			r.apply(tt.next, "new")
			want, stale := tt.next, uint64(0)
			if tt.stale {
				want, stale = tt.held, 1
			}
			if got, _ := r.GetMeta(tt.held.Key); got != want {
				t.Errorf("holds %v#%s", got, got.UID)
			}
			if got := r.Stats().Stale; got != stale {
				t.Errorf("%d stale", got)
			}
			if got, err := r.ByIndex("tag", "old"); err != nil || len(got) == 1 != tt.stale {
				t.Errorf("index has %v, %v", got, err)
			}
			if want := 2 - int(stale); len(r.changes) != want {
				t.Errorf("%d changes", len(r.changes))
			}
		})
	}
}

func TestRecreated(t *testing.T) {
	r := newRig(t)
	r.apply(at("a", "u", "1"))
	r.apply(at("a", "v", "2"))
	r.delete(at("a", "u", "2"))
	r.wantChanges("added ns/a@1#u", "updated ns/a@2#v was ns/a@1#u")
	if r.Stats().Stale != 1 {
		t.Error("the late deletion of the first object was not dropped")
	}
	r.delete(at("a", "w", "3"))
	r.wantChanges("deleted ns/a@3#w was ns/a@2#v")
}

func TestDelete(t *testing.T) {
	r := newRig(t)
	a := r.apply(at("a", "u", "1"), "red")
	last := &thing{Meta: at("a", "u", "2")}
	if err := r.Delete(ctx, last.Meta, last, true); err != nil {
		t.Fatal(err)
	}
	c := r.changes[1]
	if c.Old != a || c.New != last || c.Meta != last.Meta || c.OldMeta != a.Meta {
		t.Errorf("got %+v", c)
	}
	if values, _ := r.IndexValues("tag"); len(values) != 0 {
		t.Errorf("index has %q", values)
	}
	r.changes = nil
	r.delete(at("a", "u", "3"))
	r.delete(at("unknown", "u", "4"))
	r.wantChanges()
	if r.Version() != "4" || r.Stats().Stale != 0 {
		t.Errorf("version %q, %d stale", r.Version(), r.Stats().Stale)
	}

	// The last state of another object is not that of the one that was held.
	r.apply(at("a", "u", "5"))
	if err := r.Delete(ctx, at("a", "v", "6"), last, true); err != nil {
		t.Fatal(err)
	}
	if c := r.changes[1]; c.New != nil {
		t.Errorf("got %+v", c)
	}
}

func TestVersion(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		do   func()
		want string
	}{
		{func() {}, ""},
		{func() { r.apply(at("a", "u", "5")) }, "5"},
		{func() { r.apply(at("a", "u", "3")) }, "5"},
		{func() { r.must(r.Progress(ctx, "8")) }, "8"},
		{func() { r.must(r.Progress(ctx, "7")) }, "8"},
		{func() { r.must(r.Progress(ctx, "")) }, "8"},
		{func() { r.delete(at("a", "u", "6")) }, "8"},
		{func() { r.apply(at("a", "u", "9")) }, "9"},
		{func() { r.delete(at("a", "u", "10")) }, "10"},
		{func() { r.begin(); r.apply(at("a", "u", "11")); r.delete(at("b", "u", "12")) }, "10"},
		{func() { r.must(r.Progress(ctx, "13")) }, "10"},
		{func() { r.commit("11") }, "11"},
		{func() { r.begin(); r.commit("4") }, "4"},
		{func() { r.must(r.Progress(ctx, "abc")) }, "abc"},
		{func() { r.begin(); r.commit("") }, ""},
	} {
		tt.do()
		if got := r.Version(); got != tt.want {
			t.Errorf("version %q, want %q", got, tt.want)
		}
	}
}

func TestNamelessObject(t *testing.T) {
	r := newRig(t)
	nameless := store.Meta{Key: store.Key{Namespace: "ns"}, UID: "u", Version: "1"}
	if err := r.Apply(ctx, nameless, &thing{}); err == nil {
		t.Error("applied")
	}
	if err := r.Delete(ctx, nameless, nil, false); err == nil {
		t.Error("deleted")
	}
	if r.Len() != 0 || len(r.changes) != 0 {
		t.Error("stored")
	}
}

func TestReads(t *testing.T) {
	r := newRig(t)
	a, b := r.apply(at("a", "u", "1")), r.apply(at("b", "v", "2"))
	if _, ok := r.Get(store.Key{Name: "a"}); ok {
		t.Error("the namespace does not count")
	}
	if meta, ok := r.GetMeta(store.Key{Name: "a"}); ok || meta != (store.Meta{}) {
		t.Error("meta of nothing")
	}
	if meta, obj, ok := r.Entry(b.Key); !ok || meta != b.Meta || obj != b {
		t.Errorf("Entry: %v, %v, %t", meta, obj, ok)
	}
	want := map[store.Key]*thing{a.Key: a, b.Key: b}
	if got := maps.Collect(r.All()); !maps.Equal(got, want) {
		t.Errorf("All: %v", got)
	}
	if got := slices.SortedFunc(r.Keys(), store.Key.Compare); !slices.Equal(got, []store.Key{a.Key, b.Key}) {
		t.Errorf("Keys: %v", got)
	}
	list := r.List()
	list[0] = nil
	if slices.Contains(r.List(), nil) {
		t.Error("List returns the store's own slice")
	}
	for _, seq := range []int{
		func() (n int) {
			for range r.Keys() {
				n++
				break
			}
			return n
		}(),
		func() (n int) {
			for range r.Entries() {
				n++
				break
			}
			return n
		}(),
	} {
		if seq != 1 {
			t.Error("an iterator goes on after break")
		}
	}
}

func TestSmallMethods(t *testing.T) {
	r := newRig(t)
	if r.MayBlock() {
		t.Error("a store does not block")
	}
	for kind, want := range map[store.ChangeKind]string{
		store.Added: "added", store.Updated: "updated", store.Deleted: "deleted", 9: "ChangeKind(9)",
	} {
		if kind.String() != want {
			t.Errorf("%d is %q", kind, kind)
		}
	}
}
