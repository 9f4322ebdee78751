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
