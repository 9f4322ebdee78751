// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// hub passes changes of the store from the goroutine of the informer to the subscribers
// that they concern. It has the current state of each key, and gives each key a small
// number, its id.
//
// Its mutex guards the hub. Each subscriber has a mutex of its own for its keys, so that
// subscribers do not wait for each other. No mutex is held during a blocking operation or
// a call of user code.
type hub[T runtime.Object] struct {
	name      string
	forgotten func(ForgottenDone)
	observe   func(informer.ReflectorEvent) // nil: there is no reflector
	store     *store.Store[T]
	epoch     time.Time
	over      context.Context // ended by stop
	end       context.CancelCauseFunc
	wg        sync.WaitGroup
	panics    *usercode.Panics
	parking   parking[T]
	size      atomic.Int32 // len(nodes), for subscribers

	mu         sync.Mutex
	nodes      []node[T]           // by id; that of syncID is unused
	free       []int32             // unused ids
	tombstones map[store.Key]int32 // ids of deleted keys that are in use
	generation uint64              // of the store, with the last change that arrived here

	subs    []*subscriber[T] // all of them, each at the index subscriber.place
	all     group[T]         // those of the whole collection
	routes  []*route[T]      // those of a value of an index
	late    []*subscriber[T] // those with syncAt
	entered uint64           // subscribers, past ones included
	synced  bool             // a pass was committed
	running bool             // between start and stop
	stopped bool
	past    EventCounts // of past subscribers
}

// syncID is the id of Sync.
const syncID int32 = 0

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
	e := edit[T]{found: c.InPass, now: h.now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Tag() == 0 {
		c.SetTag(uint32(h.allocID(c.Meta.Key)))
	}
	e.id = int32(c.Tag())
	n := &h.nodes[e.id]
	e.before = n.current()
	n.rec, n.gone = c.Record, c.Kind == store.Deleted
	e.cur = n.current()
	h.generation = c.Generation
	for _, s := range h.all.subs {
		s.change(e)
	}
	for _, r := range h.routes {
		r.change(c, e)
	}
	if len(h.late) > 0 {
		h.syncLate(e.now)
	}
	if n.gone {
		h.tombstones[c.Meta.Key] = e.id
		h.freeUnused(e.id)
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
		s.queueFirstSync(now)
	}
}

// syncLate queues Sync for the subscribers that waited for a change to arrive here.
func (h *hub[T]) syncLate(now uint32) {
	waiting := h.late[:0]
	for _, s := range h.late {
		switch {
		case s.syncAt == 0: // it has left
		case s.syncAt <= h.generation:
			s.syncAt = 0
			s.queueFirstSync(now)
		default:
			waiting = append(waiting, s)
		}
	}
	clear(h.late[len(waiting):])
	h.late = waiting
}

// enter adds a subscriber, and starts it if the hub runs. It returns false if the hub was
// stopped.
//
// A change that is visible in the store may not have arrived at the hub yet. Sync waits
// for it.
func (h *hub[T]) enter(s *subscriber[T]) bool {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	s.entered = true
	h.entered++
	s.id = h.entered
	s.since = now
	if v := s.view; v.index == nil {
		s.replay.next, s.replay.end = 1, int32(len(h.nodes))
		h.all.add(s)
	} else {
		s.replay.records = v.index.Records(v.value)
		s.route = h.routeOf(*v.index)
		s.route.add(s, v.value)
	}
	s.place = len(h.subs)
	h.subs = append(h.subs, s)
	if h.synced {
		if visible := h.store.Generation(); h.generation >= visible {
			s.queueFirstSync(now)
		} else {
			s.syncAt = visible
			h.late = append(h.late, s)
		}
	}
	if h.running {
		h.launch(s)
	}
	if s.canceled {
		s.quit()
	}
	return true
}

// launch lets a subscriber have a goroutine, if there is something to do. The caller holds
// the mutex.
func (h *hub[T]) launch(s *subscriber[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.launched = true
	if s.depth() > 0 || s.replay.left() > 0 || s.metrics != nil {
		s.wakeUp()
	}
}

// leave removes a subscriber and its state. It is called once for each subscriber.
func (h *hub[T]) leave(s *subscriber[T]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs = without(h.subs, s, func(s *subscriber[T]) *int { return &s.place })
	if s.route == nil {
		h.all.remove(s)
	} else {
		s.route.remove(s, s.view.value)
	}
	s.syncAt = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	h.past.add(s.counts)
	s.forget()
}

// start launches the existing subscribers.
func (h *hub[T]) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = true
	for _, s := range h.subs {
		h.launch(s)
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

// busy describes the user functions of subscribers that have not returned within
// stopGrace. It is called stopGrace after the stop or later. After the stop, only
// complete is called, so a call of it counts from its own start.
func (h *hub[T]) busy() (calls []string) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		s.mu.Lock()
		if s.calls != "" && now-s.finishing >= uint32(stopGrace.Milliseconds()) {
			calls = append(calls, "the "+s.calls+" subscribed at "+s.site.String())
		}
		s.mu.Unlock()
	}
	return calls
}
