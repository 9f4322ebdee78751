// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestCow compares the list with a slice, and every snapshot that was ever
// taken with what the list had then.
func TestCow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c cow[int]
		var model []int
		type taken struct {
			snap cow[int]
			want []int
		}
		var snaps []taken
		next, epoch := 0, uint64(0)
		bulk := rapid.SampledFrom([]int{1, 7, pageLen - 1, pageLen, 3 * pageLen})
		position := func(t *rapid.T) uint32 {
			if len(model) == 0 {
				t.Skip("empty")
			}
			return uint32(rapid.IntRange(0, len(model)-1).Draw(t, "position"))
		}
		remove := func(pos uint32) {
			last := len(model) - 1
			moved, ok := c.remove(epoch, pos)
			if ok != (int(pos) != last) || ok && moved != model[last] {
				t.Fatalf("remove(%d) of %d: %d, %t", pos, len(model), moved, ok)
			}
			model[pos] = model[last]
			model = model[:last]
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got := slices.Collect(c.all()); !slices.Equal(got, model) || c.len() != len(model) {
					t.Fatalf("got %v of length %d, want %v", got, c.len(), model)
				}
			},
			"add": func(t *rapid.T) {
				for range bulk.Draw(t, "n") {
					next++
					if pos := c.add(epoch, next); int(pos) != len(model) {
						t.Fatalf("added at %d, want %d", pos, len(model))
					}
					model = append(model, next)
				}
			},
			"set": func(t *rapid.T) {
				next++
				pos := position(t)
				c.set(epoch, pos, next)
				model[pos] = next
			},
			"remove": func(t *rapid.T) { remove(position(t)) },
			"remove many": func(t *rapid.T) {
				for range bulk.Draw(t, "n") {
					remove(position(t))
				}
			},
			"snapshot": func(t *rapid.T) {
				snaps = append(snaps, taken{c, slices.Clone(model)})
				epoch++
			},
		})
		for _, s := range snaps {
			if got := slices.Collect(s.snap.all()); !slices.Equal(got, s.want) || s.snap.len() != len(s.want) {
				t.Fatalf("a snapshot changed: got %v of length %d, want %v", got, s.snap.len(), s.want)
			}
		}
	})
}

// TestCowSmall checks that a short list has no long array, also once it was
// longer.
func TestCowSmall(t *testing.T) {
	var c cow[int]
	for i := range pageLen {
		c.add(0, i)
		if n := len(c.dir[0].items); cap(c.dir[0].items) > 2*n {
			t.Fatalf("%d elements in an array of %d", n, cap(c.dir[0].items))
		}
	}
	for c.len() > 1 {
		c.remove(0, 0)
		if n := len(c.dir[0].items); cap(c.dir[0].items) > max(16, 4*n) {
			t.Fatalf("%d elements in an array of %d", n, cap(c.dir[0].items))
		}
	}
	c.remove(0, 0)
	if len(c.dir) != 0 {
		t.Fatal("an empty list has a page")
	}
}

// TestCowForgets checks that what was removed is not kept alive by the list.
func TestCowForgets(t *testing.T) {
	var c cow[*int]
	for i := range pageLen + 1 {
		c.add(0, &i)
	}
	for range pageLen {
		c.remove(0, 0)
	}
	for i, e := range c.dir[0].items[:cap(c.dir[0].items)][c.len():] {
		if e != nil {
			t.Errorf("element %d behind the end", i)
		}
	}
	if behind := c.dir[:cap(c.dir)][len(c.dir):]; len(behind) == 0 || behind[0] != nil {
		t.Error("a page behind the end")
	}
}
