// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"slices"
	"sync"
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
// for some steps at a time, never while user code runs, and never while anything
// blocks.
type hub[T runtime.Object] struct {
	name      string
	forgotten func(ForgottenDone)
	epoch     time.Time

	mu    sync.Mutex
	nodes map[Key]*node[T]
	byID  []*node[T] // byID[syncID] is nobody's
	free  []int32    // ids of byID that are nil

	subs    []*subscriber[T] // replaced, not changed, when one leaves
	entered uint64           // counts subscribers, to tell whether there are new ones
	synced  bool             // a pass was committed
	running bool             // between start and stop
	stopped bool
	done    chan struct{} // closed by stop
	wg      sync.WaitGroup
	counts  EventCounts
}

// syncID is the id that Sync has among the keys.
const syncID int32 = 0

// node is a key that is in the collection or that a subscriber remembers.
type node[T runtime.Object] struct {
	key  Key
	id   int32
	refs int32     // subscribers that remember it
	cur  *state[T] // nil: not in the collection
}

// state is an object in one version. It does not change.
type state[T runtime.Object] struct {
	meta store.Meta
	obj  T
}

func newHub[T runtime.Object](name string, forgotten func(ForgottenDone)) *hub[T] {
	return &hub[T]{
		name:      name,
		forgotten: forgotten,
		epoch:     time.Now(),
		nodes:     map[Key]*node[T]{},
		byID:      make([]*node[T], 1),
		done:      make(chan struct{}),
	}
}

// now is the time as subscribers keep it: milliseconds, in a number that wraps.
func (h *hub[T]) now() uint32 {
	return uint32(time.Since(h.epoch).Milliseconds())
}

// change says that key is now in the state next, or gone if that is nil. It is
// called by the informer only, one call at a time.
func (h *hub[T]) change(key Key, next *state[T]) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.judge(next)
	n := h.nodes[key]
	if n == nil {
		if next == nil {
			return
		}
		n = h.add(key)
	}
	n.cur = next
	for _, s := range h.subs {
		s.changed(n, now)
	}
	h.settle(n)
}

// judge asks the filters of all subscribers about next. It lets go of the mutex
// while they run, so it goes on until it has asked everybody who is there.
func (h *hub[T]) judge(next *state[T]) {
	if next == nil {
		return
	}
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
		h.unlocked(func() {
			for _, s := range ask {
				s.verdict, s.verdictOn = s.keep(next.obj), next
			}
		})
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

func (h *hub[T]) add(key Key) *node[T] {
	n := &node[T]{key: key}
	if last := len(h.free) - 1; last >= 0 {
		n.id = h.free[last]
		h.free = h.free[:last]
		h.byID[n.id] = n
	} else {
		n.id = int32(len(h.byID))
		h.byID = append(h.byID, n)
	}
	h.nodes[key] = n
	return n
}

// settle forgets a node that is no longer of interest to anybody.
func (h *hub[T]) settle(n *node[T]) {
	if n.cur == nil && n.refs == 0 {
		delete(h.nodes, n.key)
		h.byID[n.id] = nil
		h.free = append(h.free, n.id)
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
	s.limit = int32(len(h.byID))
	if h.synced {
		s.enqueue(syncID, now)
	}
	h.subs = append(h.subs, s)
	h.entered++
	if h.running {
		h.launch(s)
	} else {
		s.unwatch = context.AfterFunc(s.ctx, s.finish)
	}
	return true
}

func (h *hub[T]) launch(s *subscriber[T]) {
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		s.run()
	}()
}

// leave removes a subscriber and what it remembers. It reports false if it had
// left before.
func (h *hub[T]) leave(s *subscriber[T]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.left {
		return false
	}
	s.left = true
	h.subs = slices.DeleteFunc(slices.Clone(h.subs), func(other *subscriber[T]) bool { return other == s })
	s.forgetAll()
	return true
}

// start launches the subscribers that are there.
func (h *hub[T]) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = true
	for _, s := range h.subs {
		if s.unwatch() {
			h.launch(s)
		}
	}
}

// stop ends all subscribers. What is left of them is waited for with h.wg.
func (h *hub[T]) stop() {
	h.mu.Lock()
	subs, ran := h.subs, h.running
	if !h.stopped {
		h.stopped, h.running = true, false
		close(h.done)
	}
	h.mu.Unlock()
	for _, s := range subs {
		if !ran && s.unwatch() {
			s.finish()
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

// sites lists where the present subscribers subscribed.
func (h *hub[T]) sites() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	sites := make([]string, len(h.subs))
	for i, s := range h.subs {
		sites[i] = s.site
	}
	return sites
}
