// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// hub stands between the one writer, the goroutine of the informer, and the
// subscribers. It knows the current state of each key and gives each key a small
// number, so that what a subscriber must remember of a key is an element of a
// slice and not of a map.
//
// One mutex guards the hub and all that belongs to its subscribers. It is held
// for some steps at a time, never while anything blocks, and never while user code
// runs, but for metrics.
type hub[T runtime.Object] struct {
	name      string
	forgotten func(ForgottenDone)
	epoch     time.Time

	// applying is set while the store and nodes may differ, anyLate if late is
	// not empty. Each side sets its own before it looks at that of the other.
	applying, anyLate atomic.Bool

	mu     sync.Mutex
	nodes  []node[T]     // by id; that of syncID is nobody's
	free   []int32       // ids that are nobody's
	ghosts map[Key]int32 // ids of what is gone

	subs    []*subscriber[T] // replaced, not changed, when one leaves
	entered uint64           // counts subscribers, to tell whether there are new ones
	synced  bool             // a pass was committed
	late    []*subscriber[T] // subscribed since then, their Sync is not queued yet
	asked   []*subscriber[T] // their filters are being called by the informer
	running bool             // between start and stop
	stopped bool
	over    context.Context // ended by stop
	end     context.CancelCauseFunc
	wg      sync.WaitGroup
	counts  EventCounts
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

func newHub[T runtime.Object](name string, forgotten func(ForgottenDone)) *hub[T] {
	over, end := context.WithCancelCause(context.Background())
	return &hub[T]{
		name:      name,
		forgotten: forgotten,
		epoch:     time.Now(),
		nodes:     make([]node[T], 1),
		ghosts:    map[Key]int32{},
		over:      over,
		end:       end,
	}
}

// now is the time as subscribers keep it: milliseconds, in a number that wraps.
func (h *hub[T]) now() uint32 {
	return uint32(time.Since(h.epoch).Milliseconds())
}

// change is told by the store of each change, one call at a time.
func (h *hub[T]) change(c store.Change[T]) {
	now := h.now()
	gone := c.Kind == store.Deleted
	h.mu.Lock()
	defer h.mu.Unlock()
	if !gone {
		h.judge(c.Record)
	}
	if c.Record.Tag == 0 {
		c.Record.Tag = uint32(h.enroll(c.Meta.Key))
	}
	id := int32(c.Record.Tag)
	n := &h.nodes[id]
	before := n.current()
	n.rec, n.gone = c.Record, gone
	h.changed = now
	for _, s := range h.subs {
		s.changed(id, before)
	}
	if gone {
		h.ghosts[c.Meta.Key] = id
		h.settle(id)
	}
}

// judge asks the filters of all subscribers about next. It lets go of the mutex
// while they run, so it goes on until it has asked everybody who is there.
func (h *hub[T]) judge(next *store.Record[T]) {
	for {
		var ask []*subscriber[T]
		entered := h.entered
		for _, s := range h.subs {
			if s.keep != nil && s.verdictOn != next {
				ask = append(ask, s)
			}
		}
		if ask == nil {
			return
		}
		h.asked = ask
		h.unlocked(func() {
			for _, s := range ask {
				s.verdict, s.verdictOn = s.keep(next.Object()), next
			}
		})
		h.asked = nil
		if h.entered == entered {
			return
		}
	}
}

// committed says that a pass is complete.
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

// enroll gives an id to a key that is new to the store.
func (h *hub[T]) enroll(key Key) int32 {
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

// settle forgets a ghost that nobody remembers.
func (h *hub[T]) settle(id int32) {
	n := &h.nodes[id]
	if n.gone && n.refs == 0 {
		delete(h.ghosts, n.rec.Key())
		*n = node[T]{}
		h.free = append(h.free, id)
	}
}

// enter adds a subscriber, and starts it if the hub runs. It reports false if
// the hub was stopped.
func (h *hub[T]) enter(s *subscriber[T]) bool {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	s.unwatch = context.AfterFunc(s.ctx, s.cancel) // which waits for the mutex
	s.limit = int32(len(h.nodes))
	if h.synced {
		h.late = append(h.late, s)
		h.anyLate.Store(true)
		if !h.applying.Load() {
			h.admit(now)
		}
	}
	h.subs = append(h.subs, s)
	h.entered++
	s.since = now
	if h.running {
		h.launch(s)
	}
	return true
}

// apply calls f, which makes a change visible in the store and passes it on to
// change. Who subscribes in between is synced after the change: it is in the store
// when they subscribe.
func (h *hub[T]) apply(f func() error) error {
	h.applying.Store(true)
	err := f()
	h.applying.Store(false)
	if h.anyLate.Load() {
		now := h.now()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.admit(now)
	}
	return err
}

// admit queues the Sync of late subscribers, behind what the store has.
func (h *hub[T]) admit(now uint32) {
	for _, s := range h.late {
		if !s.left {
			s.synced(now)
		}
	}
	h.late = nil
	h.anyLate.Store(false)
}

// launch starts the goroutine of a subscriber. It is called with the mutex held.
func (h *hub[T]) launch(s *subscriber[T]) {
	s.launched = true
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		s.run()
	}()
}

// leave removes a subscriber and what it remembers. It is called with the mutex
// held, once for each.
func (h *hub[T]) leave(s *subscriber[T]) {
	s.left = true
	h.subs = slices.DeleteFunc(slices.Clone(h.subs), func(other *subscriber[T]) bool { return other == s })
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

// stop ends all subscribers. What is left of them is waited for with h.wg.
func (h *hub[T]) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	h.stopped, h.running = true, false
	h.end(ErrStopped)
	for _, s := range h.subs {
		if s.end() && !s.launched {
			h.unlocked(s.finish)
		}
	}
}

// unlocked calls f, which is or may call user code, without the mutex, which the
// caller holds before and after.
func (h *hub[T]) unlocked(f func()) {
	h.mu.Unlock()
	defer h.mu.Lock()
	f()
}

// holding lists where those subscribed whose filters hold up the informer.
func (h *hub[T]) holding() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sites(h.asked)
}

// present lists where those subscribed who have not left.
func (h *hub[T]) present() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sites(h.subs)
}

func sites[T runtime.Object](subs []*subscriber[T]) []string {
	var sites []string
	for _, s := range subs {
		sites = append(sites, s.site)
	}
	return sites
}
