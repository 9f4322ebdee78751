// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// BenchmarkPush measures a change of an UndeltaStore with its push, by the number of
// objects. client-go's makes a list for each.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint("objects=", n), func(b *testing.B) {
			pods := storetest.MakePods(n)
			pushed := 0
			u, err := store.NewUndeltaStore(func(s store.Snapshot[*corev1.Pod]) { pushed += s.Len() },
				store.MetaNamespaceKeyFunc[*corev1.Pod])
			if err != nil {
				b.Fatal(err)
			}
			if _, err := u.Replace(pods, "1"); err != nil {
				b.Fatal(err)
			}
			theirs := cache.NewUndeltaStore(func(l []any) { pushed += len(l) }, cache.MetaNamespaceKeyFunc)
			list := make([]any, n)
			for i, pod := range pods {
				list[i] = pod
			}
			if err := theirs.Replace(list, "1"); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := u.Update(pods[i*7919%n]); err != nil {
					b.Fatal(err)
				}
				i++
			}
			runtime.GC()
			const updates = 20
			start := time.Now()
			for i := range updates {
				if err := theirs.Update(pods[i*7919%n]); err != nil {
					b.Fatal(err)
				}
			}
			other := float64(time.Since(start).Nanoseconds()) / updates
			b.ReportMetric(other, "client-go-ns/op")
			b.ReportMetric(other*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "x-client-go")
		})
	}
}
