// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// replay has the keys that existed when a subscriber came. One of ids and records is used.
type replay[T runtime.Object] struct {
	next, end int32 // ids, of a subscriber to the whole collection

	records store.Records[T] // of a subscriber to one value of an index
	read    int              // how many of them were pulled

	queued int // keys in the lane that were pulled, and did not change since
}

// left returns the number of keys that were not pulled.
func (r *replay[T]) left() int {
	return int(r.end-r.next) + r.records.Len() - r.read
}

// mayHave returns true if the key may be among those that were not pulled.
func (r *replay[T]) mayHave(id int32) bool {
	return id >= r.next && id < r.end || r.read < r.records.Len()
}

// pulled and scanned bound the keys that pull queues and looks at in one call.
const (
	pulled  = 32
	scanned = 1024
)

// pull queues some keys of the replay in front of the lane. A key that has changed since
// the subscriber came is queued already, or was emitted. The caller holds the mutex of the
// subscriber, which is unlocked meanwhile.
func (s *subscriber[T]) pull() {
	h := s.hub
	s.unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	if s.ending {
		return
	}
	var found [pulled]*slot[T]
	n := 0
	r := &s.replay
	for looked := 0; n < pulled && looked < scanned && r.left() > 0; looked++ {
		id, cur := r.pop(h)
		if cur == nil || s.slots.of(id) != nil || s.shown.has(id) {
			continue
		}
		found[n] = s.slots.take(id)
		found[n].cur = cur
		n++
	}
	for i := n - 1; i >= 0; i-- {
		sl := found[i]
		sl.flags |= isQueued | isReplayed
		sl.since = s.since
		sl.lane = laneInitial
		s.pushFront(&s.lanes[laneInitial], sl)
	}
	r.queued += n
	if r.left() == 0 {
		*r = replay[T]{queued: r.queued}
	}
}

// pop returns the next key and its current state. The state is nil if the key is gone, and
// if its record is not the current one: a change on its way to the hub, or past it, brings
// the key. The caller holds the mutex of the hub.
func (r *replay[T]) pop(h *hub[T]) (id int32, cur *store.Record[T]) {
	if r.next < r.end {
		r.next++
		return r.next - 1, h.nodes[r.next-1].current()
	}
	rec := r.records.At(r.read)
	r.read++
	id = int32(rec.Tag())
	if h.nodes[id].current() != rec {
		return id, nil
	}
	return id, rec
}
