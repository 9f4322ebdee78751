// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"sync"
	"sync/atomic"
)

// news wakes those who wait for something to change. It costs next to nothing if
// nobody waits.
type news struct {
	awaited atomic.Bool

	mu sync.Mutex
	ch chan struct{} // nil if nobody waits
}

// next returns a channel that is closed at the next change. Who waits calls next
// first, and then looks at what there is.
func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
		n.awaited.Store(true)
	}
	return n.ch
}

// changed is called after a change became visible.
func (n *news) changed() {
	if !n.awaited.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
		n.awaited.Store(false)
	}
}

// turns has several goroutines do something one after the other, in the order of
// their numbers, which are given without a gap from 1.
type turns struct {
	done    atomic.Uint64 // the number whose turn was the last
	waiting atomic.Int32

	mu   sync.Mutex
	cond sync.Cond // on mu
}

func (t *turns) init() { t.cond.L = &t.mu }

// wait returns when it is the turn of number.
func (t *turns) wait(number uint64) {
	if t.done.Load() == number-1 {
		return
	}
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.done.Load() != number-1 {
		t.cond.Wait()
	}
}

// end ends the turn of number.
func (t *turns) end(number uint64) {
	t.done.Store(number)
	if t.waiting.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cond.Broadcast()
}
