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
		used := map[mark]*slot[*corev1.Pod]{}
		most := 0
		give := func(m mark) {
			s.give(m)
			delete(used, m)
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 3*blockSize).Draw(t, "slots") {
					m, sl := s.take()
					if m <= 0 || used[m] != nil || *sl != (slot[*corev1.Pod]{}) {
						t.Fatalf("took number %d, in use: %t, %+v", m, used[m] != nil, *sl)
					}
					sl.since = uint32(m)
					used[m] = sl
				}
				most = max(most, len(used))
			},
			"give": func(t *rapid.T) {
				odd := rapid.IntRange(1, 5).Draw(t, "one in")
				for m := range used {
					if int(m)%odd == 0 {
						give(m)
					}
				}
			},
			"": func(t *rapid.T) {
				for m, sl := range used {
					if s.at(m) != sl || sl.since != uint32(m) {
						t.Fatalf("number %d is %p, was %p, since %d", m, s.at(m), sl, sl.since)
					}
				}
				if highest := len(s.blocks) * blockSize; highest >= most+blockSize {
					t.Fatalf("numbers up to %d, though no more than %d were in use", highest, most)
				}
			},
		})
		for m := range used {
			give(m)
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
	for _, s := range h.subs {
		if len(s.slots.blocks) != 0 {
			t.Errorf("slots are in use, of %d blocks", len(s.slots.blocks))
		}
		for id, n := range h.nodes {
			want, is := unseen, unseen
			switch cur := n.current(); {
			case cur == nil:
			case s.keep == nil || s.keep(cur.Object()):
				want = shown
			default:
				want = hidden
			}
			if id < len(s.marks) {
				is = s.marks[id]
			}
			if is != want {
				t.Errorf("key %d: mark %d, want %d", id, is, want)
			}
		}
	}
}

// checkSlots checks what is so at any time.
func (h *hub[T]) checkSlots(t *testing.T) {
	refs := make([]int32, len(h.nodes))
	for _, s := range h.subs {
		used := 0
		for id, m := range s.marks {
			gone := h.nodes[id].current() == nil
			switch {
			case m > 0:
				used++
				refs[id]++
				if flags := s.slots.at(m).flags; flags&(isQueued|isIssued|isDelayed) == 0 || flags&isQueued != 0 && flags&isIssued != 0 {
					t.Errorf("key %d: a slot with flags %b", id, flags)
				}
			case m == shown:
				refs[id]++
			}
			if (m == shown || m == hidden) && gone {
				t.Errorf("key %d is gone, its mark is %d", id, m)
			}
			if id := int32(id); id != syncID && id >= s.cursor && id < s.limit && m != unseen {
				t.Errorf("key %d is yet to be replayed, its mark is %d", id, m)
			}
		}
		for _, b := range s.slots.blocks {
			if b != nil {
				used -= bits.OnesCount64(^b.free)
			}
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
		if n.refs != refs[id] || n.gone && n.refs == 0 {
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
