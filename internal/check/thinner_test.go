// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package check

import (
	"testing"
	"time"
)

// A source that fails ten times a second for ten minutes is logged at once, then ever more
// rarely, and every failure is counted. After a minute without a failure it is logged at
// once again.
func TestThinner(t *testing.T) {
	var thin Thinner
	begin := time.Unix(0, 0)
	now := begin
	var at []time.Duration
	counted := 0
	for range 6000 {
		if shown, omitted := thin.Shown(now); shown {
			at = append(at, now.Sub(begin))
			counted += omitted + 1
		}
		now = now.Add(100 * time.Millisecond)
	}
	if len(at) < 10 || len(at) > 20 || at[0] != 0 || at[1] != time.Second || at[2] != 3*time.Second {
		t.Errorf("logged at %v", at)
	}
	for i := range at[1:] {
		if gap := at[i+1] - at[i]; gap > time.Minute {
			t.Errorf("%v between two logs", gap)
		}
	}
	now = now.Add(time.Minute)
	shown, omitted := thin.Shown(now)
	if counted += omitted + 1; !shown || counted != 6001 {
		t.Errorf("after a quiet minute: shown %v, %d failures counted in all", shown, counted)
	}
}
