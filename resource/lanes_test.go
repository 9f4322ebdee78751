// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
)

// The first key of each lane is emitted within eight events, and a changed one within two,
// whatever else is queued. Nothing is queued twice, and Sync comes after the replay.
func TestLanesAreBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			r := startRig(t)
			for i := range rapid.IntRange(0, 40).Draw(rt, "existing") {
				if i == 0 {
					r.begin()
				}
				r.upsert(fmt.Sprint("old-", i))
			}
			if r.epoch > 0 {
				r.commit()
			} else {
				r.sync()
			}
			events := r.view.Events(t.Context(), WithRateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](time.Millisecond, time.Millisecond)))
			synctest.Wait()
			s := r.view.hub.subs[0]
			s.mu.Lock()
			replayed := map[store.Key]bool{} // still to be emitted before Sync
			for key := range r.view.store.All() {
				replayed[key] = true
			}
			s.mu.Unlock()
			// waited is how many events were emitted since the key at the head of a lane
			// got there.
			var head [lanes]store.Key
			var waited [lanes]int
			for range 60 {
				for range rapid.IntRange(0, 3).Draw(rt, "changes") {
					name := fmt.Sprintf("%s-%d", rapid.SampledFrom([]string{"old", "new"}).Draw(rt, "kind"), rapid.IntRange(0, 40).Draw(rt, "key"))
					if rapid.Bool().Draw(rt, "in a pass") {
						r.begin()
						r.upsert(name)
						for key := range r.view.store.All() {
							r.must(r.sink.Keep(t.Context(), store.Meta{Key: key}))
						}
						r.commit()
					} else {
						r.upsert(name)
					}
				}
				if rapid.Bool().Draw(rt, "wait") {
					time.Sleep(2 * time.Millisecond) // what is retried is due
				}
				synctest.Wait()
				var e podEvent
				select {
				case e = <-events:
				default:
					continue
				}
				if delete(replayed, e.Key); e.Kind == Sync && len(replayed) > 0 {
					rt.Fatalf("Sync, and %d keys of the replay were not emitted", len(replayed))
				}
				synctest.Wait() // the next event was built
				heads := headsOf(s)
				for l, now := range heads {
					if e.Kind != Sync { // which has no turn
						waited[l]++
					}
					if now != head[l] || now == (store.Key{}) || now == e.Key {
						head[l], waited[l] = now, 0
					}
					bound := 8
					if lane(l) == laneFresh {
						bound = 2
					}
					if waited[l] > bound {
						rt.Fatalf("the first key of lane %d waits for %d events", l, waited[l])
					}
				}
				if rapid.IntRange(0, 3).Draw(rt, "fails") == 0 && e.Kind != Sync {
					e.Done(errTest)
				} else {
					e.Done(nil)
				}
			}
		})
	})
}

// headsOf returns the first key of each lane, the zero Key if there is none or it is Sync.
// That of the last lane counts only after Sync: the replay, and keys that Sync waits for, come
// before the others.
func headsOf(s *subscriber[*corev1.Pod]) (heads [lanes]store.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range heads {
		if sl := s.first(&s.lanes[l]); sl != nil && sl.cur != nil && (lane(l) != laneInitial || s.synced) {
			heads[l] = sl.cur.Key()
		}
	}
	return heads
}

// A change is seen while a large replay goes on, and the replay while changes never end.
func TestFreshFirst(t *testing.T) {
	for order, want := range map[Order][2]int{FreshFirst: {1, 8 * 1000}, ReplayFirst: {1000, 1001}} {
		bubble(t, func(t *testing.T) {
			r := startRig(t)
			r.begin()
			for i := range 1000 {
				r.upsert(fmt.Sprint("pod-", i))
			}
			r.commit()
			events := r.view.Events(t.Context(), WithOrder(order))
			take(t, events).Done(nil)
			synctest.Wait() // the second one is offered
			r.upsert("fresh")
			fresh, all, replayed := 0, 0, 0
			for e := range events {
				e.Done(nil)
				if e.Kind == Sync {
					break
				}
				switch all++; e.Key.Name {
				case "fresh":
					if fresh == 0 {
						fresh = all
					}
					r.upsert("busy") // one is always there
				case "busy":
					r.upsert("fresh")
				default:
					replayed++
				}
			}
			if order == ReplayFirst {
				if fresh != 0 || replayed != 999 {
					t.Errorf("in the order of arrival, the change is event %d, after %d of the replay", fresh, replayed)
				}
				return
			}
			if fresh > want[0]+1 || all > want[1] || replayed != 999 {
				t.Errorf("the change is event %d, Sync event %d, %d are of the replay", fresh, all, replayed)
			}
		})
	}
}

// A key that is retried without end does not delay others, nor they it.
func TestRetriesHaveTheirTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.sync("bad")
		events := r.view.Events(t.Context(), WithRateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](time.Nanosecond, time.Nanosecond)))
		take(t, events).Done(errTest)
		for i := range 20 {
			r.upsert(fmt.Sprint("good-", i))
		}
		time.Sleep(time.Second)
		bad, good := 0, 0
		for good < 20 {
			e := take(t, events)
			switch {
			case e.Kind == Sync:
				e.Done(nil)
			case e.Key.Name == "bad":
				bad++
				e.Done(errTest)
				time.Sleep(time.Millisecond)
			default:
				good++
				e.Done(nil)
			}
		}
		if bad < 2 || bad > 5 {
			t.Errorf("%d retries in 20 other events", bad)
		}
		for range 10 {
			if e := take(t, events); e.Key.Name == "bad" {
				e.Done(errTest)
			}
			time.Sleep(time.Millisecond)
		}
	})
}
