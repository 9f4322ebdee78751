// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// names returns the sorted names of what index has under value.
func (r *rig) names(index, value string) string {
	r.t.Helper()
	keys, err := r.IndexKeys(index, value)
	if err != nil {
		r.t.Fatal(err)
	}
	objs, err := r.ByIndex(index, value)
	if err != nil || len(objs) != len(keys) {
		r.t.Fatalf("%d objects of %d keys, %v", len(objs), len(keys), err)
	}
	var names []string
	for i, key := range keys {
		if objs[i].Key != key {
			r.t.Errorf("key %v of object %v", key, objs[i].Key)
		}
		names = append(names, key.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (r *rig) values(index string) string {
	r.t.Helper()
	values, err := r.IndexValues(index)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(values)
	return strings.Join(values, " ")
}

func TestIndex(t *testing.T) {
	r := newRig(t)
	r.apply(at("a", "u", "1"), "red", "blue", "red")
	r.apply(at("b", "u", "1"), "red")
	r.apply(at("c", "u", "1"))
	if got := r.names("tag", "red"); got != "a b" {
		t.Errorf("red: %s", got)
	}
	if got := r.names("namespace", "ns"); got != "a b c" {
		t.Errorf("namespace: %s", got)
	}
	if got := r.names("tag", "green"); got != "" {
		t.Errorf("green: %s", got)
	}
	if got := r.values("tag"); got != "blue red" {
		t.Errorf("values: %s", got)
	}
	r.apply(at("a", "u", "2"), "green", "blue")
	if got := r.names("tag", "red"); got != "b" {
		t.Errorf("red: %s", got)
	}
	if got := r.names("tag", "green"); got != "a" {
		t.Errorf("green: %s", got)
	}
	r.delete(at("b", "u", "2"))
	if got := r.values("tag"); got != "blue green" {
		t.Errorf("empty values stay: %s", got)
	}
}

func TestNoIndex(t *testing.T) {
	r := newRig(t)
	_, err1 := r.ByIndex("none", "x")
	_, err2 := r.IndexKeys("none", "x")
	_, err3 := r.IndexValues("none")
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, store.ErrNoIndex) || !strings.Contains(err.Error(), `store things: index "none"`) {
			t.Errorf("got %v", err)
		}
	}
}

func TestFailingIndexFunc(t *testing.T) {
	for _, tt := range []struct {
		trouble  trouble
		wraps    bool
		panicked bool
	}{{errs, true, false}, {panics, false, true}, {panicsWithError, true, true}} {
		t.Run(fmt.Sprint(tt.trouble), func(t *testing.T) {
			r := newRig(t)
			r.apply(at("a", "u", "1"), "red")
			r.apply(at("b", "u", "1"), "red")
			bad := &thing{Meta: at("a", "u", "2"), Tags: []string{"red"}, Trouble: tt.trouble}
			r.must(r.Apply(ctx, bad.Meta, bad))

			if obj, _ := r.Get(bad.Key); obj != bad {
				t.Error("the object is not stored")
			}
			if got := r.names("tag", "red"); got != "b" {
				t.Errorf("red: %s", got)
			}
			if got := r.names("namespace", "ns"); got != "a b" {
				t.Errorf("the other index has: %s", got)
			}
			if got := r.values("tag"); got != "red" {
				t.Errorf("values: %s", got)
			}
			var ie *store.IndexError
			if len(r.errs) != 1 || !errors.As(r.errs[0], &ie) || r.Stats().IndexErrors != 1 {
				t.Fatalf("reported %v, %d counted", r.errs, r.Stats().IndexErrors)
			}
			if ie.Store != "things" || ie.Index != "tag" || ie.Meta != bad.Meta {
				t.Errorf("got %+v", ie)
			}
			var panicked *store.PanicError
			if errors.As(ie, &panicked) != tt.panicked {
				t.Fatalf("panicked: %t", !tt.panicked)
			}
			if tt.panicked && (panicked.Function != `index function "tag"` || panicked.Key != bad.Key || !strings.Contains(string(panicked.Stack), "rig_test.go:")) {
				t.Errorf("got %+v", panicked)
			}
			if errors.Is(ie, errTag) != tt.wraps {
				t.Errorf("wraps: %t", !tt.wraps)
			}
			if want := `store things: index "tag": ns/a@2 is missing from the index: `; !strings.HasPrefix(ie.Error(), want) {
				t.Errorf("got %q", ie)
			}

			r.apply(at("a", "u", "3"), "red")
			if got := r.names("tag", "red"); got != "a b" {
				t.Errorf("red, once it is good again: %s", got)
			}
		})
	}
}

func TestIndexErrorsUnreported(t *testing.T) {
	s, err := store.New(store.Config[*thing]{Indexers: map[string]store.IndexFunc[*thing]{"tag": tags}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, at("a", "u", "1"), &thing{Trouble: panics}); err != nil || s.Stats().IndexErrors != 1 {
		t.Error(err)
	}
}

// An index function that panics with an object, as with what it cannot index, does not put
// it into the error.
func TestIndexPanicShowsNoObject(t *testing.T) {
	var reported error
	s, err := store.New(store.Config[*thing]{
		Indexers:     map[string]store.IndexFunc[*thing]{"tag": func([]string, *thing) ([]string, error) { panic(map[string]string{"password": "c4nary"}) }},
		OnIndexError: func(err error) { reported = err },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, at("a", "u", "1"), &thing{}); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(reported); strings.Contains(text, "c4nary") || !strings.Contains(text, "panicked on key \"ns/a\": a map[string]string") {
		t.Error(text)
	}
}

// TestIndexFuncEndsGoroutine checks that the store lives on after an index
// function that calls runtime.Goexit, as testing.T.FailNow does.
func TestIndexFuncEndsGoroutine(t *testing.T) {
	r := newRig(t)
	exit := func(values []string, _ *thing) ([]string, error) { runtime.Goexit(); return nil, nil }
	r.apply(at("a", "u", "1"), "red")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.AddIndexers(map[string]store.IndexFunc[*thing]{"exit": exit})
	}()
	<-done
	r.apply(at("a", "u", "2"), "blue")
	r.delete(at("a", "u", "3"))
	if got := r.values("tag"); got != "" || r.Len() != 0 {
		t.Errorf("%d objects, values %s", r.Len(), got)
	}
}

// TestIndexFuncCalledOnce checks that an index function is called once for
// each state of an object, and not at all for what changes nothing.
func TestIndexFuncCalledOnce(t *testing.T) {
	calls := 0
	s, err := store.New(store.Config[*thing]{Indexers: map[string]store.IndexFunc[*thing]{
		"n": func(values []string, _ *thing) ([]string, error) { calls++; return append(values, "x"), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Store: s, t: t}
	for _, step := range []struct {
		do   func()
		want int
	}{
		{func() { r.apply(at("a", "u", "1")) }, 1},
		{func() { r.apply(at("a", "u", "2")) }, 1},
		{func() { r.apply(at("a", "u", "1")) }, 0},
		{func() { r.begin(); r.Holds(at("a", "u", "2")) }, 0},
		{func() { r.apply(at("a", "u", "2")) }, 0},
		{func() { r.commit("2") }, 0},
		{func() { r.delete(at("a", "u", "3")) }, 0},
	} {
		calls = 0
		if step.do(); calls != step.want {
			t.Errorf("%d calls, want %d", calls, step.want)
		}
	}
}

// TestIndexFuncReads checks that index functions may read the store.
func TestIndexFuncReads(t *testing.T) {
	var s *store.Store[*thing]
	s, err := store.New(store.Config[*thing]{Indexers: map[string]store.IndexFunc[*thing]{
		"seen": func(values []string, obj *thing) ([]string, error) {
			_, ok := s.Get(obj.Key)
			return append(values, fmt.Sprint(ok, s.Len(), len(s.List()))), nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Store: s, t: t}
	r.apply(at("a", "u", "1"))
	if got := r.values("seen"); got != "false 0 0" {
		t.Error(got)
	}
	r.apply(at("a", "u", "2"))
	if got := r.values("seen"); got != "true 1 1" {
		t.Error(got)
	}
}

func TestAddIndexers(t *testing.T) {
	r := newRig(t)
	const n = 1000
	for i := range n {
		r.apply(at(fmt.Sprint(i), "u", "1"), "red", fmt.Sprint(i%10))
	}
	bad := &thing{Meta: at("bad", "u", "1"), Trouble: errs}
	r.must(r.Apply(ctx, bad.Meta, bad))
	r.errs = nil

	r.must(r.AddIndexers(map[string]store.IndexFunc[*thing]{"second": tags, "name": func(values []string, obj *thing) ([]string, error) {
		return append(values, obj.Key.Name), nil
	}}))
	if len(r.errs) != 1 || r.Stats().IndexErrors != 2 || r.Stats().Indexes != 4 {
		t.Errorf("reported %v, stats %+v", r.errs, r.Stats())
	}
	same := func() {
		t.Helper()
		if got, want := r.values("second"), r.values("tag"); got != want {
			t.Errorf("values %s, want %s", got, want)
		}
		for _, v := range []string{"red", "0", "9"} {
			if got, want := r.names("second", v), r.names("tag", v); got != want {
				t.Errorf("%s: %s, want %s", v, got, want)
			}
		}
	}
	same()
	if got := r.names("name", "77"); got != "77" {
		t.Errorf("name: %s", got)
	}

	// The indexes that were added are kept like the others.
	for i := range n / 2 {
		r.apply(at(fmt.Sprint(i), "u", "2"), "blue", "0", "x")
	}
	for i := range n / 4 {
		r.delete(at(fmt.Sprint(i*2), "u", "3"))
	}
	same()
	if values, err := r.IndexValues("name"); err != nil || len(values) != r.Len() {
		t.Errorf("%d values of %d names, %v", len(values), r.Len(), err)
	}
}

func TestAddIndexersErrors(t *testing.T) {
	r := newRig(t)
	for name, indexers := range map[string]map[string]store.IndexFunc[*thing]{
		"duplicate":   {"a": tags, "tag": tags},
		"no function": {"a": tags, "b": nil},
		"no name":     {"a": tags, "": tags},
	} {
		if err := r.AddIndexers(indexers); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := r.IndexValues("a"); !errors.Is(err, store.ErrNoIndex) {
			t.Errorf("%s: some were added", name)
		}
	}
	r.must(r.AddIndexers(nil))
}

// TestManyValues has one object under many values, and many objects under a
// value each.
func TestManyValues(t *testing.T) {
	r := newRig(t)
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprint(i%1000))
	}
	r.apply(at("many", "u", "1"), many...)
	for i := range 1000 {
		r.apply(at(fmt.Sprint(i), "u", "1"), fmt.Sprint(i))
	}
	if values, _ := r.IndexValues("tag"); len(values) != 1000 {
		t.Errorf("%d values", len(values))
	}
	for i := range 1000 {
		if got, want := r.names("tag", fmt.Sprint(i)), fmt.Sprint(i, " many"); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	r.delete(at("many", "u", "2"))
	got := map[string]int{}
	for i := range 1000 {
		got[r.names("tag", fmt.Sprint(i))]++
	}
	if len(got) != 1000 || len(slices.Collect(maps.Keys(got))[0]) > 4 {
		t.Errorf("%d", len(got))
	}
}
