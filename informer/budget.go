// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ListBudget limits how many lists the reflectors that share it read at a time
// ([Settings.ListBudget]), and spreads lists that would begin at the same moment. It protects
// the memory of a process ([ProcessListBudget]) or an API server ([NewListBudget]). Make one
// for each of several API servers that fail independently.
//
//   - A page takes a slot until it is read, and a streamed pass until the end of its initial
//     events. A slot is released after a minute at the latest, and the read goes on without
//     it. So a slow server or transform delays other lists, and does not stop them.
//   - If the sink can block ([store.Sink].MayBlock), the slot is released before the first
//     object is handed over.
//   - Slots are given in the order of the requests. Each page of a list requests a new one.
//   - A pass waits for a random part of the jitter before it begins. This does not apply to
//     first passes ([store.ReasonFirst]), polls, and tries after a failed pass.
//   - Waiting ends with the context of Run, and does not count for [Settings.Silence].
//
// Methods can be called from any goroutine. A nil *ListBudget limits nothing.
type ListBudget struct {
	concurrent int
	jitter     time.Duration

	mu      sync.Mutex
	used    int
	waiting list.List // of chan struct{}, closed when a slot is handed over
}

// The budget that a process shares.
const (
	processLists  = 16
	processJitter = time.Second
)

// slotMost is how long a slot can be held. By default, API servers end requests other than
// watches after this time.
const slotMost = time.Minute

// NewListBudget returns a budget of concurrent lists at a time, which must be positive.
// Jitter 0 means none.
func NewListBudget(concurrent int, jitter time.Duration) (*ListBudget, error) {
	if concurrent < 1 {
		return nil, fmt.Errorf("a budget of %d concurrent lists: give at least 1, or use no ListBudget for no limit", concurrent)
	}
	if jitter < 0 {
		return nil, fmt.Errorf("a budget with a jitter of %v: give a positive duration, or 0 for none", jitter)
	}
	return &ListBudget{concurrent: concurrent, jitter: jitter}, nil
}

var processBudget = sync.OnceValue(func() *ListBudget {
	return &ListBudget{concurrent: processLists, jitter: processJitter}
})

// ProcessListBudget returns the budget of the process: 16 lists at a time, and a jitter of a
// second. Each call returns the same one.
func ProcessListBudget() *ListBudget { return processBudget() }

// InUse returns the number of slots in use, and of lists that wait for one.
func (b *ListBudget) InUse() (used, waiting int) {
	if b == nil {
		return 0, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.waiting.Len()
}

func (b *ListBudget) validate() error {
	if b != nil && b.concurrent < 1 {
		return errors.New("it allows no list: make it with NewListBudget, or use ProcessListBudget")
	}
	return nil
}

// acquire waits for a slot or the end of ctx. The slot ends with release, or after slotMost.
func (b *ListBudget) acquire(ctx context.Context) (*listSlot, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if b == nil {
		return nil, nil
	}
	if err := b.wait(ctx); err != nil {
		return nil, err
	}
	s := &listSlot{budget: b, lapsed: make(chan struct{})}
	s.timer = time.AfterFunc(slotMost, func() {
		b.release()
		close(s.lapsed)
	})
	return s, nil
}

func (b *ListBudget) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.used < b.concurrent {
		b.used++
		b.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := b.waiting.PushBack(turn)
	b.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	select {
	case <-turn: // at the same moment
		b.mu.Unlock()
		b.release()
	default:
		b.waiting.Remove(place)
		b.mu.Unlock()
	}
	return context.Cause(ctx)
}

// release hands the slot to the list that has waited longest, if there is one.
func (b *ListBudget) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if first := b.waiting.Front(); first != nil {
		close(b.waiting.Remove(first).(chan struct{}))
		return
	}
	b.used--
}

// listSlot is a slot in use. It is nil without a budget.
type listSlot struct {
	budget *ListBudget
	once   sync.Once
	timer  *time.Timer   // gives it back if it is held for too long,
	lapsed chan struct{} // which closes this
}

// release gives the slot back. Further calls do nothing.
func (s *listSlot) release() {
	if s == nil {
		return
	}
	s.once.Do(func() {
		if !s.timer.Stop() {
			<-s.lapsed
			return
		}
		s.budget.release()
	})
}

// spread waits for a random part of the jitter or the end of ctx, once for each need of a
// pass.
func (c *cycle[T]) spread() {
	if !c.together {
		return
	}
	c.together = false
	if c.cfg.ListBudget == nil || c.cfg.ListBudget.jitter == 0 {
		return
	}
	c.r.setState(StateListing)
	c.sleep(c.ctx, rand.N(c.cfg.ListBudget.jitter))
	c.r.takeAsked() // the pass that follows serves later calls of Resync too
}
