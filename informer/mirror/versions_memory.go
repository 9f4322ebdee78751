// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"fmt"
	"hash/maphash"
	"iter"
	"sync"

	"github.com/apiary-go/apiary/store"
)

// ResourceVersions is the [ResourceVersionStorage] in memory. A record retains about 76
// bytes for a pod (test/bench), the text of its name included. This holds if the version
// is a decimal number and the UID a UUID in lower case. Other texts take their length.
// The storage grows without copying itself, and shrinks when keys are deleted.
//
// All methods can be called at any time from any goroutine. No lock is held during the
// loops over All, Unmarked and Keys. They yield each record at most once, in its state
// at that time. Only Set and Replace return errors.
type ResourceVersions struct {
	mu         sync.Mutex
	table      versionTable
	generation uint64 // the pass that Begin returned last
}

var _ ResourceVersionStorage = (*ResourceVersions)(nil)

// NewResourceVersionStorage returns an empty storage in memory.
func NewResourceVersionStorage() *ResourceVersions {
	return &ResourceVersions{table: newVersionTable(maphash.MakeSeed(), bucketRecords)}
}

// Get implements [ResourceVersionStorage].
func (s *ResourceVersions) Get(key store.Key) (held store.Meta, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, _ := s.table.get(key)
	if r == nil {
		return store.Meta{}, false, nil
	}
	held.Key = key
	held.UID, held.Version = r.state()
	return held, true, nil
}

// Set implements [ResourceVersionStorage]. It fails if the key has no name.
func (s *ResourceVersions) Set(meta store.Meta, pass uint64) error {
	if err := checkName(meta); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.set(meta, pass != 0 && pass == s.generation, s.generation)
	return nil
}

func checkName(meta store.Meta) error {
	if meta.Key.Name == "" {
		return fmt.Errorf("resource versions: a record without a name (namespace %q, UID %q, version %q): fill in Meta.Key, as store.MetaOf does",
			meta.Key.Namespace, meta.UID, meta.Version)
	}
	return nil
}

// Delete implements [ResourceVersionStorage].
func (s *ResourceVersions) Delete(key store.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, _, pos := s.table.find(key); pos >= 0 {
		s.table.remove(b, pos)
	}
	return nil
}

// Replace replaces all records by those that versions yields, without marks. It seeds the
// storage from what was saved. It returns an error, and changes nothing, if a Meta has no
// name.
//
// The earlier records stay until versions ends, and versions can read them. A record that
// is set meanwhile is lost.
func (s *ResourceVersions) Replace(versions iter.Seq[store.Meta]) error {
	s.mu.Lock()
	seed, full := s.table.keys.seed, s.table.full
	s.mu.Unlock()
	table := newVersionTable(seed, full)
	for meta := range versions {
		if err := checkName(meta); err != nil {
			return err
		}
		table.set(meta, false, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = table
	return nil
}

// Begin implements [ResourceVersionStorage].
func (s *ResourceVersions) Begin() (pass uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	return s.generation, nil
}

// Mark implements [ResourceVersionStorage].
func (s *ResourceVersions) Mark(meta store.Meta) (held bool, err error) {
	state := packState(meta.UID, meta.Version)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, b := s.table.get(meta.Key)
	if r == nil {
		return false, nil
	}
	b.mark(r, s.generation)
	return meta.Version != "" && state.is(r), nil
}

// Marked implements [ResourceVersionStorage].
func (s *ResourceVersions) Marked(key store.Key) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, b := s.table.get(key)
	return r != nil && b.marked(r, s.generation), nil
}

// Len implements [ResourceVersionStorage].
func (s *ResourceVersions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.n
}

// Unmarked implements [ResourceVersionStorage].
func (s *ResourceVersions) Unmarked() iter.Seq2[store.Meta, error] {
	return s.metas(func(b *versionBucket, r versionRecord) bool {
		return !b.marked(r, s.generation)
	})
}

// All implements [ResourceVersionStorage].
func (s *ResourceVersions) All() iter.Seq2[store.Meta, error] { return s.metas(everyRecord) }

// Keys is like All, with the keys alone.
func (s *ResourceVersions) Keys() iter.Seq[store.Key] {
	return func(yield func(store.Key) bool) {
		for key := range s.records(everyRecord, func(versionRecord) {}) {
			if !yield(key) {
				return
			}
		}
	}
}
