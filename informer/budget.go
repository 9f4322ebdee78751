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

// ListBudget limits how many lists are read at the same time, by all those who
// have it as their [Settings.ListBudget], and spreads lists that would begin at the
// same moment. It is for what they share: the memory of a process
// ([ProcessListBudget]), or the patience of an API server ([NewListBudget]).
//
//   - Each page of a list is requested with a slot in hand, which is given back
//     when the page has been read. A streamed pass holds one from the request of
//     the watch to the end of its initial events.
//   - No slot is held for longer than a minute. What has not been read by then goes
//     on without: an API server does not work on a page for longer. So a server that
//     answers nothing or slowly, and a transform that hangs or waits for another
//     resource, delay the lists of others, and do not stop them. To follow many API
//     servers that fail independently, make a budget for each.
//   - If the sink may block ([store.Sink.MayBlock]), the slot is given back before
//     the first object is handed to it. So a sink that is stuck takes no slot from
//     others; in return, what its page occupies is not counted.
//   - Slots are given out in the order in which they were waited for. A list of
//     many pages waits anew for each, and does not keep others from theirs.
//   - Every pass but a first one ([store.ReasonFirst]) and a poll ([store.ReasonPoll])
//     waits for a random part of the jitter before it begins. So informers that lost
//     their watches at once, to an API server that was restarted, do not list at once.
//     Attempts that follow one that failed do not wait again; they have the [Backoff].
//     Polls have the jitter of [Settings.PollInterval].
//   - Waiting ends when the context of Run does. It does not count as
//     [Settings.Silence].
//
// All methods may be called from anywhere. A nil *ListBudget limits nothing.
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

// slotMost is how long a slot can be held. API servers by default give up requests
// other than watches after this time.
const slotMost = time.Minute

// NewListBudget returns a budget of the given number of lists at a time, which
// must be positive, and the given jitter: 0 for none.
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

// ProcessListBudget returns the budget that is shared by the process: 16 lists at
// a time, and a jitter of a second. It is the same at each call.
func ProcessListBudget() *ListBudget { return processBudget() }

// InUse returns how many slots are in use, and how many lists wait for one.
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

// acquire waits for a slot, for the end of ctx at most. The slot is given back by
// release, or after slotMost.
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

// release hands a slot to who has waited longest, if anybody waits.
func (b *ListBudget) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if first := b.waiting.Front(); first != nil {
		close(b.waiting.Remove(first).(chan struct{}))
		return
	}
	b.used--
}

// listSlot is a slot in hand; nil is that of no budget.
type listSlot struct {
	budget *ListBudget
	once   sync.Once
	timer  *time.Timer   // gives it back if it is held for too long,
	lapsed chan struct{} // which closes this
}

// release gives the slot back, if it was not yet.
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

// spread waits for a random part of the jitter, for the end of ctx at most, once
// for each time that a pass came to be needed.
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
	c.r.takeAsked() // who asked meanwhile is served by the pass that follows
}
