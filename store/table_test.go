// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestTable compares the table with a map.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newTable[int]()
		model := map[Key]*Record[int]{}
		anyKey := rapid.Custom(func(t *rapid.T) Key {
			return Key{Name: fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "name"))}
		})
		set := func(t *rapid.T, key Key) {
			rec := &Record[int]{key: key}
			pos, held, hash := table.find(key)
			if held != model[key] {
				t.Fatalf("found %v, want %v", held, model[key])
			}
			if held != nil {
				table.slots[pos].rec = rec
			} else {
				if slots := table.resized(1); slots != nil {
					table.slots = slots
				}
				table.add(hash, rec)
			}
			model[key] = rec
		}
		remove := func(t *rapid.T, key Key) {
			if slots := table.resized(-1); slots != nil {
				table.slots = slots
			}
			if pos, held, _ := table.find(key); held != nil {
				table.remove(pos)
			}
			delete(model, key)
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if table.n != len(model) {
					t.Fatalf("%d records, want %d", table.n, len(model))
				}
				for i := range 201 {
					key := Key{Name: fmt.Sprint(i)}
					if _, rec, _ := table.find(key); rec != model[key] {
						t.Fatalf("found %v, want %v", rec, model[key])
					}
				}
				if size := len(table.slots); table.n > size/4*3 || size > max(minSlots, 16*(table.n+1)) {
					t.Fatalf("%d slots for %d records", size, table.n)
				}
			},
			"set":    func(t *rapid.T) { set(t, anyKey.Draw(t, "key")) },
			"remove": func(t *rapid.T) { remove(t, anyKey.Draw(t, "key")) },
			"set many": func(t *rapid.T) {
				for i := range rapid.IntRange(0, 200).Draw(t, "n") {
					set(t, Key{Name: fmt.Sprint(i)})
				}
			},
			"remove many": func(t *rapid.T) {
				for i := range rapid.IntRange(0, 200).Draw(t, "n") {
					remove(t, Key{Name: fmt.Sprint(i)})
				}
			},
		})
	})
}

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
	bucket := s.byName["all"].buckets["all"]
	if len(s.byKey.slots) > 16 || len(s.records.dir) != 1 || len(bucket.records.dir) != 1 || cap(s.records.dir[0].items) > 16 {
		t.Errorf("%d slots, %d pages, %d in the index, the first of %d", len(s.byKey.slots), len(s.records.dir), len(bucket.records.dir), cap(s.records.dir[0].items))
	}
}
