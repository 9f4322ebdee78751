// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestDirectory compares the directory with a map, and every old state that was
// kept with what it had then. Bad hashes have bins that cannot be split.
func TestDirectory(t *testing.T) {
	for name, test := range map[string]struct {
		hash     func(int) uint64
		elements int
	}{
		"good":         {func(n int) uint64 { return uint64(n) * 0x9E3779B97F4A7C15 }, 1000},
		"same tag":     {func(n int) uint64 { return uint64(n) * 0x9E3779B97F4A7C15 &^ (0xff << 24) }, 300},
		"three hashes": {func(n int) uint64 { return uint64(n%3) << 60 }, 300},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { testDirectory(t, test.hash, test.elements) })
		})
	}
}

type element struct{ number int }

func testDirectory(t *rapid.T, hash func(int) uint64, elements int) {
	hashOf := func(e *element) uint64 { return hash(e.number) }
	find := func(d *directory[element], number int) *element {
		b := d.bin(hash(number))
		if b == nil {
			return nil
		}
		for slot := b.home(tagOf(hash(number))); b.tags[slot] != 0; slot = b.next(slot) {
			if e := b.elems[slot]; e.number == number {
				return e
			}
		}
		return nil
	}
	var d directory[element]
	epoch := uint64(1)
	model := map[int]*element{}
	type taken struct {
		then directory[element]
		want map[int]*element
	}
	var kept []taken
	check := func(d *directory[element], want map[int]*element) {
		got := map[int]*element{}
		for e := range d.all() {
			if got[e.number] != nil {
				t.Fatalf("%d is there twice", e.number)
			}
			got[e.number] = e
		}
		if !maps.Equal(got, want) || int(d.n) != len(want) {
			t.Fatalf("%d elements, counted as %d, want %d", len(got), d.n, len(want))
		}
		for number, e := range want {
			if find(d, number) != e {
				t.Fatalf("%d is not found", number)
			}
		}
	}
	set := func(number int) {
		e := &element{number}
		if old := model[number]; old != nil {
			d.replace(epoch, hash(number), old, e)
		} else {
			d.add(epoch, hash(number), e, hashOf)
		}
		model[number] = e
	}
	remove := func(number int) {
		if e := model[number]; e != nil {
			d.remove(epoch, hash(number), e, hashOf)
			delete(model, number)
		}
	}
	anyNumber := rapid.IntRange(0, elements-1)
	t.Repeat(map[string]func(*rapid.T){
		"":       func(*rapid.T) { check(&d, model) },
		"set":    func(t *rapid.T) { set(anyNumber.Draw(t, "number")) },
		"remove": func(t *rapid.T) { remove(anyNumber.Draw(t, "number")) },
		"set many": func(t *rapid.T) {
			for i := range anyNumber.Draw(t, "n") {
				set(i)
			}
		},
		"remove many": func(t *rapid.T) {
			for i := range anyNumber.Draw(t, "n") {
				remove(i)
			}
			slots := 0
			for _, b := range d.dir {
				slots += len(b.tags) >> (d.depth() - int(b.depth))
			}
			if slots > max(minBin, 16*len(model)) {
				t.Fatalf("%d slots for %d elements", slots, len(model))
			}
		},
		"keep": func(*rapid.T) {
			kept = append(kept, taken{d, maps.Clone(model)})
			epoch++
		},
	})
	for _, k := range kept {
		check(&k.then, k.want)
	}
}

// A bin that became large while to split it was no use is split later on.
func TestDirectorySplitsLargeBin(t *testing.T) {
	var d directory[element]
	hashOf := func(e *element) uint64 { return uint64(e.number) }
	add := func(hash uint64) {
		e := &element{int(hash)}
		d.add(1, hash, e, hashOf)
	}
	const same, others = 1 << 62, 1 << 48
	for range 112 {
		add(same)
	}
	for i := range uint64(2000) {
		add(i * others % same)
	}
	for range 112 {
		add(same)
	}
	n := 0
	for range d.all() {
		n++
	}
	if n != 2224 || d.n != 2224 {
		t.Errorf("%d elements, counted as %d", n, d.n)
	}
}
