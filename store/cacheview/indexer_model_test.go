// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cacheview_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/cacheview"
)

// TestCacheIndexerModel makes the same random calls on an indexer of client-go and on
// ours, with increasing versions, and compares all results.
func TestCacheIndexerModel(t *testing.T) {
	name := rapid.SampledFrom([]string{"n", "a/x", "a/y", "a/x-y", "b/x", "b/x-y-x"})
	node := rapid.SampledFrom([]string{"", "n1", "n2"})
	rapid.Check(t, func(rt *rapid.T) {
		theirs := cache.NewIndexer(cache.DeletionHandlingMetaNamespaceKeyFunc, cache.Indexers{})
		ours := cacheview.CacheIndexer(newIndexer(t))
		version := 0
		draw := func(rt *rapid.T) *corev1.Pod {
			version++
			return ixPod(name.Draw(rt, "name")+"@"+strconv.Itoa(version), node.Draw(rt, "node"))
		}
		both := func(rt *rapid.T, what string, do func(cache.Indexer) string) {
			if want, got := do(theirs), do(ours); got != want {
				rt.Fatalf("%s:\ngot  %s\nwant %s", what, got, want)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				p := draw(rt)
				both(rt, "add", func(c cache.Indexer) string { return ixErr(c.Add(p)) + c.LastStoreSyncResourceVersion() })
			},
			"update": func(rt *rapid.T) {
				p := draw(rt)
				both(rt, "update", func(c cache.Indexer) string { return ixErr(c.Update(p)) + c.LastStoreSyncResourceVersion() })
			},
			"delete": func(rt *rapid.T) {
				p := draw(rt)
				obj := rapid.SampledFrom([]any{
					p, cache.DeletedFinalStateUnknown{Key: store.KeyOf(p).String()}, cache.ExplicitKey(store.KeyOf(p).String()),
				}).Draw(rt, "by")
				both(rt, "delete", func(c cache.Indexer) string { return ixErr(c.Delete(obj)) })
			},
			"replace": func(rt *rapid.T) {
				var list []any
				for range rapid.IntRange(0, 5).Draw(rt, "objects") {
					list = append(list, draw(rt))
				}
				if rapid.IntRange(0, 9).Draw(rt, "bad") == 0 {
					list = append(list, "no pod")
				}
				v := strconv.Itoa(version)
				both(rt, "replace", func(c cache.Indexer) string { return ixErr(c.Replace(append([]any{}, list...), v)) })
			},
			"index": func(rt *rapid.T) {
				name := rapid.SampledFrom([]string{"node", "words", cache.NamespaceIndex}).Draw(rt, "index")
				both(rt, "index", func(c cache.Indexer) string { return ixErr(c.AddIndexers(cache.Indexers{name: ixIndexers[name]})) })
			},
			"": func(rt *rapid.T) {
				both(rt, "view", ixView)
				p := ixPod(name.Draw(rt, "get"), "")
				both(rt, "get", func(c cache.Indexer) string { return ixItem(c.Get(p)) })
			},
		})
	})
}

// TestCacheIndexerReflector has a reflector of client-go fill an indexer of ours.
func TestCacheIndexerReflector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndexer(t)
		w := watch.NewFake()
		lw := &cache.ListWatch{
			ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				list := &corev1.PodList{Items: []corev1.Pod{*ixPod("a/x@1", "n1"), *ixPod("a/y@2", "n1")}}
				list.ResourceVersion = "10"
				return list, nil
			},
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return w, nil },
		}
		c := cacheview.CacheIndexer(x)
		_ = c.Add(ixPod("a/old@1", ""))
		r := cache.NewReflector(cache.ToListWatcherWithWatchListSemantics(lw, noWatchList{}), &corev1.Pod{}, c, 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.RunWithContext(ctx) }()
		expect := func(want, version string) {
			t.Helper()
			synctest.Wait()
			if got := ixList(c.List(), nil); got != want+", failed false" || x.Version() != version {
				t.Errorf("got %s at %s, want %s at %s", got, x.Version(), want, version)
			}
		}
		expect("[a/x@1 a/y@2]", "10")
		w.Modify(ixPod("a/x@11", "n2"))
		w.Add(ixPod("b/z@12", "n2"))
		expect("[a/x@11 a/y@2 b/z@12]", "12")
		w.Delete(ixPod("a/y@13", "n1"))
		expect("[a/x@11 b/z@12]", "12")
		cancel()
		<-ended
	})
}

type noWatchList struct{}

func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }

// Code that is written for client-go works with an indexer of ours.
func ExampleCacheIndexer() {
	pods, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{
		store.NamespaceIndex: store.MetaNamespaceIndexFunc[*corev1.Pod],
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	indexer := cacheview.CacheIndexer(pods)
	_ = indexer.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", ResourceVersion: "5"}})

	web, err := listers.NewPodLister(indexer).Pods("default").List(labels.Everything())
	fmt.Println(len(web), err)
	fmt.Println(indexer.ListKeys(), indexer.Add("a string"))
	// Output:
	// 1 <nil>
	// [default/web] couldn't create key for object a string: the object is a string, want *v1.Pod
}
