// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/store/internal/storetest"
)

// A delay of any length works, and does not delay shorter ones.
func TestFIFORetryForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)), f.Add(storetest.NewJob("b", 1)))
		time.Sleep(time.Second)
		pop(t, f).Retry(math.MaxInt64)
		time.Sleep(time.Hour)
		pop(t, f).Retry(time.Second)
		if s := f.Stats(); s.Delayed != 2 {
			t.Errorf("stats %+v", s)
		}
		wantJobs(t, f.List(), "b1", "a1")
		time.Sleep(2 * time.Second)
		if s := f.Stats(); s.Delayed != 1 {
			t.Errorf("stats %+v", s)
		}
		pop(t, f).Done()
		f.Close()
		pop(t, f).Done()
	})
}
