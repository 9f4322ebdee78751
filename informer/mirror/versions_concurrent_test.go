// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"fmt"
	"iter"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// visits of a loop over a storage.
type visits map[store.Key]int

// each wants that all those keys came once, and no other more than once.
func (v visits) each(t *testing.T, keys map[store.Key]store.Meta) {
	t.Helper()
	for key, n := range v {
		if n > 1 {
			t.Errorf("%v came %d times", key, n)
		}
	}
	for key := range keys {
		if v[key] != 1 {
			t.Errorf("%v, which was recorded throughout, came %d times", key, v[key])
		}
	}
}

// loops are the ways to go through a storage.
var loops = map[string]func(*mirror.ResourceVersions) iter.Seq[store.Meta]{
	"All":      func(s *mirror.ResourceVersions) iter.Seq[store.Meta] { return metasOf(s.All()) },
	"Unmarked": func(s *mirror.ResourceVersions) iter.Seq[store.Meta] { return metasOf(s.Unmarked()) },
	"Keys": func(s *mirror.ResourceVersions) iter.Seq[store.Meta] {
		return func(yield func(store.Meta) bool) {
			for key := range s.Keys() {
				if meta, ok, _ := s.Get(key); !ok || !yield(meta) {
					return
				}
			}
		}
	},
}

func metasOf(seq iter.Seq2[store.Meta, error]) iter.Seq[store.Meta] {
	return func(yield func(store.Meta) bool) {
		for meta, err := range seq {
			if err != nil {
				panic(err)
			}
			if !yield(meta) {
				return
			}
		}
	}
}

// TestResourceVersionsWithinLoop changes the storage from within a loop: buckets
// are split, records move, namespaces go and their numbers are given to others.
func TestResourceVersionsWithinLoop(t *testing.T) {
	for name, loop := range loops {
		t.Run(name, func(t *testing.T) {
			s := mirror.NewSmallResourceVersions(8)
			m := newVersionsModel()
			set := func(meta store.Meta) {
				m.set(meta, 0)
				if err := s.Set(meta, 0); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 400 {
				set(poolMeta(i, "u", "1"))
			}
			throughout := maps.Clone(m.metas)
			seen := visits{}
			n := 0
			for meta := range loop(s) {
				if seen[meta.Key]++; meta != m.metas[meta.Key] {
					t.Fatalf("got %#v, want %#v", meta, m.metas[meta.Key])
				}
				set(poolMeta(n, "u", "a longer one "+strconv.Itoa(n)))
				delete(throughout, poolMeta(n+200, "", "").Key)
				m.delete(poolMeta(n+200, "", "").Key)
				if err := s.Delete(poolMeta(n+200, "", "").Key); err != nil {
					t.Fatal(err)
				}
				set(store.Meta{Key: store.Key{Namespace: "new" + strconv.Itoa(n), Name: "name-1"}})
				for range s.Keys() {
					break
				}
				n++
			}
			seen.each(t, throughout)
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestResourceVersionsReplacedWithinLoop: even when everything is replaced no key
// comes twice.
func TestResourceVersionsReplacedWithinLoop(t *testing.T) {
	for name, loop := range loops {
		t.Run(name, func(t *testing.T) {
			s := mirror.NewSmallResourceVersions(8)
			replace := func(n int) {
				if err := s.Replace(manyMetas(n, 0)); err != nil {
					t.Fatal(err)
				}
			}
			replace(400)
			seen := visits{}
			for meta := range loop(s) {
				seen[meta.Key]++
				switch len(seen) {
				case 100:
					replace(50)
				case 105:
					replace(600)
				}
			}
			seen.each(t, nil)
			if len(seen) < 200 {
				t.Errorf("the loop ended after %d", len(seen))
			}
		})
	}
}

// TestResourceVersionsReplacedByItself: what Replace is given may be taken from
// the storage.
func TestResourceVersionsReplacedByItself(t *testing.T) {
	s := mirror.NewSmallResourceVersions(8)
	if err := s.Replace(manyMetas(100, 0)); err != nil {
		t.Fatal(err)
	}
	pass, _ := s.Begin()
	for meta := range manyMetas(50, 0) {
		if err := s.Set(meta, pass); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Replace(metasOf(s.Unmarked())); err != nil {
		t.Fatal(err)
	}
	unmarked := visits{}
	for meta := range metasOf(s.Unmarked()) {
		unmarked[meta.Key]++
	}
	if s.Len() != 50 || len(unmarked) != 50 {
		t.Errorf("%d records, %d unmarked, want 50", s.Len(), len(unmarked))
	}
}

// TestResourceVersionsMarkedWithinLoop: what is marked before its turn is not
// yielded by Unmarked.
func TestResourceVersionsMarkedWithinLoop(t *testing.T) {
	s := mirror.NewResourceVersionStorage()
	metas := map[store.Key]store.Meta{}
	for i := range 100 {
		meta := poolMeta(i, "u", "1")
		metas[meta.Key] = meta
		_ = s.Set(meta, 0)
	}
	n := 0
	for range s.Unmarked() {
		n++
		for _, meta := range metas {
			if held, err := s.Mark(meta); !held || err != nil {
				t.Fatalf("Mark(%v) = %t, %v", meta, held, err)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d were yielded, want 1", n)
	}
}

// TestResourceVersionsConcurrent writes from several goroutines, each to keys of
// its own, while others go through the storage. Some keys are left alone, and each
// loop has to find those.
func TestResourceVersionsConcurrent(t *testing.T) {
	const (
		writers = 4
		keys    = 200
		rounds  = 20
	)
	s := mirror.NewSmallResourceVersions(16)
	throughout := map[store.Key]store.Meta{}
	for i := range keys {
		meta := store.Meta{Key: store.Key{Namespace: "stays", Name: strconv.Itoa(i)}, UID: "u", Version: "1"}
		throughout[meta.Key] = meta
		if err := s.Set(meta, 0); err != nil {
			t.Fatal(err)
		}
	}
	var pass atomic.Uint64
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for round := range rounds {
				for i := range keys {
					meta := store.Meta{
						Key:     store.Key{Namespace: fmt.Sprintf("ns-%d-%d", w, i%10), Name: strconv.Itoa(i)},
						UID:     oddUIDs[(i+round)%len(oddUIDs)],
						Version: oddVersions[(i+round)%len(oddVersions)],
					}
					if err := s.Set(meta, pass.Load()); err != nil {
						t.Error(err)
					}
					if got, ok, err := s.Get(meta.Key); got != meta || !ok || err != nil {
						t.Errorf("got %#v, %t, %v, want %#v", got, ok, err, meta)
					}
					if round%3 < 2 {
						if err := s.Delete(meta.Key); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	var done atomic.Bool
	for _, loop := range loops {
		reading.Go(func() {
			for last := false; !last; {
				last = done.Load()
				seen := visits{}
				for meta := range loop(s) {
					seen[meta.Key]++
				}
				for key, n := range seen {
					if n > 1 {
						t.Errorf("%v came %d times", key, n)
					}
				}
			}
		})
	}
	reading.Go(func() {
		for !done.Load() {
			n, err := s.Begin()
			if err != nil {
				t.Error(err)
			}
			pass.Store(n)
			for _, meta := range throughout {
				if held, err := s.Mark(meta); !held || err != nil {
					t.Errorf("Mark(%v) = %t, %v", meta, held, err)
				}
			}
			for meta := range metasOf(s.Unmarked()) {
				if _, ok := throughout[meta.Key]; ok {
					t.Errorf("%v is not marked", meta)
				}
			}
			all := visits{}
			for meta := range metasOf(s.All()) {
				all[meta.Key]++
			}
			all.each(t, throughout)
		}
	})
	writing.Wait()
	done.Store(true)
	reading.Wait()
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}
