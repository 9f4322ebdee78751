// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// BenchmarkUpdateWhileListing measures single updates while readers list all
// objects in a loop. "scheduler" are the figures with readers that work as
// much on a list of their own: what is left when the store costs nothing.
func BenchmarkUpdateWhileListing(b *testing.B) {
	for _, readers := range []int{0, 1, 4, 16} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			p := newPair(b, 1)
			ourUpdate, version := 0, ""
			updateOurs := func() {
				if ourUpdate%storetest.BenchPods == 0 {
					version = fmt.Sprint(2_000_000 + ourUpdate)
				}
				pod := p.pods[scatter(ourUpdate)]
				meta := store.MetaOf(pod)
				meta.Version = version
				if err := p.ours.Apply(ctx, meta, pod); err != nil {
					b.Fatal(err)
				}
				ourUpdate++
			}
			for b.Loop() { // what is measured is below
				runtime.KeepAlive(p)
			}
			ours := underReaders(readers, func() int { return len(p.ours.List()) }, func(int) { updateOurs() })
			theirs := underReaders(readers, func() int { return len(p.theirs.List()) }, func(i int) {
				if err := p.theirs.Update(p.pods[scatter(i)]); err != nil {
					b.Fatal(err)
				}
			})
			scheduler := underReaders(readers, func() int { return len(append([]*corev1.Pod(nil), p.pods...)) }, func(int) { updateOurs() })
			b.ReportMetric(0, "ns/op")
			report := func(f figures, prefix string) {
				b.ReportMetric(float64(f.mean.Nanoseconds()), prefix+"mean-ns")
				b.ReportMetric(float64(f.max.Microseconds())/1000, prefix+"max-ms")
				b.ReportMetric(f.lists, prefix+"lists/s")
			}
			report(ours, "")
			report(theirs, "client-go-")
			report(scheduler, "scheduler-")
			b.ReportMetric(float64(theirs.mean)/float64(ours.mean), "x-client-go")
		})
	}
}

type figures struct {
	mean, max time.Duration
	lists     float64 // per second, of all readers
}

// underReaders calls update for two seconds while so many readers call list.
func underReaders(readers int, list func() int, update func(i int)) (f figures) {
	const during = 2 * time.Second
	runtime.GC()
	var stop atomic.Bool
	var lists atomic.Int64
	var running, done sync.WaitGroup
	for range readers {
		running.Add(1)
		done.Go(func() {
			list()
			running.Done()
			for !stop.Load() {
				list()
				lists.Add(1)
			}
		})
	}
	running.Wait()
	start := time.Now()
	last := start
	n := 0
	for ; last.Sub(start) < during; n++ {
		update(n)
		now := time.Now()
		f.max = max(f.max, now.Sub(last))
		last = now
	}
	f.mean = last.Sub(start) / time.Duration(n)
	f.lists = float64(lists.Load()) / last.Sub(start).Seconds()
	stop.Store(true)
	done.Wait()
	return f
}
