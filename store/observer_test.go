// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/apiary-go/apiary/store"
)

// Whoever is told may panic, or end the goroutine: the change was made, and those
// that follow are told.
func TestObserversThatFail(t *testing.T) {
	for name, fail := range map[string]func(){
		"panic":  func() { panic("observer") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testObserversThatFail(t, fail) })
		})
	}
}

func testObserversThatFail(t *testing.T, fail func()) {
	told := ""
	failFor := func(name string) {
		told += name + " "
		if name == "bad" || name == "unindexed" {
			fail()
		}
	}
	s, err := store.New(store.Config[*thing]{
		Indexers: store.Indexers[*thing]{"tag": tags},
		OnChange: func(c store.Change[*thing]) { failFor(c.Meta.Key.Name) },
		OnIndexError: func(err error) {
			var failure *store.IndexError
			errors.As(err, &failure)
			failFor("un" + failure.Meta.Key.Name)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(name, version string, trouble trouble) {
		go func() {
			defer func() { _ = recover() }()
			meta := at(name, "u", version)
			_ = s.Apply(ctx, meta, &thing{Meta: meta, Trouble: trouble})
		}()
		synctest.Wait()
	}
	apply("bad", "1", none)
	apply("good", "2", none)
	apply("indexed", "3", errs)
	apply("good", "4", none)
	if want := "bad good unindexed good "; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	if s.Len() != 3 || s.Version() != "4" || s.Stats().IndexErrors != 1 {
		t.Errorf("%d objects at %q, %+v", s.Len(), s.Version(), s.Stats())
	}
}

// The tag of a record is that which the observer gave the one before, also if the
// next change was made by then.
func TestTagWithManyWriters(t *testing.T) {
	var s *store.Store[*thing]
	var wg sync.WaitGroup
	write := func(version string) {
		if _, err := s.Write(store.Write[*thing]{Meta: at("a", "u", version), Object: &thing{}}); err != nil {
			t.Error(err)
		}
	}
	var tags []uint32
	s, err := store.New(store.Config[*thing]{OnChange: func(c store.Change[*thing]) {
		if c.Kind == store.Added {
			wg.Go(func() { write("2") })
			if err := s.WaitFor(ctx, "2"); err != nil {
				t.Error(err)
			}
		}
		tags = append(tags, c.Tag())
		c.SetTag(c.Tag() + 7)
	}})
	if err != nil {
		t.Fatal(err)
	}
	write("1")
	wg.Wait()
	write("3")
	if len(tags) != 3 || tags[0] != 0 || tags[1] != 7 || tags[2] != 14 {
		t.Errorf("tags %v, want 0, 7, 14", tags)
	}
}
