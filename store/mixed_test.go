// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// A Replace while Commit tells its deletions aborts the pass: what it brought stays.
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
	must(x.Commit(ctx, "1"))
	if obj, _ := x.Get(next.Key); obj != next || x.Len() != 2 {
		t.Errorf("%d objects, the one that was written is %p, not %p", x.Len(), obj, next)
	}
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
}
