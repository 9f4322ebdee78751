// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
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
			follow := func(from Resource[*corev1.Pod], failing int) {
				answers := rand.New(rand.NewPCG(round, uint64(failing)))
				events := from.Events(t.Context(), after(time.Second))
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
				case !there[name]:
					r.upsertAs(name, fmt.Sprint("uid-", r.version), color)
				case rng.IntN(3) == 0:
					r.delete(name)
				default:
					r.upsert(name, color)
				}
				_, there[name] = r.view.store.GetMeta(podKey(name))
				if rng.IntN(4) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			follow(r.view, 0)
			follow(Filter[*corev1.Pod](r.view, red), 30)
			r.begin()
			for range 3 * keys {
				change()
			}
			r.commit()
			follow(r.view, 60)
			follow(Filter[*corev1.Pod](r.view, red), 0)
			for range 3 * keys {
				change()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			r.view.hub.mu.Lock()
			defer r.view.hub.mu.Unlock()
			r.view.hub.checkAtRest(t)
		})
	}
}

// checkAtRest checks what is remembered when nobody has anything more to be told.
func (h *hub[T]) checkAtRest(t *testing.T) {
	if len(h.subs) == 0 || len(h.ghosts) != 0 {
		t.Errorf("%d subscribers, %d ghosts", len(h.subs), len(h.ghosts))
	}
	refs := make([]int32, len(h.nodes))
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
			if is == shown {
				refs[id]++
			}
		}
	}
	for id, n := range h.nodes {
		if n.refs != refs[id] {
			t.Errorf("key %d: %d references, want %d", id, n.refs, refs[id])
		}
	}
}
