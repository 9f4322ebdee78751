// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// What is changed while the functions of new indexes are called is in the indexes as
// it is in the store, whether somebody gets the changes or not.
func TestAddIndexersMeanwhile(t *testing.T) {
	for name, onChange := range map[string]func(store.Change[*thing]){"observed": func(store.Change[*thing]) {}, "not observed": nil} {
		t.Run(name, func(t *testing.T) { testAddIndexersMeanwhile(t, onChange) })
	}
}

func testAddIndexersMeanwhile(t *testing.T, onChange func(store.Change[*thing])) {
	var failed []string
	s, err := store.New(store.Config[*thing]{OnChange: onChange, OnIndexError: func(err error) {
		var e *store.IndexError
		errors.As(err, &e)
		failed = append(failed, e.Meta.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Store: s, t: t}
	for _, name := range []string{"a", "b", "c", "d"} {
		r.apply(at(name, "u", "1"), "before")
	}
	apply := func(name, version string, trouble trouble) {
		obj := &thing{Meta: at(name, "u", version), Tags: []string{"since"}, Trouble: trouble}
		r.must(r.Apply(ctx, obj.Meta, obj))
	}
	apply("mended", "1", errs)
	var once sync.Once
	x, err := r.AddIndex("late", func(values []string, obj *thing) ([]string, error) {
		once.Do(func() {
			done := make(chan struct{})
			go func() { // the source goes on
				defer close(done)
				r.delete(at("a", "u", "2"))
				apply("b", "2", none)
				apply("c", "2", errs)
				apply("mended", "2", none)
				apply("e", "2", none)
			}()
			<-done
		})
		return tags(values, obj)
	})
	r.must(err)
	if before, since := r.names("late", "before"), r.names("late", "since"); before != "d" || since != "b e mended" {
		t.Errorf("before %q, since %q; want d, b e mended", before, since)
	}
	if !slices.Equal(failed, []string{"ns/c@2"}) {
		t.Errorf("reported: %q", failed)
	}
	for _, name := range []string{"b", "c", "d", "e", "mended"} {
		r.delete(at(name, "u", "3"))
	}
	if values := x.Values(); len(values) != 0 {
		t.Errorf("values of nothing: %q", values)
	}
}
