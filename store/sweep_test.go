// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Of what a pass did not have, that is not deleted which was changed, or deleted,
// before it is its turn.
func TestSweepLooksAgain(t *testing.T) {
	ctx := context.Background()
	x, err := NewIndexer(MetaNamespaceKeyFunc[*corev1.Pod], nil)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	named := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	must(x.Add(named("gone")))
	must(x.Add(named("updated")))
	must(x.Add(named("deleted")))
	must(x.Begin(ctx, Pass{}))
	missing, err := x.all.toCommit()
	must(err)
	must(x.Update(named("updated"))) // which needs no other record
	must(x.Delete(named("deleted"))) // nor is there another one in its slot
	for _, rec := range missing {
		name := rec.Key().Name
		if got := x.all.sweep(&notice[*corev1.Pod]{}, rec); got != (name == "gone") {
			t.Errorf("%s: swept %v", name, got)
		}
	}
	if _, ok := x.Get(Key{Name: "updated"}); !ok || x.Len() != 1 {
		t.Errorf("%d objects", x.Len())
	}
}

// Values of an index are looked at with no lock held, of what no writer writes to.
func TestValuesWhileWriting(t *testing.T) {
	x, err := NewIndexer(MetaNamespaceKeyFunc[*corev1.Pod], Indexers[*corev1.Pod]{
		"node": func(values []string, p *corev1.Pod) ([]string, error) { return append(values, p.Spec.NodeName), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ix, err := x.Store.Index("node")
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			ix.Values()
		}
	})
	for i := range n {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(i)}, Spec: corev1.PodSpec{NodeName: strconv.Itoa(i)}}
		if err := x.Add(p); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
