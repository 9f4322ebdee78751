// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import (
	"time"

	"github.com/apiary-go/apiary/store"
)

// State is the state of a [Queue] at one point in time.
type State struct {
	Objects int
	Bytes   int64
	Failing int     // keys
	Oldest  *Oldest // nil if nothing is pending
}

// Oldest is the key whose change was accepted first.
type Oldest struct {
	Key      store.Key
	Since    time.Time
	Failures int
	Err      error
}

// State returns the state of p.
func (p *Queue[T]) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := State{Objects: p.objects, Bytes: p.bytes, Failing: p.failing}
	if p.first != nil {
		w := p.works[p.first.Meta.Key]
		s.Oldest = &Oldest{Key: w.Key, Since: p.first.at, Failures: w.Failures, Err: w.err}
	}
	return s
}
