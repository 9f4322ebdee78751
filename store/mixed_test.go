// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// A Replace while Commit reports its deletions aborts the pass: its objects stay.
func TestReplaceWithinCommit(t *testing.T) {
	var s *store.Store[*thing]
	var wg sync.WaitGroup
	s, err := store.New(store.Config[*thing]{OnChange: func(c store.Change[*thing]) {
		if c.Kind == store.Deleted && s.Version() != "9" {
			wg.Go(func() {
				_, err := s.Replace("9", all(&thing{Meta: at("a", "u", "1")}, &thing{Meta: at("b", "u", "1")}))
				if err != nil {
					t.Error(err)
				}
			})
			if err := s.WaitFor(ctx, "9"); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		meta := at(name, "u", "1")
		if err := s.Apply(ctx, meta, &thing{Meta: meta}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Begin(ctx, store.Pass{}); err != nil {
		t.Fatal(err)
	}
	err = s.Commit(ctx, "5")
	wg.Wait()
	if !errors.Is(err, store.ErrNoPass) {
		t.Errorf("commit: %v, want ErrNoPass", err)
	}
	if s.Len() != 2 || s.Version() != "9" {
		t.Errorf("%d objects at %q, want 2 at 9", s.Len(), s.Version())
	}
	if got := s.Stats(); got.Aborts != 1 || got.Commits != 0 || got.Swept != 1 {
		t.Errorf("%+v", got)
	}
}

// What is written within a pass is judged as ever, and stays when the pass ends.
func TestWriteWithinPass(t *testing.T) {
	x, err := store.NewIndexer(func(t *thing) (store.Key, error) { return t.Key, nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	plain := func(name string) *thing { return &thing{Meta: at(name, "", "")} }
	must(x.Add(plain("a")))
	must(x.Add(plain("gone")))
	must(x.Begin(ctx, store.Pass{}))
	next := plain("a")
	must(x.Update(next))
	must(x.Add(plain("b")))
	_, err = x.Write(store.Write[*thing]{Meta: at("c", "", "5"), Object: plain("c")})
	must(err)
	if x.Version() != "" {
		t.Errorf("at %q within the pass", x.Version())
	}
	must(x.Commit(ctx, "1"))
	if obj, _ := x.Get(next.Key); obj != next || x.Len() != 3 {
		t.Errorf("%d objects, the one that was written is %p, not %p", x.Len(), obj, next)
	}
}

// An object that is changed while Commit reports its deletions is not deleted by it.
func TestChangesWithinCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t}
		name := func(n int) store.Meta { return at(string(rune('a'+n)), "u", "1") }
		other := func() {
			_, err := r.Write(
				store.Write[*thing]{Meta: name(1), Delete: true},
				store.Write[*thing]{Meta: name(2), Object: &thing{}},
				store.Write[*thing]{Meta: name(4), Object: &thing{}},
				store.Write[*thing]{Meta: name(5), Object: &thing{}},
			)
			r.must(err)
		}
		s, err := store.New(store.Config[*thing]{OnChange: func(c store.Change[*thing]) {
			if r.changes = append(r.changes, c); len(r.changes) == 5 {
				go other()
				synctest.Wait()
			}
		}})
		r.must(err)
		r.Store = s
		for n := range 4 {
			r.apply(name(n))
		}
		r.begin()
		r.commit("9")
		synctest.Wait()
		r.changes = r.changes[4:]
		r.wantChanges("deleted ns/a@1#u", "deleted ns/b@1#u", "updated ns/c@1#u was ns/c@1#u", "added ns/e@1#u", "added ns/f@1#u",
			"deleted ns/d@1#u")
		if r.Len() != 3 || r.Stats().Swept != 2 {
			t.Errorf("%d objects, %+v", r.Len(), r.Stats())
		}
	})
}

// Within a pass too, an Indexer stores another state of the same version, and no
// older one.
func TestUpdateWithinPass(t *testing.T) {
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], nil)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(x.Add(pod("a", "n", "5")))
	must(x.Begin(ctx, store.Pass{}))
	same := pod("a", "n", "5")
	must(x.Update(same))
	must(x.Update(pod("a", "n", "4")))
	if obj, _ := x.Get(store.KeyOf(same)); obj != same {
		t.Errorf("the store has another one, of version %s", obj.ResourceVersion)
	}
	must(x.Commit(ctx, "6"))
	if x.Len() != 1 {
		t.Error("what was updated within the pass was removed by Commit")
	}
}
