// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// A storage that fails loses nothing and deletes nothing by mistake.
func TestStorageFails(t *testing.T) {
	p := playMirror(t, `
seed a#u@1 gone#x@2
list rv=100 a#u@1 b#v@50
list rv=100 a#u@1 b#v@50
list rv=100 a#u@1 b#v@50
watch
  after 1s
  ~a#u@101
  error 500
watch
  -b#v@102
stop 1m`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Storage = &failingStorage{ResourceVersionStorage: cfg.Storage, left: map[string]int{
			"begin": 1, "mark": 2, "unmarked": 1, "get": 2, "set": 2, "delete": 2,
		}}
	})
	p.wantRecorded(t, "a@101")
	if n := p.count("delete a"); n != 0 {
		t.Errorf("a was deleted: %q", p.calls)
	}
	if p.count("delete gone") == 0 || p.count("update a#u@101") == 0 || p.count("delete b") == 0 {
		t.Errorf("calls %q", p.calls)
	}
	if s := p.stats; !s.Synced || s.Pending != 0 || s.ResumeVersion != "102" {
		t.Errorf("%+v", s)
	}
}

// failingStorage fails so often, by method.
type failingStorage struct {
	mirror.ResourceVersionStorage
	mu   sync.Mutex
	left map[string]int
}

func (s *failingStorage) fail(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left[method] == 0 {
		return nil
	}
	s.left[method]--
	return errors.New("the disk: " + method)
}

func (s *failingStorage) Get(key store.Key) (store.Meta, bool, error) {
	if err := s.fail("get"); err != nil {
		return store.Meta{}, false, err
	}
	return s.ResourceVersionStorage.Get(key)
}

func (s *failingStorage) Set(meta store.Meta, pass uint64) error {
	if err := s.fail("set"); err != nil {
		return err
	}
	return s.ResourceVersionStorage.Set(meta, pass)
}

func (s *failingStorage) Delete(key store.Key) error {
	if err := s.fail("delete"); err != nil {
		return err
	}
	return s.ResourceVersionStorage.Delete(key)
}

func (s *failingStorage) Begin() (uint64, error) {
	if err := s.fail("begin"); err != nil {
		return 0, err
	}
	return s.ResourceVersionStorage.Begin()
}

func (s *failingStorage) Mark(meta store.Meta) (bool, error) {
	if err := s.fail("mark"); err != nil {
		return false, err
	}
	return s.ResourceVersionStorage.Mark(meta)
}

func (s *failingStorage) Unmarked() iter.Seq2[store.Meta, error] {
	if err := s.fail("unmarked"); err != nil {
		return func(yield func(store.Meta, error) bool) { yield(store.Meta{}, err) }
	}
	return s.ResourceVersionStorage.Unmarked()
}

// A pass and the acknowledgement of what it shows may overlap: neither is an object
// deleted that the pass saw while it was being recorded, nor one that was recorded
// in place of what Unmarked has yielded.
func TestMirrorRecordsDuringPass(t *testing.T) {
	p := playMirror(t, `
config nosave
list rv=100 a#u@1
watch
  after 1s
  +b#v@101
list rv=110 a#u@1 b#v@101
watch
resync 5500ms
stop 20s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Storage = &slowStorage{ResourceVersionStorage: cfg.Storage, slow: "101"}
	})
	p.want(t, "add a#u@1 (initial)", "add b#v@101")

	p = playMirror(t, `
config nosave
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
list rv=160 a#u@150
watch
handler slow 3s update a
resync 5500ms
stop 20s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Storage = &slowStorage{ResourceVersionStorage: cfg.Storage}
	})
	p.want(t, "add a#u@1 (initial)", "update a#u@101 was a#u@1", "update a#u@150 was a#u@101")

	// The pass lacks both. A is pending until the sweep waits for room for b.
	p = playMirror(t, `
config nosave pending=1
list rv=100 a#u@1 b#v@2
watch
  after 1s
  ~a#u@101
list rv=160
watch
handler slow 6s update a
resync 5500ms
stop 20s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Storage = &slowStorage{ResourceVersionStorage: cfg.Storage}
	})
	p.want(t, "add a#u@1 (initial)", "add b#v@2 (initial)", "update a#u@101 was a#u@1", "delete a#u@101", "delete b#v@2")
}

// slowStorage takes a second to record one version, and two before and after it
// looks for what is not marked, which it gives in the order of the names.
type slowStorage struct {
	mirror.ResourceVersionStorage
	slow string
}

func (s *slowStorage) Set(meta store.Meta, pass uint64) error {
	err := s.ResourceVersionStorage.Set(meta, pass)
	if meta.Version == s.slow {
		time.Sleep(time.Second)
	}
	return err
}

func (s *slowStorage) Unmarked() iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		time.Sleep(2 * time.Second)
		var metas []store.Meta
		for meta := range s.ResourceVersionStorage.Unmarked() {
			metas = append(metas, meta)
		}
		time.Sleep(2 * time.Second)
		slices.SortFunc(metas, func(a, b store.Meta) int { return strings.Compare(a.Key.Name, b.Key.Name) })
		for _, meta := range metas {
			if !yield(meta, nil) {
				return
			}
		}
	}
}
