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

// ResourceVersions is the [ResourceVersionStorage] in memory. A record takes about
// 40 bytes and the length of the name, if the version is a decimal number and the
// UID a UUID in lower case; what they are else is kept as well, and takes its
// length. It grows evenly, without copying itself, and becomes smaller when keys
// are deleted.
//
// All methods may be called at any time from any goroutine. No lock is held
// during the loops over All, Unmarked and Keys, which yield each record as it is
// at that time, once at most. Nothing but Set and Replace returns an error.
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

// Replace forgets everything and records what versions yields, none of it
// marked. It is meant for the beginning, to give the storage what was saved of an
// earlier one. An error says that a Meta has no name, and then nothing is changed.
//
// What was there is there until versions ends, beside the new, and may be read by
// it; what is recorded meanwhile is forgotten too.
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
