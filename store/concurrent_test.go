// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apiary-go/apiary/store"
)

func TestWriteWithinIteration(t *testing.T) {
	r := newRig(t)
	want := map[store.Key]*thing{}
	for i := range 600 {
		obj := r.apply(at(fmt.Sprint(i), "u", "1"), "red")
		want[obj.Key] = obj
	}
	got := map[store.Key]*thing{}
	for key, obj := range r.All() {
		got[key] = obj
		r.delete(at(fmt.Sprint(len(got)), "u", "2"))
		r.apply(store.Meta{Key: key, UID: "u", Version: "3"}, "blue")
		r.apply(at("new"+fmt.Sprint(len(got)), "u", "4"), "red")
		if _, err := r.ByIndex("tag", "red"); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(got, want) {
		t.Error("the loop saw its own changes")
	}
}

// TestReaderStuckInIteration checks that readers that never go on hold up
// neither the source nor other readers.
func TestReaderStuckInIteration(t *testing.T) {
	r := newRig(t)
	for i := range 600 {
		r.apply(at(fmt.Sprint(i), "u", "1"), "red")
	}
	release := make(chan struct{})
	var stuck, done sync.WaitGroup
	for range 8 {
		stuck.Add(1)
		done.Go(func() {
			n := 0
			for range r.All() {
				if n++; n == 300 {
					stuck.Done()
					<-release
				}
			}
			if n != 600 {
				t.Errorf("saw %d objects", n)
			}
		})
	}
	stuck.Wait()
	for i := range 600 {
		r.apply(at(fmt.Sprint(i), "u", "2"), "blue")
	}
	r.begin()
	r.commit("3")
	if r.Len() != 0 || len(r.List()) != 0 {
		t.Error("not empty")
	}
	close(release)
	done.Wait()
}

// TestObserverUsesStore checks that the observer runs without a lock: it may
// read, and may wait for others that read or add indexes.
func TestObserverUsesStore(t *testing.T) {
	var s *store.Store[*thing]
	n := 0
	s, err := store.New(store.Config[*thing]{OnChange: func(store.Change[*thing]) {
		n++
		done := make(chan error)
		go func() {
			_, _ = len(s.List()), s.Stats()
			done <- s.AddIndexers(map[string]store.IndexFunc[*thing]{fmt.Sprint(n): namespace})
		}()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Store: s, t: t}
	r.begin()
	r.apply(at("a", "u", "1"))
	r.apply(at("b", "u", "1"))
	r.apply(at("b", "u", "2"))
	r.delete(at("b", "u", "3"))
	r.commit("3")
	r.begin()
	r.commit("4")
	if n != 5 || s.Stats().Indexes != n {
		t.Errorf("%d changes reported, %d indexes", n, s.Stats().Indexes)
	}
}

// TestSnapshotsAreOfOnePointInTime has a writer that gives consecutive numbers
// to a ring of objects, one after the other. At every point in time they have
// consecutive numbers, so a reader that sees a gap saw two points in time.
func TestSnapshotsAreOfOnePointInTime(t *testing.T) {
	const ring, writes, readers = 700, 7000, 3
	s, err := store.New(store.Config[int]{Indexers: map[string]store.IndexFunc[int]{
		"all": func(values []string, _ int) ([]string, error) { return append(values, "all"), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(n int) error {
		return s.Apply(ctx, at(fmt.Sprint(n%ring), "u", fmt.Sprint(n+1)), n)
	}
	for n := range ring {
		if err := write(n); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, numbers []int) {
		slices.Sort(numbers)
		if len(numbers) != ring || numbers[ring-1]-numbers[0] != ring-1 {
			t.Errorf("%s: %d objects from %d to %d", what, len(numbers), numbers[0], numbers[len(numbers)-1])
		}
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for !stop.Load() && !t.Failed() {
				check("List", s.List())
				check("All", slices.Collect(maps.Values(maps.Collect(s.All()))))
				objs, err := s.ByIndex("all", "all")
				if err != nil {
					t.Error(err)
				}
				check("ByIndex", objs)
				var versions []int
				for meta, n := range s.Entries() {
					v, _ := strconv.Atoi(meta.Version)
					if versions = append(versions, v-1); v-1 != n {
						t.Errorf("number %d has the meta of %d", n, v-1)
					}
				}
				check("Entries", versions)
			}
		})
	}
	for n := ring; n < ring+writes; n++ {
		if err := write(n); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestReadersAndWriter has every read run against every write.
func TestReadersAndWriter(t *testing.T) {
	r := newRig(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	reader := func(read func()) {
		wg.Go(func() {
			for !stop.Load() {
				read()
			}
		})
	}
	reader(func() {
		for key, obj := range r.All() {
			if obj.Key != key {
				t.Errorf("%v under %v", obj.Key, key)
			}
			if got, ok := r.Get(key); ok && got.Key != key {
				t.Errorf("Get(%v): %v", key, got.Key)
			}
			if meta, got, ok := r.Entry(key); ok && meta != got.Meta {
				t.Errorf("Entry(%v): %v, %v", key, meta, got.Meta)
			}
		}
	})
	reader(func() {
		values, err := r.IndexValues("tag")
		if err != nil {
			t.Error(err)
		}
		for _, v := range values {
			objs, err := r.ByIndex("tag", v)
			for _, obj := range objs {
				if !slices.Contains(obj.Tags, v) {
					t.Errorf("%v under %q", obj.Tags, v)
				}
			}
			if _, err2 := r.IndexKeys("tag", v); err != nil || err2 != nil {
				t.Error(err, err2)
			}
		}
	})
	reader(func() { _, _, _ = r.Len(), r.Version(), r.Stats() })
	wg.Go(func() {
		for i := range 5 {
			if err := r.AddIndexers(map[string]store.IndexFunc[*thing]{fmt.Sprint(i): tags}); err != nil {
				t.Error(err)
			}
		}
	})

	const n = 300
	version := 0
	for pass := range 5 {
		r.begin()
		for i := range n {
			switch meta := at(fmt.Sprint(i), "u", fmt.Sprint(pass)); {
			case i%5 == pass: // missing
			case i%3 == 0 && r.Holds(meta):
			default:
				r.apply(meta, fmt.Sprint("tag", i%7), fmt.Sprint("tag", pass))
			}
		}
		r.commit(fmt.Sprint(pass))
		for i := range n {
			version++
			meta := at(fmt.Sprint(i), "u", fmt.Sprint(100+version))
			if i%4 == 0 {
				r.delete(meta)
			} else {
				r.apply(meta, fmt.Sprint("tag", i%11))
			}
		}
	}
	stop.Store(true)
	wg.Wait()

	replayed := map[store.Key]*thing{}
	for _, c := range r.changes {
		if replayed[c.Meta.Key] != c.Old {
			t.Fatalf("%s %v does not follow the changes before", c.Kind, c.Meta)
		}
		if c.Kind == store.Deleted {
			delete(replayed, c.Meta.Key)
		} else {
			replayed[c.Meta.Key] = c.New
		}
	}
	if !maps.Equal(replayed, maps.Collect(r.All())) {
		t.Error("the changes do not make up the content")
	}
	for i := range 5 {
		if got, want := r.values(fmt.Sprint(i)), r.values("tag"); got != want {
			t.Errorf("an index that was added meanwhile has %s, want %s", got, want)
		}
	}
}
