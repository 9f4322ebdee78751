// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package check

import "time"

// Thinner decides which failures of one source are logged: the first one, and then at most
// one in an interval that grows from a second to a minute while failures go on. After a
// minute without a failure it begins again. The zero value is ready for use.
type Thinner struct {
	next    time.Time // no log before it
	every   time.Duration
	last    time.Time
	omitted int
}

const longestInterval = time.Minute

// Shown counts a failure at the time now, and returns true if it must be logged. omitted is
// the number of failures since the last logged one.
func (t *Thinner) Shown(now time.Time) (shown bool, omitted int) {
	if now.Sub(t.last) >= longestInterval {
		t.next, t.every = time.Time{}, 0
	}
	t.last = now
	if now.Before(t.next) {
		t.omitted++
		return false, 0
	}
	t.every = min(max(2*t.every, time.Second), longestInterval)
	t.next = now.Add(t.every)
	omitted, t.omitted = t.omitted, 0
	return true, omitted
}
