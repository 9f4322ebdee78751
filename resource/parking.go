// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

// parking ends the goroutines of subscribers that have had nothing to do for a while, since
// the stack is most of the memory of a subscriber at rest. The next change starts another
// goroutine.
type parking[T runtime.Object] struct {
	mu    sync.Mutex // locked after that of a subscriber
	live  []*subscriber[T]
	armed bool
	timer *time.Timer
}

// linger is how long a goroutine without work stays, at least. It is at most twice that.
const linger = time.Second

// begin adds a subscriber with a goroutine.
func (p *parking[T]) begin(s *subscriber[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.berth = len(p.live)
	p.live = append(p.live, s)
	p.arm()
}

// end removes a subscriber whose goroutine ends.
func (p *parking[T]) end(s *subscriber[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = without(p.live, s, func(s *subscriber[T]) *int { return &s.berth })
	if len(p.live) == 0 && p.armed {
		p.armed = false
		p.timer.Stop()
		p.live = nil
	}
}

// arm sets the timer. The caller holds the mutex.
func (p *parking[T]) arm() {
	switch {
	case p.armed:
		return
	case p.timer == nil:
		p.timer = time.AfterFunc(linger, p.sweep)
	default:
		p.timer.Reset(linger)
	}
	p.armed = true
}

// sweep asks the goroutines that had nothing to do since the last sweep to end.
func (p *parking[T]) sweep() {
	p.mu.Lock()
	live := slices.Clone(p.live)
	p.mu.Unlock()
	for _, s := range live {
		s.retire()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed = false; len(p.live) > 0 {
		p.arm()
	}
}

// retire asks the goroutine to end if it has waited since the last call. A goroutine with
// keys that are held back, or with metrics, stays.
func (s *subscriber[T]) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waiting || s.ending || s.metrics != nil || len(s.delayed.byTime) > 0 {
		s.idle = false
		return
	}
	if !s.idle {
		s.idle = true
		return
	}
	s.retiring = true
	s.wakeUp()
}

// start starts the goroutine. The caller holds the mutex, and has checked that there is
// none.
func (s *subscriber[T]) start() {
	s.running, s.awake, s.idle, s.waiting, s.retiring = true, false, false, false, false
	s.wake = make(chan struct{}, 1)
	s.hub.wg.Add(1)
	s.hub.parking.begin(s)
	go s.run()
}

// park ends the goroutine without the subscription, and drops what is kept to be used
// again. The caller holds the mutex, and is the goroutine.
func (s *subscriber[T]) park() {
	s.running, s.wake, s.spare = false, nil, nil
	s.slots.trim()
	s.hub.parking.end(s)
}
