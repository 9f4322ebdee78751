// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"context"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

func newPodFIFO(b *testing.B) *fifo.FIFO[*corev1.Pod] {
	f, err := fifo.New(store.MetaNamespaceKeyFunc[*corev1.Pod])
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func popped(any, bool) error { return nil }

// BenchmarkFIFO has one goroutine add and pop an object, Done included; client-go
// has no such thing. "queued" is how many there are besides.
func BenchmarkFIFO(b *testing.B) {
	pods := storetest.MakePods(storetest.BenchPods)
	for _, bm := range []struct {
		name   string
		queued int
	}{{"queued=0", 0}, {"queued=1000", 1000}} {
		b.Run(bm.name, func(b *testing.B) {
			ours, theirs := newPodFIFO(b), cache.NewFIFO(cache.MetaNamespaceKeyFunc)
			for _, p := range pods[:bm.queued] {
				_, _ = ours.Add(p), theirs.Add(p)
			}
			storetest.Compare(b, func(i int) {
				if err := ours.Add(pods[(i+bm.queued)%storetest.BenchPods]); err != nil {
					b.Fatal(err)
				}
				l, err := ours.Pop(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				l.Done()
			}, func(i int) {
				if err := theirs.Add(pods[(i+bm.queued)%storetest.BenchPods]); err != nil {
					b.Fatal(err)
				}
				if _, err := theirs.Pop(popped); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkFIFOConsumers has two consumers take what one goroutine adds, in rounds
// of 1000 objects.
func BenchmarkFIFOConsumers(b *testing.B) {
	const consumers, round = 2, 1000
	pods := storetest.MakePods(storetest.BenchPods)
	ours, theirs := newPodFIFO(b), cache.NewFIFO(cache.MetaNamespaceKeyFunc)
	var left, consuming sync.WaitGroup
	ctx, cancel := context.WithCancel(b.Context())
	for range consumers {
		consuming.Go(func() {
			for {
				l, err := ours.Pop(ctx)
				if err != nil {
					return
				}
				l.Done()
				left.Done()
			}
		})
		consuming.Go(func() {
			for {
				if _, err := theirs.Pop(popped); err != nil {
					return
				}
				left.Done()
			}
		})
	}
	rounds := func(add func(p *corev1.Pod) error) func(int) {
		return func(i int) {
			left.Add(round)
			for n := range round {
				if err := add(pods[(i*round+n)%storetest.BenchPods]); err != nil {
					b.Fatal(err)
				}
			}
			left.Wait()
		}
	}
	storetest.Compare(b, rounds(ours.Add), rounds(func(p *corev1.Pod) error { return theirs.Add(p) }))
	cancel()
	theirs.Close()
	consuming.Wait()
}
