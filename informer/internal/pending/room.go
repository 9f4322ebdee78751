// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import (
	"context"

	"github.com/apiary-go/apiary/store"
)

// fits reports whether a new key fits the bounds. The caller holds mu.
func (p *Queue[T]) fits(size int64) bool {
	return p.objects == 0 || p.objects < p.maxObjects && p.bytes+size <= p.maxBytes
}

// Admits reports whether a change of key can be put: it fits, or it merges with a waiting one
// and the larger size fits. A key that failed admits any change, which can be the repair.
func (p *Queue[T]) Admits(key store.Key, size int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[key]
	if w == nil {
		return p.fits(size)
	}
	if w.active && w.newer == nil || w.Failures > 0 {
		return true
	}
	more := size - w.latest().Size
	return more <= 0 || p.objects == 1 || p.bytes+more <= p.maxBytes
}

// Wait blocks until Admits is true or ctx ends.
func (p *Queue[T]) Wait(ctx context.Context, key store.Key, size int64) error {
	for !p.Admits(key, size) {
		select {
		case <-p.Room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Full returns the error that pauses a watch until there is space again, also for the refused
// change of this size.
func (p *Queue[T]) Full(size int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drained == nil {
		p.drained = make(chan struct{})
	}
	p.refused = size
	drained := p.drained
	p.checkDrained() // all may have been delivered since
	return &store.FullError{Drained: drained}
}

// checkDrained lets a paused watch go on when half of the deliverable changes are delivered.
// Keys that fail do not count, so that they do not delay the others. The caller holds mu.
func (p *Queue[T]) checkDrained() {
	if p.drained == nil || !p.fits(p.refused) {
		return
	}
	room, used := p.maxBytes, p.bytes
	if p.failing > 0 {
		for _, w := range p.works {
			if w.Failures > 0 {
				room -= w.change.Size
				used -= w.change.Size
			}
		}
	}
	if 2*(p.objects-p.failing) <= p.maxObjects-p.failing && 2*used <= room {
		close(p.drained)
		p.drained = nil
	}
}
