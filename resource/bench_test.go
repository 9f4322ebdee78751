// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// benchKeys is how many objects the benchmarks have.
const benchKeys = 1000

// brisk changes all objects once and waits until a subscriber has seen that, for
// each iteration, and reports events per second.
func brisk(b *testing.B, r *rig, events <-chan podEvent) float64 {
	pods := make([]*corev1.Pod, benchKeys)
	r.begin()
	for i := range pods {
		pods[i] = r.upsert(fmt.Sprintf("pod-%d", i))
	}
	r.commit()
	for e := range events {
		e.Done(nil)
		if e.Kind == Sync {
			break
		}
	}
	for b.Loop() {
		for i, old := range pods {
			r.version++
			p := pod(old.Name, string(old.UID), r.version)
			r.must(r.sink.Apply(context.Background(), store.MetaOf(p), p))
			pods[i] = p
		}
		for range pods {
			e := <-events
			e.Done(nil)
		}
	}
	return float64(benchKeys*b.N) / b.Elapsed().Seconds()
}

// A subscriber beside another one that is stuck: one that has stopped reading, and
// holds on to an event.
func BenchmarkBesideStuckSubscriber(b *testing.B) {
	var alone float64
	for _, stuck := range []bool{false, true} {
		name := map[bool]string{false: "none", true: "one"}[stuck]
		b.Run(name, func(b *testing.B) {
			r := startRig(b)
			if stuck {
				idle := r.view.Events(b.Context())
				r.sync("first")
				held := take(b, idle)
				defer held.Done(nil)
			}
			rate := brisk(b, r, r.view.Events(b.Context()))
			b.ReportMetric(rate, "events/s")
			if !stuck {
				alone = rate
			} else if alone > 0 {
				b.ReportMetric(rate/alone, "ratio")
			}
		})
	}
}
