// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"flag"
	"fmt"
	"testing"
)

var (
	Rounds = flag.Int("rounds", 150, "histories to play against client-go's Reflector")
	seed   = flag.Uint64("seed", 0, "the only history to play, if not 0")
)

// PlayRounds plays as many histories as the flags say, each with a number of its own,
// and then looks whether what must happen did, by the counts of all.
func PlayRounds(t *testing.T, round func(t *testing.T, number uint64, counts map[string]int), must ...string) {
	t.Helper()
	n := uint64(*Rounds)
	if testing.Short() {
		n = 20
	}
	counts := map[string]int{}
	for s := uint64(1); s <= n; s++ {
		if *seed != 0 {
			s, n = *seed, *seed
		}
		t.Run(fmt.Sprint(s), func(t *testing.T) { round(t, s, counts) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%v", counts)
	for _, what := range must {
		if counts[what] == 0 && *seed == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}
