// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// The benchmarks measure the store, and client-go's Indexer beside it with the
// same objects in the same process. "x-client-go" is how many times faster the
// store is.

var benchIndexers = []struct {
	name string
	fn   store.IndexFunc[*corev1.Pod]
}{
	{"node", byNode},
	{"namespace", func(values []string, p *corev1.Pod) ([]string, error) { return append(values, p.Namespace), nil }},
	{"app", func(values []string, p *corev1.Pod) ([]string, error) { return append(values, p.Labels["app"]), nil }},
}

// benchPair is a store and a client-go Indexer of the same content.
type benchPair struct {
	ours   *store.Store[*corev1.Pod]
	theirs cache.Indexer
	pods   []*corev1.Pod
}

func newOurs(b *testing.B, indexes int) *store.Store[*corev1.Pod] {
	s, err := store.New(store.Config[*corev1.Pod]{Indexers: indexersOf(indexes)})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func indexersOf(n int) store.Indexers[*corev1.Pod] {
	indexers := store.Indexers[*corev1.Pod]{}
	for _, ix := range benchIndexers[:n] {
		indexers[ix.name] = ix.fn
	}
	return indexers
}

func newTheirs(indexes int) cache.Indexer {
	indexers := cache.Indexers{}
	for _, ix := range benchIndexers[:indexes] {
		indexers[ix.name] = func(obj any) ([]string, error) { return ix.fn(nil, obj.(*corev1.Pod)) }
	}
	return cache.NewIndexer(cache.DeletionHandlingMetaNamespaceKeyFunc, indexers)
}

func fillOurs(b *testing.B, s *store.Store[*corev1.Pod], pods []*corev1.Pod) {
	for _, p := range pods {
		if err := s.Apply(ctx, store.MetaOf(p), p); err != nil {
			b.Fatal(err)
		}
	}
}

func fillTheirs(b *testing.B, s cache.Indexer, pods []*corev1.Pod) {
	for _, p := range pods {
		if err := s.Add(p); err != nil {
			b.Fatal(err)
		}
	}
}

func newPair(b *testing.B, indexes int) benchPair {
	p := benchPair{newOurs(b, indexes), newTheirs(indexes), storetest.MakePods(storetest.BenchPods)}
	fillOurs(b, p.ours, p.pods)
	fillTheirs(b, p.theirs, p.pods)
	return p
}

// scatter makes consecutive numbers visit all pods in no memory order.
func scatter(i int) int { return i * 38_317 % storetest.BenchPods }

func BenchmarkGet(b *testing.B) {
	p := newPair(b, 0)
	keys := make([]store.Key, storetest.BenchPods)
	strings := make([]string, storetest.BenchPods)
	for i, pod := range p.pods {
		keys[i] = store.KeyOf(pod)
		strings[i] = keys[i].String()
	}
	b.Run("ready-key", func(b *testing.B) {
		storetest.Compare(b, func(i int) {
			p.ours.Get(keys[scatter(i)])
		}, func(i int) {
			_, _, _ = p.theirs.GetByKey(strings[scatter(i)])
		})
	})
	b.Run("namespace-and-name", func(b *testing.B) {
		storetest.Compare(b, func(i int) {
			k := &keys[scatter(i)]
			p.ours.Get(store.Key{Namespace: k.Namespace, Name: k.Name})
		}, func(i int) {
			k := &keys[scatter(i)]
			_, _, _ = p.theirs.GetByKey(k.Namespace + "/" + k.Name)
		})
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				p.ours.Get(keys[scatter(i)])
			}
		})
	})
}

// BenchmarkUpdate has updates that change no index value, as most updates do, of
// objects that are in no snapshot.
func BenchmarkUpdate(b *testing.B) {
	for _, indexes := range []int{0, 1, 3} {
		b.Run(fmt.Sprintf("indexes=%d", indexes), func(b *testing.B) {
			p := newPair(b, indexes)
			x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], indexersOf(indexes))
			if err != nil {
				b.Fatal(err)
			}
			for _, pod := range p.pods {
				_ = x.Add(pod)
			}
			storetest.Compare(b, func(i int) {
				if err := x.Update(p.pods[scatter(i)]); err != nil {
					b.Fatal(err)
				}
			}, func(i int) {
				if err := p.theirs.Update(p.pods[scatter(i)]); err != nil {
					b.Fatal(err)
				}
			})
			if x.Stats().Stale > 0 {
				b.Error("updates were dropped")
			}
		})
	}
}

// BenchmarkUpdateMoving moves pods between the buckets of one index of three.
func BenchmarkUpdateMoving(b *testing.B) {
	p := newPair(b, 3)
	moved := make([]*corev1.Pod, storetest.BenchPods)
	for i, pod := range p.pods {
		c := *pod
		c.Spec.NodeName = fmt.Sprintf("node-%d", (i+7)%storetest.BenchNodes)
		moved[i] = &c
	}
	pick := func(i int) *corev1.Pod {
		if i/storetest.BenchPods%2 == 0 {
			return moved[scatter(i)]
		}
		return p.pods[scatter(i)]
	}
	version := ""
	storetest.Compare(b, func(i int) {
		if i%storetest.BenchPods == 0 {
			version = fmt.Sprint(2_000_000 + i)
		}
		pod := pick(i)
		meta := store.MetaOf(pod)
		meta.Version = version
		if err := p.ours.Apply(ctx, meta, pod); err != nil {
			b.Fatal(err)
		}
	}, func(i int) {
		if err := p.theirs.Update(pick(i)); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkByIndex(b *testing.B) {
	p := newPair(b, 1)
	storetest.Compare(b, func(i int) {
		if pods, err := p.ours.ByIndex("node", p.pods[i%storetest.BenchNodes].Spec.NodeName); err != nil || len(pods) != 200 {
			b.Fatal(len(pods), err)
		}
	}, func(i int) {
		if pods, err := p.theirs.ByIndex("node", p.pods[i%storetest.BenchNodes].Spec.NodeName); err != nil || len(pods) != 200 {
			b.Fatal(len(pods), err)
		}
	})
}

func BenchmarkList(b *testing.B) {
	p := newPair(b, 0)
	list := func(int) {
		if len(p.theirs.List()) != storetest.BenchPods {
			b.Fatal("incomplete")
		}
	}
	b.Run("List", func(b *testing.B) {
		storetest.Compare(b, func(int) {
			if len(p.ours.List()) != storetest.BenchPods {
				b.Fatal("incomplete")
			}
		}, list)
	})
	b.Run("All", func(b *testing.B) {
		storetest.Compare(b, func(int) {
			n := 0
			for range p.ours.All() {
				n++
			}
			if n != storetest.BenchPods {
				b.Fatal("incomplete")
			}
		}, list)
	})
}

// BenchmarkPass has a pass over a collection that did not change; client-go has
// Replace for that.
func BenchmarkPass(b *testing.B) {
	for _, indexes := range []int{0, 3} {
		b.Run(fmt.Sprintf("unchanged/indexes=%d", indexes), func(b *testing.B) {
			p := newPair(b, indexes)
			metas := make([]store.Meta, storetest.BenchPods)
			list := make([]any, storetest.BenchPods)
			for i, pod := range p.pods {
				metas[i], list[i] = store.MetaOf(pod), pod
			}
			storetest.Compare(b, func(int) {
				_ = p.ours.Begin(ctx, store.Pass{})
				for _, meta := range metas {
					if !p.ours.Has(meta) {
						b.Fatal("does not hold", meta)
					}
				}
				_ = p.ours.Commit(ctx, "1")
			}, func(int) { _ = p.theirs.Replace(list, "1") })
		})
		b.Run(fmt.Sprintf("first/indexes=%d", indexes), func(b *testing.B) {
			pods := storetest.MakePods(storetest.BenchPods)
			list := make([]any, storetest.BenchPods)
			for i, pod := range pods {
				list[i] = pod
			}
			storetest.Compare(b, func(int) {
				s := newOurs(b, indexes)
				_ = s.Begin(ctx, store.Pass{})
				fillOurs(b, s, pods)
				_ = s.Commit(ctx, "1")
			}, func(int) { _ = newTheirs(indexes).Replace(list, "1") })
		})
	}
	b.Run("sweep/indexes=3", func(b *testing.B) {
		p := newPair(b, 3)
		b.ReportAllocs()
		for b.Loop() {
			_ = p.ours.Begin(ctx, store.Pass{})
			_ = p.ours.Commit(ctx, "1")
			b.StopTimer()
			fillOurs(b, p.ours, p.pods)
			b.StartTimer()
		}
	})
}

// BenchmarkBytes reports what a store needs besides the objects.
func BenchmarkBytes(b *testing.B) {
	pods := storetest.MakePods(storetest.BenchPods)
	unique := func(values []string, p *corev1.Pod) ([]string, error) { return append(values, string(p.UID)), nil }
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	measure := func(b *testing.B, ours *store.Store[*corev1.Pod], theirs cache.Indexer) {
		before := heap()
		fillOurs(b, ours, pods)
		between := heap()
		fillTheirs(b, theirs, pods)
		after := heap()
		for b.Loop() { // what is measured is no time
			runtime.KeepAlive(pods)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(between-before)/storetest.BenchPods, "B/object")
		b.ReportMetric(float64(after-between)/storetest.BenchPods, "client-go-B/object")
		runtime.KeepAlive(ours)
		runtime.KeepAlive(theirs)
	}
	for _, indexes := range []int{0, 1, 3} {
		b.Run(fmt.Sprintf("indexes=%d", indexes), func(b *testing.B) {
			measure(b, newOurs(b, indexes), newTheirs(indexes))
		})
	}
	b.Run("unique-values", func(b *testing.B) {
		s := newOurs(b, 0)
		if err := s.AddIndexers(map[string]store.IndexFunc[*corev1.Pod]{"uid": unique}); err != nil {
			b.Fatal(err)
		}
		measure(b, s, cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{
			"uid": func(obj any) ([]string, error) { return unique(nil, obj.(*corev1.Pod)) },
		}))
	})
}
