// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"math"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// BenchmarkLister has the same questions for a lister and for client-go's. Of the
// 100,000 pods each of 100 namespaces has 1000, and each of 1000 apps 100.
func BenchmarkLister(b *testing.B) {
	pods := storetest.MakePods(storetest.BenchPods)
	s := newOurs(b, 0)
	fillOurs(b, s, pods)
	l, err := store.NewLister(s, corev1.Resource("pods"), "app")
	if err != nil {
		b.Fatal(err)
	}
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	fillTheirs(b, indexer, pods)
	theirs := listers.NewPodLister(indexer)

	b.Run("get", func(b *testing.B) {
		storetest.Compare(b, func(i int) {
			p := pods[scatter(i)]
			if _, err := l.In(p.Namespace).Get(p.Name); err != nil {
				b.Fatal(err)
			}
		}, func(i int) {
			p := pods[scatter(i)]
			if _, err := theirs.Pods(p.Namespace).Get(p.Name); err != nil {
				b.Fatal(err)
			}
		})
	})
	sel := labels.SelectorFromSet(labels.Set{"app": "app-7"})
	list := func(namespace string, sel labels.Selector, want int) func(*testing.B) {
		return func(b *testing.B) {
			compareSlow(b, func() {
				if n := len(l.In(namespace).List(sel)); n != want {
					b.Fatal(n)
				}
			}, func() {
				if pods, err := theirs.Pods(namespace).List(sel); len(pods) != want || err != nil {
					b.Fatal(len(pods), err)
				}
			})
		}
	}
	b.Run("list/selector", list("", sel, 100))
	b.Run("list/namespace+selector", list("namespace-7", sel, 100))
	b.Run("list/namespace+selector-not-indexed", list("namespace-7", selector(b, "app!=app-7"), 900))
	b.Run("list/namespace", list("namespace-7", labels.Everything(), 1000))
}

// compareSlow is compare for where client-go takes so long that it cannot be asked
// as often: the best call of ten counts.
func compareSlow(b *testing.B, ours, theirs func()) {
	best := func(do func()) float64 {
		runtime.GC()
		best := math.Inf(1)
		for range 10 {
			start := time.Now()
			do()
			best = min(best, float64(time.Since(start).Nanoseconds()))
		}
		return best
	}
	mine, other := best(ours), best(theirs)
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
	b.ReportMetric(mine, "best-ns/op")
	b.ReportMetric(other, "client-go-best-ns/op")
	b.ReportMetric(other/mine, "x-client-go")
}
