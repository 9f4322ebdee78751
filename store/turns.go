// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"sync"
	"sync/atomic"
)

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
