// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"time"

	"github.com/apiary-go/apiary/internal/check"
)

// trouble counts the failures since the last success.
type trouble struct {
	failures int
	since    time.Time
	cause    Cause          // of the last failure
	seen     map[string]int // how often each failure came

	// reached is one more than the objects that the last broken pass had read, and zero for a
	// watch. Overcome is reached of the last failure: a pass that gets there ends the failure.
	reached, overcome int
}

// seenMost is how many different failures are counted. Further ones count by their cause, for
// texts that differ each time.
const seenMost = 32

// add counts a failure. It returns how often the same failure came before.
func (t *trouble) add(cause Cause, err error) (repeated int) {
	if t.failures == 0 {
		t.since, t.seen = time.Now(), map[string]int{}
	}
	t.failures++
	t.cause, t.overcome = cause, t.reached
	key := string(cause) + ": " + check.RequestGist(err)
	if _, known := t.seen[key]; !known && len(t.seen) >= seenMost {
		key = string(cause)
	}
	t.seen[key]++
	return t.seen[key] - 1
}

// recovered records a success after failures, unless a pass is still needed.
func (c *cycle[T]) recovered() {
	t := c.trouble
	if t.failures == 0 || c.want != "" || c.postponed.reason != "" {
		return
	}
	c.trouble = trouble{}
	c.noError()
	c.r.observe(Recovered{Failures: t.failures, After: time.Since(t.since), Cause: t.cause})
}

// taken counts an object of a pass. If the pass got further than the one that failed,
// that failure is over, although the pass is not.
func (c *cycle[T]) taken(p *passing) {
	p.objects++
	if c.trouble.overcome != 0 && p.objects >= c.trouble.overcome {
		c.trouble.overcome = 0
		c.noError()
	}
}

func (c *cycle[T]) noError() {
	c.r.update(func(i *ReflectorInfo) { i.Err, i.Cause = nil, CauseNone })
}
