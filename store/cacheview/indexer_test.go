// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cacheview_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/cacheview"
)

func newIndexer(t testing.TB) *store.Indexer[*corev1.Pod] {
	t.Helper()
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// ixPod makes a pod of "namespace/name@version" on a node.
func ixPod(text, node string, pairs ...string) *corev1.Pod {
	key, version, _ := strings.Cut(text, "@")
	namespace, name, found := strings.Cut(key, "/")
	if !found {
		namespace, name = "", key
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: version}}
	p.Spec.NodeName = node
	for _, pair := range pairs {
		k, v, _ := strings.Cut(pair, "=")
		metav1.SetMetaDataLabel(&p.ObjectMeta, k, v)
	}
	return p
}

// ixIndexers are the indexes of these tests: "node", and "words" of several values.
var ixIndexers = cache.Indexers{
	cache.NamespaceIndex: cache.MetaNamespaceIndexFunc,
	"node": func(obj any) ([]string, error) {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return nil, fmt.Errorf("%T is no pod", obj)
		}
		return []string{p.Spec.NodeName}, nil
	},
	"words": func(obj any) ([]string, error) {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return nil, fmt.Errorf("%T is no pod", obj)
		}
		return strings.Split(p.Name, "-"), nil
	},
}

func podText(obj any) string {
	if p, ok := obj.(*corev1.Pod); ok && p != nil {
		return store.MetaOf(p).String()
	}
	return fmt.Sprint(obj)
}

func ixList(list []any, err error) string {
	var all []string
	for _, obj := range list {
		all = append(all, podText(obj))
	}
	slices.Sort(all)
	return fmt.Sprintf("%v, failed %v", all, err != nil)
}

func ixSorted(all []string, err error) string {
	all = slices.Sorted(slices.Values(all))
	return fmt.Sprintf("%v, failed %v", all, err != nil)
}

func ixItem(item any, exists bool, err error) string {
	var keyErr cache.KeyError
	return fmt.Sprintf("%v %v, failed %v, key error %v", podText(item), exists, err != nil, errors.As(err, &keyErr))
}

func ixErr(err error) string { return ixItem(nil, false, err) }

// ixView is the complete content of an indexer, sorted.
func ixView(c cache.Indexer) string {
	var b strings.Builder
	fmt.Fprintln(&b, "list", ixList(c.List(), nil), "keys", ixSorted(c.ListKeys(), nil))
	names := []string{}
	for name := range c.GetIndexers() {
		names = append(names, name)
	}
	fmt.Fprintln(&b, "indexers", ixSorted(names, nil))
	for _, name := range append(names, "none") {
		fmt.Fprintln(&b, name, ixSorted(c.ListIndexFuncValues(name), nil))
		for _, value := range append(c.ListIndexFuncValues(name), "no-such-value") {
			fmt.Fprintln(&b, name, value, ixList(c.ByIndex(name, value)), ixSorted(c.IndexKeys(name, value)))
		}
		fmt.Fprintln(&b, name, ixList(c.Index(name, ixPod("a/x-y", "n1"))), ixList(c.Index(name, "no pod")))
	}
	lines := strings.Split(b.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

type ixOp struct {
	name string
	do   func(cache.Indexer) string
}

// TestCacheIndexerConforms makes the same calls on an indexer of client-go and on ours.
func TestCacheIndexerConforms(t *testing.T) {
	add := func(text, node string) ixOp {
		return ixOp{"add " + text, func(c cache.Indexer) string { return ixErr(c.Add(ixPod(text, node))) }}
	}
	get := func(obj any) ixOp {
		return ixOp{fmt.Sprintf("get %v", podText(obj)), func(c cache.Indexer) string { return ixItem(c.Get(obj)) }}
	}
	byKey := func(key string) ixOp {
		return ixOp{"get key " + key, func(c cache.Indexer) string { return ixItem(c.GetByKey(key)) }}
	}
	remove := func(obj any) ixOp {
		return ixOp{fmt.Sprintf("delete %v", podText(obj)), func(c cache.Indexer) string { return ixErr(c.Delete(obj)) }}
	}
	replace := func(version string, list ...any) ixOp {
		return ixOp{"replace " + version, func(c cache.Indexer) string {
			return ixErr(c.Replace(slices.Clone(list), version)) + c.LastStoreSyncResourceVersion()
		}}
	}
	ops := []ixOp{
		{"view of none", ixView},
		add("a/x-1@1", "n1"),
		add("a/y@1", "n2"),
		add("b/x@1", "n1"),
		add("node@1", ""),
		{"update", func(c cache.Indexer) string { return ixErr(c.Update(ixPod("a/x-1@2", "n2"))) }},
		{"update of what is new", func(c cache.Indexer) string { return ixErr(c.Update(ixPod("c/z@2", "n3"))) }},
		{"version", func(c cache.Indexer) string { return c.LastStoreSyncResourceVersion() }},
		{"bookmark", func(c cache.Indexer) string { c.Bookmark("40"); return c.LastStoreSyncResourceVersion() }},
		get(ixPod("a/x-1", "")), get(ixPod("a/none", "")), get("no pod"), get(nil),
		get(cache.ExplicitKey("a/y")), get(cache.ExplicitKey("a/none")), get(cache.ExplicitKey("")),
		get(cache.DeletedFinalStateUnknown{Key: "b/x"}),
		byKey("a/x-1"), byKey("node"), byKey("a/none"), byKey(""), byKey("/"), byKey("/node"), byKey("a/b/c"),
		{"add what is no pod", func(c cache.Indexer) string { return ixErr(c.Add("no pod")) }},
		{"update what is no pod", func(c cache.Indexer) string { return ixErr(c.Update(nil)) }},
		remove("no pod"), remove(ixPod("a/none@9", "")), remove(ixPod("a/y@1", "")),
		remove(cache.DeletedFinalStateUnknown{Key: "b/x", Obj: ixPod("b/x@1", "n1")}),
		remove(cache.DeletedFinalStateUnknown{Key: "a/b/c"}),
		remove(cache.ExplicitKey("node")),
		{"index of metadata", func(c cache.Indexer) string {
			return ixList(c.Index(cache.NamespaceIndex, &metav1.ObjectMeta{Namespace: "a"})) +
				ixList(c.Index("node", &metav1.ObjectMeta{Namespace: "a"}))
		}},
		{"index function", func(c cache.Indexer) string {
			return ixSorted(c.GetIndexers()["words"](ixPod("a/x-y", ""))) + ixSorted(c.GetIndexers()["words"](3))
		}},
		{"index again", func(c cache.Indexer) string { return ixErr(c.AddIndexers(cache.Indexers{"node": ixIndexers["node"]})) }},
		{"late index", func(c cache.Indexer) string { return ixErr(c.AddIndexers(cache.Indexers{"late": ixIndexers["words"]})) }},
		replace("50", ixPod("a/y@7", "n1"), ixPod("d/x-y-z@8", "n2"), ixPod("a/y@9", "n2")),
		replace("51", ixPod("a/q@7", "n1"), "no pod"),
		replace("5", ixPod("d/x-y-z@1", "n4")),
		{"resync", func(c cache.Indexer) string { return ixErr(c.Resync()) }},
		replace("6"),
	}
	theirs := cache.NewIndexer(cache.DeletionHandlingMetaNamespaceKeyFunc, ixIndexers)
	ours := cacheview.CacheIndexer(newIndexer(t))
	if err := ours.AddIndexers(ixIndexers); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if want, got := op.do(theirs), op.do(ours); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", op.name, got, want)
		}
		if want, got := ixView(theirs), ixView(ours); got != want {
			t.Fatalf("after %s:\ngot  %s\nwant %s", op.name, got, want)
		}
	}
}

// TestCacheIndexerDiffers has the differences between ours and client-go's.
func TestCacheIndexerDiffers(t *testing.T) {
	x := newIndexer(t)
	c := cacheview.CacheIndexer(x)
	var keyErr cache.KeyError
	for name, err := range map[string]error{
		"without a name":      c.Add(ixPod("", "")),
		"of another type":     c.Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}),
		"among others":        c.Replace([]any{ixPod("a/x", ""), &corev1.Node{}}, "1"),
		"unknown final state": c.Delete(cache.DeletedFinalStateUnknown{}),
	} {
		if !errors.As(err, &keyErr) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if x.Len() != 0 {
		t.Errorf("there is %v", c.List())
	}

	_ = c.Add(ixPod("a/x@5", ""))
	if err := c.Update(ixPod("a/x@4", "")); err != nil || x.Stats().Stale != 1 || c.LastStoreSyncResourceVersion() != "5" {
		t.Errorf("an older object: %v, %+v, at %q", err, x.Stats(), c.LastStoreSyncResourceVersion())
	}
	if err := c.Replace([]any{ixPod("a/x@4", "")}, "4"); err != nil || podText(c.List()[0]) != "a/x@4" {
		t.Errorf("Replace: %v, %v", err, c.List())
	}

	if err := c.AddIndexers(cache.Indexers{"bad": func(any) ([]string, error) { return nil, errors.New("bad") }}); err != nil {
		t.Error(err)
	}
	if _, err := c.Index("bad", ixPod("a/x", "")); err == nil || x.Stats().IndexErrors != 1 {
		t.Errorf("got %v, %+v", err, x.Stats())
	}
	if err := c.AddIndexers(cache.Indexers{"nil": nil}); err == nil {
		t.Error("an index without a function was added")
	}
	if _, err := c.ByIndex("none", ""); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Index("none", ixPod("a/x", "")); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("got %v", err)
	}

	if err := c.Delete(cache.DeletedFinalStateUnknown{Obj: ixPod("a/x@1", "")}); err != nil || x.Len() != 0 {
		t.Errorf("a final state without a key: %v, %v", err, c.List())
	}
}

// TestCacheIndexerLister has a lister of client-go read an indexer of ours.
func TestCacheIndexerLister(t *testing.T) {
	c := cacheview.CacheIndexer(newIndexer(t))
	if err := c.AddIndexers(cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*corev1.Pod{ixPod("a/1@1", "", "app=web"), ixPod("a/2@1", ""), ixPod("b/1@1", "", "app=web")} {
		if err := c.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	l := listers.NewPodLister(c)
	web := labels.SelectorFromSet(labels.Set{"app": "web"})
	if p, err := l.Pods("b").Get("1"); err != nil || p.Namespace != "b" {
		t.Errorf("Get: %v, %v", p, err)
	}
	if _, err := l.Pods("b").Get("2"); !apierrors.IsNotFound(err) {
		t.Errorf("Get of what is not there: %v", err)
	}
	for want, list := range map[int]func() ([]*corev1.Pod, error){
		3: func() ([]*corev1.Pod, error) { return l.List(labels.Everything()) },
		2: func() ([]*corev1.Pod, error) { return l.List(web) },
		1: func() ([]*corev1.Pod, error) { return l.Pods("a").List(web) },
		0: func() ([]*corev1.Pod, error) { return l.Pods("c").List(labels.Everything()) },
	} {
		if pods, err := list(); err != nil || len(pods) != want {
			t.Errorf("got %d, %v; want %d", len(pods), err, want)
		}
	}
}
