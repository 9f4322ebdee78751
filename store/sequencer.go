// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"sync"
	"sync/atomic"
)

// sequencer orders steps of several goroutines by number. The numbers start at 1 and have
// no gaps.
type sequencer struct {
	done    atomic.Uint64 // the last number that has ended
	waiting atomic.Int32

	mu   sync.Mutex
	cond sync.Cond // on mu
}

func (q *sequencer) init() { q.cond.L = &q.mu }

// wait returns when all smaller numbers have ended.
func (q *sequencer) wait(number uint64) {
	if q.done.Load() == number-1 {
		return
	}
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.done.Load() != number-1 {
		q.cond.Wait()
	}
}

// end ends a number, so that the next one continues.
func (q *sequencer) end(number uint64) {
	q.done.Store(number)
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cond.Broadcast()
}
