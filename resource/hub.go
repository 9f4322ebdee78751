// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// hub stands between the one writer, the goroutine of the informer, and the
// subscribers. It knows the current state of each key and gives each key a small
// number, so that what a subscriber must remember of a key is an element of a
// slice and not of a map.
//
// One mutex guards the hub and all that belongs to its subscribers. It is held
// for some steps at a time, never while anything blocks, and never while user code
// runs.
type hub[T runtime.Object] struct {
	name      string
	forgotten func(ForgottenDone)
	epoch     time.Time

	mu         sync.Mutex
	nodes      []node[T]           // by id; that of syncID is nobody's
	free       []int32             // ids that are nobody's
	ghosts     map[store.Key]int32 // ids of what is gone
	generation uint64              // of the store, with the last change that came here

	subs    []*subscriber[T] // each at its place
	synced  bool             // a pass was committed
	running bool             // between start and stop
	stopped bool
	over    context.Context // ended by stop
	end     context.CancelCauseFunc
	wg      sync.WaitGroup
	counts  EventCounts
	panics  *usercode.Panics
	changed uint32 // when something last changed
}

// syncID is the id that Sync has among the keys.
const syncID int32 = 0

// node is a key that is in the collection, or a ghost: one that is not, but that a
// subscriber remembers. The store keeps the id with the record.
type node[T runtime.Object] struct {
	rec  *store.Record[T] // the current state, or the last one; nil: nobody's
	refs int32            // subscribers that remember it
	gone bool
}

// current is the state of the key in the collection, nil if it is not there.
func (n *node[T]) current() *store.Record[T] {
	if n.gone {
		return nil
	}
	return n.rec
}

func newHub[T runtime.Object](name string, forgotten func(ForgottenDone), log *slog.Logger) *hub[T] {
	over, end := context.WithCancelCause(context.Background())
	return &hub[T]{
		name:      name,
		forgotten: forgotten,
		panics:    usercode.New(name, log),
		epoch:     time.Now(),
		nodes:     make([]node[T], 1),
		ghosts:    map[store.Key]int32{},
		over:      over,
		end:       end,
	}
}

// now is the time as subscribers keep it: milliseconds, in a number that wraps.
func (h *hub[T]) now() uint32 {
	return uint32(time.Since(h.epoch).Milliseconds())
}

// change takes a change of the store. The store makes one call at a time.
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
		if s.joins != 0 && s.joins <= c.Generation {
			s.synced(now)
		}
	}
	if gone {
		h.ghosts[c.Meta.Key] = id
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
		s.synced(now)
	}
}

// allocID returns an id for a key that is new to the store.
func (h *hub[T]) allocID(key store.Key) int32 {
	if id, ok := h.ghosts[key]; ok {
		delete(h.ghosts, key)
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

// releaseID forgets a ghost that no subscriber remembers.
func (h *hub[T]) releaseID(id int32) {
	n := &h.nodes[id]
	if n.gone && n.refs == 0 {
		delete(h.ghosts, n.rec.Key())
		*n = node[T]{}
		h.free = append(h.free, id)
	}
}

// enter adds a subscriber, and starts it if the hub runs. It reports false if
// the hub was stopped.
//
// visible is the generation of the store when the subscription began. A change
// that is visible in the store may not have come to the hub yet. Sync waits for it.
func (h *hub[T]) enter(s *subscriber[T], visible uint64) bool {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	s.entered = true
	s.limit = int32(len(h.nodes))
	if h.synced {
		if s.joins = visible; h.generation >= visible {
			s.synced(now)
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

// leave removes a subscriber and what it remembers. The caller holds the mutex,
// and calls it once for each subscriber.
func (h *hub[T]) leave(s *subscriber[T]) {
	last := len(h.subs) - 1
	h.subs[last].place = s.place
	h.subs[s.place], h.subs[last] = h.subs[last], nil
	h.subs = h.subs[:last]
	s.forgetAll()
}

// start launches the subscribers that are there.
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

// stop ends all subscribers. h.wg waits for what is left of them.
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

// unlocked calls f, which is or may call user code, without the mutex. The caller
// holds the mutex before and after.
func (h *hub[T]) unlocked(f func()) {
	h.mu.Unlock()
	defer h.mu.Lock()
	f()
}

// busy describes the functions of subscribers that have not returned for stopGrace
// since the stop, after which none is called except complete.
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
