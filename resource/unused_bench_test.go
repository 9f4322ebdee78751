// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What a subscription costs from Events to the end of its channel, and a call of Store of a
// resource that is synced.
func BenchmarkUse(b *testing.B) {
	for name, opts := range map[string][]Option{"plain": nil, "stopped unused": {WithStopUnused(time.Hour)}} {
		r := startRig(b, opts...)
		if d := r.view.demand; d != nil {
			r.sink = sink[*corev1.Pod]{Store: d.current.store, resource: d.current}
		}
		r.sync("a")
		b.Run("Events/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithCancel(context.Background())
				events := r.view.Events(ctx)
				cancel()
				for e := range events {
					e.Done(nil)
				}
			}
		})
		b.Run("Store/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.view.Store(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
