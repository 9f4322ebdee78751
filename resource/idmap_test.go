// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"testing"

	"pgregory.net/rapid"
)

// An idMap is a map, and an idSet a set, whatever their size. An empty one is small again.
func TestIDMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m idMap
		var s idSet
		want := map[int32]int32{}
		ids := rapid.SampledFrom([]int32{10, 100, 5000, 1 << 30}).Draw(t, "ids")
		step := max(1, ids/5000)
		draw := func(t *rapid.T) int32 { return step * rapid.Int32Range(0, ids/step-1).Draw(t, "id") }
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "n") {
					if id := draw(t); want[id] == 0 {
						want[id] = id + 1
						m.put(id, id+1)
						if ids <= 5000 {
							s.add(id, int(ids))
						}
					}
				}
			},
			"remove": func(t *rapid.T) {
				if id := draw(t); want[id] == 0 {
					m.remove(id)
					s.remove(id)
				}
				n := rapid.IntRange(1, 200).Draw(t, "n")
				for id := range want {
					if n--; n < 0 {
						break
					}
					delete(want, id)
					m.remove(id)
					s.remove(id)
				}
			},
			"": func(t *rapid.T) {
				if m.len != len(want) || len(m.entries) > max(64, 16*len(want)) {
					t.Fatalf("%d of %d entries, want %d", m.len, len(m.entries), len(want))
				}
				check := func(id int32) {
					if got := m.get(id); got != want[id] {
						t.Fatalf("%d has %d, want %d", id, got, want[id])
					}
					if ids <= 5000 && s.has(id) != (want[id] != 0) {
						t.Fatalf("%d is in the set: %t", id, s.has(id))
					}
				}
				for id := range want {
					check(id)
				}
				for range 100 {
					check(draw(t))
				}
			},
		})
	})
}
