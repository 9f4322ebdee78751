// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// held is what the tables of a Share take.
func held(s *Share) int {
	return len(s.seen.at)*4 + len(s.texts.at)*stringSize + len(s.vain.at)*2
}

// What a Share takes grows with what it is used for, up to a bound.
func TestShareStartsSmall(t *testing.T) {
	const shares = 10
	for name, fresh := range map[string]func() *Share{"all": NewShare, "texts": NewTexts} {
		kept := make([]*Share, shares)
		took := allocated(func() {
			for i := range kept {
				kept[i] = fresh()
			}
		}) / shares
		if took > 8<<10 {
			t.Errorf("%s: %d bytes at once", name, took)
		}
		d := sharingDecoder(t, kept[0])
		decoded(t, d, makePod(0))
		kept[0].Sweep()
		one := held(kept[0])
		if one > 16<<10 {
			t.Errorf("%s: %d bytes after an object", name, one)
		}
		n := 100_000
		if testing.Short() {
			n /= 4
		}
		pod := new(corev1.Pod)
		for i := range n {
			pod.Name = fmt.Sprint("pod-", i)
			pod.Labels = map[string]string{"name": pod.Name}
			decoded(t, d, pod)
		}
		all := held(kept[0])
		if all > 600<<10 || len(kept[0].texts.at) != textsSize {
			t.Errorf("%s: %d bytes after %d objects, %d texts", name, all, n, len(kept[0].texts.at))
		}
		t.Logf("%s: %d bytes at once, %d after an object, %d after %d", name, took, one, all, n)
		runtime.KeepAlive(kept)
	}
}

// What is there when a table grows is there afterwards.
func TestTableGrows(t *testing.T) {
	const most = 1 << 12
	tab := newTable[uint64](1<<4, most)
	random := rand.New(rand.NewPCG(1, 2))
	for len(tab.at) < most {
		var there []uint64
		for _, hash := range tab.at {
			if hash != 0 && *tab.place(hash) == hash {
				there = append(there, hash)
			}
		}
		size := len(tab.at)
		tab.grow()
		for _, hash := range there {
			if *tab.place(hash) != hash {
				t.Fatalf("%x is gone since there are %d places", hash, len(tab.at))
			}
		}
		for n := 0; len(tab.at) == 2*size && size < most/2; n++ {
			if n > size {
				t.Fatalf("it does not grow by itself, with %d things in %d places", n, len(tab.at))
			}
			hash := random.Uint64()
			tab.put(hash, hash)
			if *tab.place(hash) != hash {
				t.Fatal("it is not there")
			}
		}
	}
	if tab.grow(); len(tab.at) != most {
		t.Errorf("%d places", len(tab.at))
	}
}

// Marks are all known as long as there may be more places, and then most of the last ones.
func TestMarks(t *testing.T) {
	const most = 1 << 12
	m := newMarks(1<<4, most)
	random := rand.New(rand.NewPCG(1, 2))
	var noted []uint32
	lost := func(noted []uint32) (n int) {
		for _, mark := range noted {
			if !slices.Contains(m.at, mark) {
				n++
			}
		}
		return n
	}
	put := func(n int) {
		for range n {
			mark := random.Uint32() | 1
			if m.note(mark) || !m.note(mark) {
				t.Fatal("not noted once")
			}
			noted = append(noted, mark)
		}
	}
	put(most / 4)
	if n := lost(noted); n > len(noted)/100 || len(m.at) != most {
		t.Errorf("%d of %d are lost, with %d places", n, len(noted), len(m.at))
	}
	put(4 * most)
	if n := lost(noted[len(noted)-most/4:]); n > most/4/2 || len(m.at) != most {
		t.Errorf("%d of the last %d are lost, with %d places", n, most/4, len(m.at))
	}
}
