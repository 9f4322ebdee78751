// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// Slots are handed out once, zero, do not move, and leave no memory behind.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slots[*corev1.Pod]
		used := map[int32]*slot[*corev1.Pod]{} // by id
		most := 0
		give := func(id int32) {
			s.give(used[id])
			delete(used, id)
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 3*blockSize).Draw(t, "slots") {
					id := int32(0)
					for used[id] != nil {
						id++
					}
					if s.of(id) != nil {
						t.Fatalf("%d has a slot", id)
					}
					sl := s.take(id)
					if *sl != (slot[*corev1.Pod]{id: id, number: sl.number}) || sl.number <= 0 || sl.since != 0 {
						t.Fatalf("took %+v", *sl)
					}
					sl.since = uint32(id) + 1
					used[id] = sl
				}
				most = max(most, len(used))
			},
			"give": func(t *rapid.T) {
				odd := rapid.IntRange(1, 5).Draw(t, "one in")
				for id := range used {
					if int(id)%odd == 0 {
						give(id)
					}
				}
			},
			"": func(t *rapid.T) {
				for id, sl := range used {
					if s.of(id) != sl || s.at(sl.number) != sl || sl.since != uint32(id)+1 {
						t.Fatalf("the slot of %d is %p, was %p, since %d", id, s.of(id), sl, sl.since)
					}
				}
				if highest := len(s.blocks) * blockSize; highest >= most+blockSize {
					t.Fatalf("numbers up to %d, though no more than %d were in use", highest, most)
				}
			},
		})
		for id := range used {
			give(id)
		}
		if len(s.blocks) != 0 || cap(s.blocks) > blockSize {
			t.Fatalf("nothing is in use, of %d (%d) blocks", len(s.blocks), cap(s.blocks))
		}
	})
}

// What a subscriber keeps of keys that it has nothing more to be told of is a mark for
// each, whatever happened before: changes while a key waits, is outstanding, failed, or
// is yet to be replayed, filters that change their minds, and keys that come again.
func TestKeysAtRest(t *testing.T) {
	const keys = 150 // more than two blocks
	for round := range uint64(20) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(round, 0))
			r := startRig(t)
			color := func(p *corev1.Pod) { p.Labels = map[string]string{"color": []string{"red", "blue"}[rng.IntN(2)]} }
			red := func(p *corev1.Pod) bool { return p.Labels["color"] == "red" }
			follow := func(ctx context.Context, from Resource[*corev1.Pod], failing int) {
				answers := rand.New(rand.NewPCG(round, uint64(failing)))
				events := from.Events(ctx, after(time.Second))
				go func() {
					for e := range events {
						if answers.IntN(100) < failing {
							go func() { time.Sleep(time.Millisecond); e.Done(errTest) }()
						} else {
							e.Done(nil)
						}
					}
				}()
			}
			there := map[string]bool{}
			change := func() {
				name := fmt.Sprint("pod-", rng.IntN(keys))
				switch {
				case !there[name] || rng.IntN(4) == 0:
					r.upsertAs(name, fmt.Sprint("uid-", r.version), color)
				case rng.IntN(3) == 0:
					r.delete(name)
				default:
					held, _ := r.view.store.GetMeta(podKey(name))
					r.upsertAs(name, string(held.UID), color)
				}
				_, there[name] = r.view.store.GetMeta(podKey(name))
				if rng.IntN(4) == 0 {
					time.Sleep(time.Millisecond)
				}
				r.view.hub.mu.Lock()
				defer r.view.hub.mu.Unlock()
				r.view.hub.checkSlots(t)
			}
			brief, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			follow(t.Context(), r.view, 0)
			follow(brief, r.view, 50)
			follow(t.Context(), Filter[*corev1.Pod](r.view, red), 30)
			r.begin()
			for range 3 * keys {
				change()
			}
			r.commit()
			follow(t.Context(), r.view, 60)
			follow(t.Context(), Filter[*corev1.Pod](r.view, red), 0)
			for range 3 * keys {
				change()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			r.view.hub.mu.Lock()
			defer r.view.hub.mu.Unlock()
			r.view.hub.checkSlots(t)
			r.view.hub.checkAtRest(t)
		})
	}
}

// checkAtRest checks what is remembered when nobody has anything more to be told.
func (h *hub[T]) checkAtRest(t *testing.T) {
	if len(h.subs) != 4 || len(h.tombstones) != 0 {
		t.Errorf("%d subscribers, %d tombstones", len(h.subs), len(h.tombstones))
	}
	for _, n := range h.nodes {
		if n.refs != 0 {
			t.Errorf("%d references to an id", n.refs)
		}
	}
	for _, s := range h.subs {
		if s.slots.byID.len != 0 || len(s.slots.blocks) != 0 {
			t.Errorf("%d slots are in use, of %d blocks", s.slots.byID.len, len(s.slots.blocks))
		}
		for id, n := range h.nodes {
			cur := n.current()
			want := cur != nil && (s.view.keep == nil || s.view.keep(cur.Object()))
			if is := s.shown.has(int32(id)); is != want {
				t.Errorf("key %d is shown: %t, want %t", id, is, want)
			}
		}
	}
}

// checkSlots checks what is so at any time. A subscriber that releases an id counts for
// another moment.
func (h *hub[T]) checkSlots(t *testing.T) {
	refs := make([]int32, len(h.nodes))
	for _, s := range h.subs {
		s.mu.Lock()
		defer s.mu.Unlock()
		used := 0
		for id := range h.nodes {
			cur, sl, shown := h.nodes[id].current(), s.slots.of(int32(id)), s.shown.has(int32(id))
			switch {
			case sl != nil:
				used++
				if sl.flags&holdsID != 0 {
					refs[id]++
				}
				if flags := sl.flags; flags&(isQueued|isIssued|isDelayed) == 0 || flags&isQueued != 0 && flags&isIssued != 0 {
					t.Errorf("key %d: a slot with flags %b", id, flags)
				}
				if sl.cur != cur || int32(id) != syncID && (cur == nil) != (sl.flags&holdsID != 0) {
					t.Errorf("key %d: the slot has another state, flags %b", id, sl.flags)
				}
				if shown {
					t.Errorf("key %d has a slot, and is shown", id)
				}
			case shown && cur == nil:
				t.Errorf("key %d is gone, and is shown", id)
			}
		}
		for _, free := range s.slots.free {
			used -= bits.OnesCount8(^free)
		}
		if used != 0 {
			t.Errorf("%d more keys than slots in use", used)
		}
	}
	free := map[int32]int{}
	for _, id := range h.free {
		free[id]++
	}
	for id, n := range h.nodes {
		if n.refs < refs[id] || n.gone && n.refs == 0 {
			t.Errorf("key %d: %d references, want %d; gone %t", id, n.refs, refs[id], n.gone)
		}
		if n.gone && h.tombstones[n.rec.Key()] != int32(id) {
			t.Errorf("key %d is gone, and has no tombstone", id)
		}
		if want := map[bool]int{true: 1}[n.rec == nil]; int32(id) != syncID && free[int32(id)] != want {
			t.Errorf("key %d is free %d times, want %d", id, free[int32(id)], want)
		}
	}
}
