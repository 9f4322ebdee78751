// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// What passing on one change costs, from the sink to the Done of the last subscriber,
// each of which reads a channel: of many in a row, and of one after which all wait for the
// next. The objects are made beforehand, and used again.
func BenchmarkEvent(b *testing.B) {
	for _, subscribers := range []int{0, 1, 10} {
		for _, burst := range []int{benchKeys, 1} {
			b.Run(fmt.Sprintf("subscribers=%d/burst=%d", subscribers, burst), func(b *testing.B) {
				benchEvents(b, subscribers, burst)
			})
		}
	}
}

func benchEvents(b *testing.B, subscribers, burst int) {
	r := startRig(b)
	r.begin()
	pods := make([][2]*corev1.Pod, benchKeys)
	for i := range pods {
		p := r.upsert(fmt.Sprint("pod-", i))
		pods[i] = [2]*corev1.Pod{p, p.DeepCopy()}
	}
	r.commit()
	done := make(chan struct{}, subscribers)
	for range subscribers {
		events := r.view.Events(b.Context())
		go func() {
			left := benchKeys + 1 // with Sync
			for e := range events {
				e.Done(nil)
				if left--; left == 0 {
					done <- struct{}{}
					left = burst
				}
			}
		}()
	}
	wait := func() {
		for range subscribers {
			<-done
		}
	}
	wait()
	versions := make([]string, benchKeys)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		for i := range versions {
			r.version++
			versions[i] = strconv.Itoa(r.version)
		}
		for i := range pods {
			next := pods[i][1]
			pods[i][0], pods[i][1] = next, pods[i][0]
			next.ResourceVersion = versions[i]
			r.must(r.sink.Apply(context.Background(), store.MetaOf(next), next))
			if (i+1)%burst == 0 {
				wait()
			}
		}
	}
	runtime.ReadMemStats(&after)
	events := float64(b.N * benchKeys)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/events, "ns/change")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/events-1, "allocs/change") // but for the version
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/events-8, "B/change")
}

// A subscriber that is half as fast as the informer: two slots are taken for each that is
// given back, the oldest first. What one costs is to be much the same in a long backlog.
func BenchmarkBacklog(b *testing.B) {
	for _, length := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("length=%d", length), func(b *testing.B) {
			for b.Loop() {
				var s slots[*corev1.Pod]
				taken := make([]*slot[*corev1.Pod], 2*length)
				for i := range taken {
					taken[i] = s.take(int32(i))
					if i%2 == 1 {
						s.give(taken[i/2])
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*length*b.N), "ns/slot")
		})
	}
}
