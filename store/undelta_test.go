// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

// pushed is an UndeltaStore with what it pushed.
type pushed struct {
	*store.UndeltaStore[*corev1.Pod]
	t      *testing.T
	states []string
}

func newPushed(t *testing.T) *pushed {
	p := &pushed{t: t}
	u, err := store.NewUndeltaStore(func(s store.Snapshot[*corev1.Pod]) {
		var names []string
		for _, pod := range s.List() {
			names = append(names, pod.Name+"@"+pod.ResourceVersion)
		}
		slices.Sort(names)
		p.states = append(p.states, strings.Join(names, " "))
	}, store.MetaNamespaceKeyFunc[*corev1.Pod])
	if err != nil {
		t.Fatal(err)
	}
	p.UndeltaStore = u
	return p
}

func (p *pushed) want(states ...string) {
	p.t.Helper()
	if !slices.Equal(p.states, states) {
		p.t.Errorf("pushed %q, want %q", p.states, states)
	}
	p.states = nil
}

func (p *pushed) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func podAt(name, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u", ResourceVersion: version}}
}

func TestUndeltaStore(t *testing.T) {
	p := newPushed(t)
	p.must(p.Add(podAt("a", "1")))
	p.want("a@1")
	p.must(p.Update(podAt("a", "2")))
	p.must(p.Add(podAt("b", "3")))
	p.want("a@2", "a@2 b@3")
	p.must(p.Delete(podAt("b", "")))
	p.must(p.Delete(podAt("a", "")))
	p.want("a@2", "")
	p.must(p.Delete(podAt("a", "")))
	p.want() // nothing changed

	_, err := p.Replace([]*corev1.Pod{podAt("c", "4"), podAt("d", "4")}, "4")
	p.must(err)
	p.want("c@4 d@4")
	_, err = p.Replace([]*corev1.Pod{podAt("c", "4"), podAt("d", "4")}, "5")
	p.must(err)
	p.must(p.Update(podAt("c", "3")))
	p.want() // nothing changed
	_, err = p.Write(
		store.Write[*corev1.Pod]{Meta: store.MetaOf(podAt("c", "6")), Object: podAt("c", "6")},
		store.Write[*corev1.Pod]{Meta: store.MetaOf(podAt("d", "7")), Delete: true},
	)
	p.must(err)
	p.want("c@6")

	if p.Add(podAt("", "8")) == nil {
		t.Error("an object without a name was added")
	}
	if _, err := p.Replace([]*corev1.Pod{podAt("x", "8"), podAt("", "8")}, "8"); err == nil {
		t.Error("an object without a name is part of a Replace")
	}
	p.want() // nor by what fails
	if _, ok := p.Get(store.Key{Name: "x"}); ok || p.Len() != 1 {
		t.Error("a Replace that failed changed something")
	}
}

// A pass is one change, once it is complete.
func TestUndeltaStorePass(t *testing.T) {
	p := newPushed(t)
	sink := p.Store
	apply := func(name, version string) {
		pod := podAt(name, version)
		p.must(sink.Apply(ctx, store.MetaOf(pod), pod))
	}
	p.must(sink.Begin(ctx, store.Pass{}))
	p.want()
	p.must(sink.Commit(ctx, "1"))
	p.want("") // the first one, though there is nothing
	p.must(sink.Begin(ctx, store.Pass{}))
	apply("a", "2")
	apply("b", "2")
	p.want()
	p.must(sink.Commit(ctx, "2"))
	p.want("a@2 b@2")
	p.must(sink.Begin(ctx, store.Pass{}))
	apply("c", "3")
	sink.Abort(store.Pass{}, nil)
	p.want() // another pass will follow
	p.must(sink.Begin(ctx, store.Pass{}))
	for _, meta := range []store.Meta{store.MetaOf(podAt("a", "2")), store.MetaOf(podAt("b", "2")), store.MetaOf(podAt("c", "3"))} {
		if !sink.Has(meta) {
			t.Errorf("it does not hold %v", meta)
		}
	}
	p.must(sink.Commit(ctx, "3"))
	p.want("a@2 b@2 c@3") // which nobody was told of
	p.must(sink.Begin(ctx, store.Pass{}))
	apply("c", "4")
	p.must(sink.Commit(ctx, "4"))
	p.want("c@4") // the deletions are part of it
	apply("d", "5")
	p.must(sink.Progress(ctx, "6"))
	p.must(sink.Delete(ctx, store.MetaOf(podAt("c", "7")), nil, false))
	p.want("c@4 d@5", "d@5")
}

// With many writers each change is pushed once, in order, before its writer goes on.
func TestUndeltaStoreManyWriters(t *testing.T) {
	const writers, writes = 8, 200
	var (
		pushing atomic.Bool
		mu      sync.Mutex
		last    store.Snapshot[*corev1.Pod]
		pushes  int
	)
	u, err := store.NewUndeltaStore(func(s store.Snapshot[*corev1.Pod]) {
		if pushing.Swap(true) {
			t.Error("two pushes at once")
		}
		defer pushing.Store(false)
		mu.Lock()
		defer mu.Unlock()
		changed := 0
		for meta := range s.Entries() {
			if before, _, ok := last.Entry(meta.Key); !ok || before != meta {
				changed++
			}
		}
		if changed != 1 || s.Generation() != last.Generation()+1 {
			t.Errorf("push %d has %d changes, generation %d after %d", pushes, changed, s.Generation(), last.Generation())
		}
		pushes, last = pushes+1, s
	}, store.MetaNamespaceKeyFunc[*corev1.Pod])
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range writes {
				pod := podAt(fmt.Sprint("pod-", w), fmt.Sprint(i+1))
				if err := u.Update(pod); err != nil {
					t.Error(err)
				}
				mu.Lock()
				meta, _, _ := last.Entry(store.KeyOf(pod))
				if meta != store.MetaOf(pod) {
					t.Errorf("Update of %v returned before its push: %v", pod.Name, meta)
				}
				mu.Unlock()
			}
		})
	}
	done.Wait()
	if pushes != writers*writes {
		t.Errorf("%d pushes, want %d", pushes, writers*writes)
	}
}

func TestNewUndeltaStoreIsChecked(t *testing.T) {
	if _, err := store.NewUndeltaStore(nil, store.MetaNamespaceKeyFunc[*corev1.Pod]); err == nil {
		t.Error("no error without push")
	}
	if _, err := store.NewUndeltaStore(func(store.Snapshot[*corev1.Pod]) {}, nil); err == nil {
		t.Error("no error without a key function")
	}
}
