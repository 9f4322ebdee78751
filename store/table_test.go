// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"testing"
)

// TestStoreShrinks checks that a store that lost its objects loses the memory
// for them, in the main table, the lists and the indexes.
func TestStoreShrinks(t *testing.T) {
	s, err := New(Config[int]{Indexers: map[string]IndexFunc[int]{
		"all": func(values []string, _ int) ([]string, error) { return append(values, "all"), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 10_000
	meta := func(i int) Meta { return Meta{Key: Key{Name: fmt.Sprint(i)}, UID: "u", Version: "1"} }
	for i := range n {
		if err := s.Apply(t.Context(), meta(i), i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n - 1 {
		if err := s.Delete(t.Context(), meta(i), 0, false); err != nil {
			t.Fatal(err)
		}
	}
	slots := 0
	for i := range s.byKey.stripes {
		for _, b := range s.byKey.stripes[i].keys.dir {
			slots += len(b.tags)
		}
	}
	all := s.indexes[0]
	bucket := all.find(&all.buckets, "all")
	if slots > stripes*minBin || len(s.records.dir) != 1 || len(bucket.records.dir) != 1 || cap(s.records.dir[0].items) > 16 {
		t.Errorf("%d slots, %d pages, %d in the index, the first of %d", slots, len(s.records.dir), len(bucket.records.dir), cap(s.records.dir[0].items))
	}
}
