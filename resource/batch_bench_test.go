// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkBatches compares a consumer of batches with one that goes event by event,
// each with a call that takes no time, and one that takes 20 microseconds however
// much it is given.
func BenchmarkBatches(b *testing.B) {
	for _, call := range []time.Duration{0, 20 * time.Microsecond} {
		work := func() {
			for began := time.Now(); call > 0 && time.Since(began) < call; {
			}
		}
		b.Run(fmt.Sprintf("call=%v/events", call), func(b *testing.B) {
			r := startRig(b)
			events := r.view.Events(b.Context())
			changeAll(b, r, func(n int) {
				for range n {
					e := <-events
					work()
					e.Done(nil)
				}
			})
		})
		b.Run(fmt.Sprintf("call=%v/batches", call), func(b *testing.B) {
			r := startRig(b)
			batches := Batches(r.view.Events(b.Context()), BatchConfig{})
			changeAll(b, r, func(n int) {
				for batch := range batches {
					work()
					batch.Done(nil)
					if n -= len(batch.Events); n <= 0 {
						break
					}
				}
			})
		})
	}
}

// changeAll creates objects, then changes all of them in each iteration, and has
// consume take that many events.
func changeAll(b *testing.B, r *rig, consume func(n int)) {
	names := make([]string, benchKeys)
	for i := range names {
		names[i] = fmt.Sprintf("pod-%d", i)
	}
	r.sync(names...)
	consume(benchKeys + 1)
	for b.Loop() {
		for _, name := range names {
			r.upsert(name)
		}
		consume(benchKeys)
	}
	b.ReportMetric(float64(benchKeys*b.N)/b.Elapsed().Seconds(), "events/s")
}
