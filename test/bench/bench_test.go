// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// BenchmarkEvents: an operation is a round in which each of a thousand pods
// changes once and every subscriber acknowledges that.
func BenchmarkEvents(b *testing.B) {
	const n = 1000
	pods := makePods(n)
	for _, subs := range []int{1, 10} {
		for _, c := range contestants {
			b.Run(fmt.Sprintf("%s/subscribers=%d", c.name, subs), func(b *testing.B) {
				src := newSource(pods)
				crew := newCrew(subs, n)
				crew.expect(1, n)
				f := c.start(src, crew.observers())
				defer f.stop()
				crew.wait()
				<-crew.synced
				f.waitSynced()
				changes := make([]*corev1.Pod, n)
				b.ReportAllocs()
				for round := uint32(2); b.Loop(); round++ {
					b.StopTimer()
					for i := range changes {
						changes[i] = src.prepare(round, i)
					}
					crew.expect(round, n)
					b.StartTimer()
					for _, pod := range changes {
						src.write(watch.Modified, pod)
					}
					crew.wait()
				}
				b.ReportMetric(float64(b.N*n*subs)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkSync: an operation is a start with ten thousand pods, until the one
// subscriber has acknowledged all and received Sync. Stopping counts as well.
func BenchmarkSync(b *testing.B) {
	const n = 10_000
	pods := makePods(n)
	for _, c := range contestants {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				measureSync(c, pods)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
