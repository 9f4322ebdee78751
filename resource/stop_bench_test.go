// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	"testing"
)

// many returns a running resource with subscribers that do all that is asked of them,
// and have nothing left to do.
func many(t testing.TB, subscribers int) *rig {
	r := newRig(t)
	r.start()
	r.view.want()
	r.sync("a")
	ready := make(chan struct{})
	for range subscribers {
		events := r.view.Events(context.Background())
		go func() {
			for e := range events {
				e.Done(nil)
				if e.Kind == Sync {
					ready <- struct{}{}
				}
			}
		}()
	}
	for range subscribers {
		<-ready
	}
	return r
}

// Stop of a resource with many subscribers, all of whom behave, accuses none of them.
func TestStopOfManySubscribers(t *testing.T) {
	r := many(t, 20_000)
	r.stop()
	if n := len(r.view.hub.subs); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}

// What Stop costs for each subscriber is to be much the same for many.
func BenchmarkStop(b *testing.B) {
	for _, subscribers := range []int{1000, 5000, 20_000} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := many(b, subscribers)
				b.StartTimer()
				r.stop()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(subscribers*b.N), "ns/subscriber")
		})
	}
}
