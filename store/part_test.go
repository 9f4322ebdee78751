// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/store"
)

// in makes a meta of "name" in a namespace.
func in(namespace, name, version string) store.Meta {
	return store.Meta{Key: store.Key{Namespace: namespace, Name: name}, UID: "u", Version: version}
}

func (r *rig) part(namespace string) *store.Part[*thing] {
	p, err := r.AddPart(namespace)
	r.must(err)
	return p
}

// fill commits a pass of p with these objects.
func fill(t testing.TB, p *store.Part[*thing], version string, metas ...store.Meta) {
	t.Helper()
	err := p.Begin(ctx, store.Pass{})
	for _, meta := range metas {
		if err == nil {
			err = p.Apply(ctx, meta, &thing{Meta: meta})
		}
	}
	if err == nil {
		err = p.Commit(ctx, version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) wantVersion(want string) {
	r.t.Helper()
	if got := r.Version(); got != want {
		r.t.Errorf("version %q, want %q", got, want)
	}
}

// A part deletes only what is missing in its own namespace.
func TestPartCommit(t *testing.T) {
	r := newRig(t)
	a, b := r.part("a"), r.part("b")
	fill(t, a, "5", in("a", "x", "1"), in("a", "y", "2"))
	r.wantVersion("") // b has none
	fill(t, b, "7", in("b", "x", "3"))
	r.wantVersion("5")
	r.wantChanges("added a/x@1#u", "added a/y@2#u", "added b/x@3#u")

	r.must(b.Begin(ctx, store.Pass{})) // both are in a pass
	fill(t, a, "9", in("a", "y", "2"))
	r.wantChanges("deleted a/x@1#u")
	r.wantVersion("7")
	r.must(b.Commit(ctx, "8"))
	r.wantChanges("deleted b/x@3#u")
	r.wantVersion("8")
	fill(t, b, "4", in("b", "x", "3")) // the server was restored
	r.wantVersion("4")
	r.changes = nil

	a.Remove()
	r.wantChanges("deleted a/y@2#u")
	b.Remove()
	r.wantChanges("deleted b/x@3#u")
	r.wantVersion("")
}

// A record that moves into the place of a deleted one of another part keeps its mark.
func TestPartsMove(t *testing.T) {
	r := newRig(t)
	a, b := r.part("a"), r.part("b")
	fill(t, b, "4", in("b", "gone", "1"))
	fill(t, a, "5", in("a", "x", "1"))
	r.must(b.Begin(ctx, store.Pass{}))
	r.must(b.Apply(ctx, in("b", "x", "3"), &thing{Meta: in("b", "x", "3")}))
	r.must(a.Delete(ctx, in("a", "x", "6"), nil, false))
	r.changes = nil
	r.must(b.Commit(ctx, "7"))
	r.wantChanges("deleted b/gone@1#u")
}

// Once there are parts, only they fill the store. A removed part does not.
func TestPartRefuses(t *testing.T) {
	r := newRig(t)
	_, err := r.AddPart("")
	wantError(t, err, "store things: add a part: the namespace is empty: give its name")
	a := r.part("a")
	_, err = r.AddPart("a")
	wantError(t, err, "store things: add a part: namespace a has one: remove it first")
	r.must(a.Begin(ctx, store.Pass{}))
	meta := in("b", "x", "1")
	wantError(t, a.Apply(ctx, meta, &thing{Meta: meta}), "store things: the source of namespace a returned object b/x of another one: fix the source")

	parts := "store things has parts: use the part of the namespace"
	_, replaced := r.Replace("1", maps.All(map[store.Meta]*thing{}))
	for _, err := range []error{
		r.Begin(ctx, store.Pass{}), r.Store.Apply(ctx, meta, nil), r.Store.Delete(ctx, meta, nil, false),
		r.Commit(ctx, "1"), r.Progress(ctx, "1"), r.Keep(ctx, meta), replaced,
	} {
		wantError(t, err, parts)
	}
	a.Remove()
	a.Remove()
	for _, err := range []error{
		a.Begin(ctx, store.Pass{}), a.Apply(ctx, in("a", "x", "1"), nil), a.Delete(ctx, in("a", "x", "1"), nil, false),
		a.Commit(ctx, "1"), a.Progress(ctx, "1"), a.Keep(ctx, in("a", "x", "1")),
	} {
		wantError(t, err, "store things: the part of namespace a: it was removed: use the one of a later AddPart")
	}
	wantError(t, r.Begin(ctx, store.Pass{}), parts)

	whole := newRig(t)
	whole.begin()
	_, err = whole.AddPart("a")
	wantError(t, err, "store things: add a part: the store has had a pass as a whole: use a new store")
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if fmt.Sprint(err) != want {
		t.Errorf("error %q, want %q", fmt.Sprint(err), want)
	}
}

// Objects of Write belong to the part of their namespace, also to one that is added later.
func TestPartWrite(t *testing.T) {
	r := newRig(t)
	write := func(meta store.Meta) {
		_, err := r.Write(store.Write[*thing]{Meta: meta, Object: &thing{Meta: meta}})
		r.must(err)
	}
	a := r.part("a")
	write(in("b", "x", "8"))
	b := r.part("b")
	if b.Len() != 1 || a.Len() != 0 {
		t.Errorf("%d and %d objects", b.Len(), a.Len())
	}
	fill(t, a, "5")
	r.must(a.Begin(ctx, store.Pass{}))
	write(in("a", "x", "6")) // counts as applied
	r.changes = nil
	r.must(a.Commit(ctx, "7"))
	r.wantChanges()
	fill(t, b, "9")
	r.wantChanges("deleted b/x@8#u")
	r.wantVersion("7")
}

// A whole state is pushed when every part is complete, and none is in a pass.
func TestPartsUndelta(t *testing.T) {
	var states []int
	u, err := store.NewUndeltaStore(func(s store.Snapshot[*thing]) { states = append(states, s.Len()) },
		func(obj *thing) (store.Key, error) { return obj.Key, nil })
	if err != nil {
		t.Fatal(err)
	}
	want := func(want ...int) {
		t.Helper()
		if !slices.Equal(states, want) {
			t.Errorf("states with %v objects, want %v", states, want)
		}
		states = nil
	}
	a, err := u.AddPart("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := u.AddPart("b")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, a, "1", in("a", "x", "1"), in("a", "y", "1"))
	want()
	fill(t, b, "2", in("b", "x", "1"))
	want(3)
	if err := b.Begin(ctx, store.Pass{}); err != nil {
		t.Fatal(err)
	}
	fill(t, a, "3", in("a", "x", "1"))
	want()
	b.Abort(store.Pass{}, nil)
	fill(t, b, "4", in("b", "x", "1"))
	want(2)
	if err := b.Delete(ctx, in("b", "x", "5"), nil, false); err != nil {
		t.Fatal(err)
	}
	want(1)
	c, err := u.AddPart("c")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, a, "6")
	want()
	c.Remove() // the last one that was not complete
	want(0)
	a.Remove()
	b.Remove()
	want()
}

// WaitFor waits for every part, also for one that is added.
func TestPartsWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, b := r.part("a"), r.part("b")
		fill(t, a, "5")
		fill(t, b, "9")
		done := make(chan error, 1)
		go func() { done <- r.WaitFor(ctx, "8") }()
		synctest.Wait()
		r.must(a.Progress(ctx, "7"))
		c := r.part("c")
		r.must(a.Progress(ctx, "8"))
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("it did not wait for the added part")
		}
		c.Remove()
		r.must(<-done)
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if r.WaitFor(bounded, "9") == nil {
			t.Error("a is only at 8")
		}
	})
}

// Parts are called at the same time, and removed within a pass.
func TestPartsConcurrent(t *testing.T) {
	content := map[store.Key]bool{}
	s, err := store.New(store.Config[*thing]{OnChange: func(c store.Change[*thing]) { // one at a time
		if c.Kind == store.Deleted {
			delete(content, c.Meta.Key)
		} else {
			content[c.Meta.Key] = true
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ns := fmt.Sprint("n", i)
			for round := range 20 {
				p, err := s.AddPart(ns)
				if err != nil {
					t.Error(err)
					return
				}
				var source sync.WaitGroup
				source.Go(func() {
					for pass := range 3 {
						_ = p.Begin(ctx, store.Pass{})
						for o := range 5 {
							meta := in(ns, fmt.Sprint("o", o+pass), fmt.Sprint(pass+1))
							_ = p.Apply(ctx, meta, &thing{Meta: meta})
						}
						_ = p.Commit(ctx, fmt.Sprint(pass+1))
					}
				})
				if round < 19 {
					p.Remove()
					source.Wait()
					continue
				}
				source.Wait()
			}
		})
	}
	wg.Wait()
	if s.Len() != 8*5 || len(content) != 8*5 {
		t.Errorf("%d objects, the changes make %d, want 40", s.Len(), len(content))
	}
	for key := range s.Keys() {
		if !content[key] || key.Name < "o2" {
			t.Errorf("unexpected %s", key)
		}
	}
}
