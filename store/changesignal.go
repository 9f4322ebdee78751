// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"sync"
	"sync/atomic"
)

// changeSignal wakes goroutines that wait for a change. It is cheap if none waits.
type changeSignal struct {
	awaited atomic.Bool

	mu sync.Mutex
	ch chan struct{} // nil if none waits
}

// next returns a channel that is closed at the next change. A waiting goroutine calls next
// before it reads the store.
func (n *changeSignal) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
		n.awaited.Store(true)
	}
	return n.ch
}

// changed wakes all waiting goroutines. The store calls it after a change is visible.
func (n *changeSignal) changed() {
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
