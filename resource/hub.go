// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// hub passes changes of the store from the goroutine of the informer to the
// subscribers. It has the current state of each key, and gives each key a small number,
// its id. So the state of a subscriber is a slice that is indexed by id, not a map.
//
// One mutex guards the hub and the state of its subscribers. It is held for a few steps
// at a time. It is never held during a blocking operation or a call of user code.
type hub[T runtime.Object] struct {
	name      string
	forgotten func(ForgottenDone)
	observe   func(informer.ReflectorEvent) // nil: there is no reflector
	epoch     time.Time

	mu         sync.Mutex
	nodes      []node[T]           // by id; that of syncID is unused
	free       []int32             // unused ids
	tombstones map[store.Key]int32 // ids of deleted keys that are in use
	generation uint64              // of the store, with the last change that arrived here

	subs    []*subscriber[T] // each at the index subscriber.place
	entered uint64           // subscribers, past ones included
	synced  bool             // a pass was committed
	running bool             // between start and stop
	stopped bool
	over    context.Context // ended by stop
	end     context.CancelCauseFunc
	wg      sync.WaitGroup
	counts  EventCounts
	panics  *usercode.Panics
	changed uint32 // time of the last change of any key
}

// syncID is the id of Sync.
const syncID int32 = 0

// node is a key of the collection, or a tombstone: a deleted key that a subscriber still
// has in its state. The store keeps the id as the tag of the record.
type node[T runtime.Object] struct {
	rec  *store.Record[T] // the current or last state; nil: the node is unused
	refs int32            // subscribers that have the key in their state
	gone bool
}

// current returns the state of the key, nil if it is not in the collection.
func (n *node[T]) current() *store.Record[T] {
	if n.gone {
		return nil
	}
	return n.rec
}

func newHub[T runtime.Object](name string, forgotten func(ForgottenDone), log *slog.Logger) *hub[T] {
	over, end := context.WithCancelCause(context.Background())
	return &hub[T]{
		name:       name,
		forgotten:  forgotten,
		panics:     usercode.New(name, log),
		epoch:      time.Now(),
		nodes:      make([]node[T], 1),
		tombstones: map[store.Key]int32{},
		over:       over,
		end:        end,
	}
}

// now returns the milliseconds since the epoch. The number wraps.
func (h *hub[T]) now() uint32 {
	return uint32(time.Since(h.epoch).Milliseconds())
}

// change handles a change of the store. The store makes one call at a time.
func (h *hub[T]) change(c store.Change[T]) {
	now := h.now()
	gone := c.Kind == store.Deleted
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Tag() == 0 {
		c.SetTag(uint32(h.allocID(c.Meta.Key)))
	}
	id := int32(c.Tag())
	n := &h.nodes[id]
	before := n.current()
	n.rec, n.gone = c.Record, gone
	h.changed, h.generation = now, c.Generation
	for _, s := range h.subs {
		s.changed(id, before)
		if s.syncAt != 0 && s.syncAt <= c.Generation {
			s.queueSync(now)
		}
	}
	if gone {
		h.tombstones[c.Meta.Key] = id
		h.releaseID(id)
	}
}

// committed queues Sync for every subscriber, after the first complete pass.
func (h *hub[T]) committed() {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.synced {
		return
	}
	h.synced = true
	for _, s := range h.subs {
		s.queueSync(now)
	}
}

// allocID returns an id for a key that is new to the store.
func (h *hub[T]) allocID(key store.Key) int32 {
	if id, ok := h.tombstones[key]; ok {
		delete(h.tombstones, key)
		return id
	}
	if last := len(h.free) - 1; last >= 0 {
		id := h.free[last]
		h.free = h.free[:last]
		return id
	}
	h.nodes = append(h.nodes, node[T]{})
	return int32(len(h.nodes) - 1)
}

// releaseID frees the id of a tombstone without references.
func (h *hub[T]) releaseID(id int32) {
	n := &h.nodes[id]
	if n.gone && n.refs == 0 {
		delete(h.tombstones, n.rec.Key())
		*n = node[T]{}
		h.free = append(h.free, id)
	}
}

// enter adds a subscriber, and starts it if the hub runs. It returns false if the hub was
// stopped.
//
// visible is the generation of the store when the subscription began. A change that is
// visible in the store may not have arrived at the hub yet. Sync waits for it.
func (h *hub[T]) enter(s *subscriber[T], visible uint64) bool {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	s.entered = true
	h.entered++
	s.id = h.entered
	s.limit = int32(len(h.nodes))
	if h.synced {
		if s.syncAt = visible; h.generation >= visible {
			s.queueSync(now)
		}
	}
	s.place = len(h.subs)
	h.subs = append(h.subs, s)
	s.since = now
	if h.running {
		h.launch(s)
	}
	if s.canceled {
		s.quit()
	}
	return true
}

// launch starts the goroutine of a subscriber. The caller holds the mutex.
func (h *hub[T]) launch(s *subscriber[T]) {
	s.launched = true
	h.wg.Go(s.run)
}

// leave removes a subscriber and its state. The caller holds the mutex, and calls it
// once for each subscriber.
func (h *hub[T]) leave(s *subscriber[T]) {
	last := len(h.subs) - 1
	h.subs[last].place = s.place
	h.subs[s.place], h.subs[last] = h.subs[last], nil
	h.subs = h.subs[:last]
	s.forgetAll()
}

// start launches the existing subscribers.
func (h *hub[T]) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = true
	for _, s := range h.subs {
		if !s.ending {
			h.launch(s)
		}
	}
}

// stop ends all subscribers. h.wg waits for their goroutines.
func (h *hub[T]) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	h.stopped, h.running = true, false
	h.end(ErrStopped)
	for _, s := range h.subs {
		s.quit()
	}
}

// unlocked calls f, which can call user code, without the mutex. The caller holds the
// mutex before and after.
func (h *hub[T]) unlocked(f func()) {
	h.mu.Unlock()
	defer h.mu.Lock()
	f()
}

// busy describes the user functions of subscribers that have not returned within
// stopGrace. It is called stopGrace after the stop or later. After the stop, only
// complete is called, so a call of it counts from its own start.
func (h *hub[T]) busy() (calls []string) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		if s.calls != "" && now-s.finishing >= uint32(stopGrace.Milliseconds()) {
			calls = append(calls, "the "+s.calls+" subscribed at "+s.site)
		}
	}
	return calls
}
