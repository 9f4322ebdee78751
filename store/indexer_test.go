// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

func TestKeyFuncs(t *testing.T) {
	for name, obj := range map[string]runtime.Object{
		"no metadata": &corev1.PodList{}, "no name": &corev1.Pod{}, "nil": nil, "a nil pointer": (*corev1.Pod)(nil),
	} {
		if key, err := store.MetaNamespaceKeyFunc(obj); err == nil {
			t.Errorf("%s: the key is %v", name, key)
		}
	}
	p := pod("web", "", "1")
	if key, err := store.MetaNamespaceKeyFunc(p); err != nil || key.String() != "default/web" {
		t.Errorf("key %v, %v", key, err)
	}
	if values, err := store.MetaNamespaceIndexFunc(nil, p); err != nil || !slices.Equal(values, []string{"default"}) {
		t.Errorf("values %q, %v", values, err)
	}
	for _, obj := range []runtime.Object{nil, &corev1.PodList{}, (*corev1.Pod)(nil)} {
		if values, err := store.MetaNamespaceIndexFunc(nil, obj); err == nil {
			t.Errorf("%T: values %q", obj, values)
		}
	}
}

func TestIndexer(t *testing.T) {
	fails := errors.New("no index for you")
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{
		"node": func(values []string, p *corev1.Pod) ([]string, error) {
			if p.Spec.NodeName == "nowhere" {
				return nil, fails
			}
			return append(values, p.Spec.NodeName, p.Labels["also"]), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b := pod("a", "n1", "5"), pod("b", "n2", "5")
	b.Labels = map[string]string{"also": "n1"}
	must(x.Add(a))
	must(x.Add(b))
	must(x.Update(pod("a", "n9", "4"))) // which is older
	if p, _ := x.Get(store.KeyOf(a)); p != a || x.Stats().Stale != 1 {
		t.Errorf("%v, stats %+v", p, x.Stats())
	}
	names := func(obj *corev1.Pod) (names []string) {
		t.Helper()
		pods, err := x.Index("node", obj)
		must(err)
		for _, p := range pods {
			names = append(names, p.Name)
		}
		slices.Sort(names)
		return names
	}
	if got := names(pod("not stored", "n1", "")); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("on n1: %q", got)
	}
	if got := names(b); !slices.Equal(got, []string{"a", "b"}) { // under two values, b under both
		t.Errorf("where b is: %q", got)
	}
	if _, err := x.Index("nodes", a); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("no such index: %v", err)
	}
	var ie *store.IndexError
	if _, err := x.Index("node", pod("x", "nowhere", "")); !errors.As(err, &ie) || !errors.Is(err, fails) {
		t.Errorf("an index function that fails: %v", err)
	}
	must(x.Delete(pod("a", "", "1"))) // the key counts
	if x.Len() != 1 {
		t.Errorf("%d objects", x.Len())
	}
	for _, err := range []error{x.Add(&corev1.Pod{}), x.Update(nil), x.Delete(nil)} {
		if err == nil {
			t.Error("an object without a key was taken")
		}
	}
	if _, err := store.NewIndexer[*corev1.Pod](nil, nil); err == nil {
		t.Error("no error without a key function")
	}
	if _, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{"": nil}); err == nil {
		t.Error("no error for a bad index")
	}
}

// An update that nobody else can see allocates nothing; one of which there is a
// snapshot does, once.
func TestUpdateAllocatesNothing(t *testing.T) {
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{
		"node": byNode, store.NamespaceIndex: store.MetaNamespaceIndexFunc[*corev1.Pod],
	})
	if err != nil {
		t.Fatal(err)
	}
	var pods []*corev1.Pod
	for i := range 1000 {
		pods = append(pods, pod(fmt.Sprint("pod-", i), "n", "1"))
		if err := x.Add(pods[i]); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	update := func() {
		_ = x.Update(pods[i%len(pods)])
		i++
	}
	if n := testing.AllocsPerRun(3000, update); n != 0 {
		t.Errorf("%v allocations per update", n)
	}
	snap := x.Snapshot()
	for range pods {
		update()
	}
	if n := testing.AllocsPerRun(3000, update); n != 0 {
		t.Errorf("%v allocations per update after those of a snapshot", n)
	}
	if n := testing.AllocsPerRun(1000, func() { x.Get(store.KeyOf(pods[7])) }); n != 0 {
		t.Errorf("%v allocations per Get", n)
	}
	_ = snap
}

// The metadata of an object can be missing, or have another key. The store uses the meta of
// the source.
func TestMetaOfItsOwn(t *testing.T) {
	r, err := store.New(store.Config[*corev1.Pod]{})
	if err != nil {
		t.Fatal(err)
	}
	for i, obj := range []*corev1.Pod{nil, {}, pod("web", "", "1")} {
		meta := at(fmt.Sprint(i), "u", fmt.Sprint(i+10))
		if err := r.Apply(ctx, meta, obj); err != nil {
			t.Fatal(err)
		}
		if got, held, ok := r.Entry(meta.Key); !ok || got != meta || held != obj {
			t.Errorf("entry %v %v, want %v %v", got, held, meta, obj)
		}
		// The metadata of the next state can be equal to the meta of the source.
		next := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint(i), UID: "u", ResourceVersion: fmt.Sprint(i + 20)}}
		meta = store.MetaOf(next)
		if err := r.Apply(ctx, meta, next); err != nil {
			t.Fatal(err)
		}
		if got, held, ok := r.Entry(meta.Key); !ok || got != meta || held != next {
			t.Errorf("entry %v %v, want %v %v", got, held, meta, next)
		}
	}
}
