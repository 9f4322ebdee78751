// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// NewSmallResourceVersions returns a storage whose buckets are full with so many
// records.
func NewSmallResourceVersions(full int) *ResourceVersions {
	return &ResourceVersions{table: newVersionTable(maphash.MakeSeed(), full)}
}

// Check says what is wrong with the structure of the storage.
func (s *ResourceVersions) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.table
	if len(t.directory) != 1<<t.depth {
		return fmt.Errorf("%d entries for %d bits", len(t.directory), t.depth)
	}
	n, records := 0, map[uint32]int{}
	for i := 0; i < len(t.directory); {
		b := t.directory[i]
		if b.depth > t.depth {
			return fmt.Errorf("a bucket of %d bits in a directory of %d", b.depth, t.depth)
		}
		width := 1 << (t.depth - b.depth)
		for range width {
			if t.directory[i] != b {
				return fmt.Errorf("entry %d: another bucket in the middle of one of %d bits", i, b.depth)
			}
			i++
		}
		for _, r := range b.pages.all() {
			namespace, _, _ := r.key()
			records[namespace]++
			if t.bucket(t.keys.hashOf(r)) != b {
				return fmt.Errorf("a record in the wrong bucket: %q", r)
			}
		}
		if err := b.check(t); err != nil {
			return err
		}
		n += b.n
	}
	if n != t.n {
		return fmt.Errorf("%d records, and %d counted", n, t.n)
	}
	return t.keys.check(records)
}

func (b *versionBucket) check(t *versionTable) error {
	taken, n, bytes, live := 0, 0, 0, 0
	for _, slot := range b.slots {
		if slot != 0 {
			taken++
		}
	}
	for at, r := range b.pages.all() {
		n++
		live += len(r)
		if found := b.find(&t.keys, t.keyOf(r), t.keys.hashOf(r)); found < 0 || uint32(at)+1 != b.slots[found]&(1<<placeBits-1) {
			return fmt.Errorf("a record that is not found: %q", r)
		}
	}
	for _, page := range b.pages.list {
		bytes += len(page)
	}
	switch {
	case n != b.n || n != taken:
		return fmt.Errorf("%d records, %d counted, %d slots taken", n, b.n, taken)
	case n > t.full || len(b.pages.list) > maxPages:
		return fmt.Errorf("%d records on %d pages in one bucket", n, len(b.pages.list))
	case n > len(b.slots)*2/3:
		return fmt.Errorf("%d records in %d slots", n, len(b.slots))
	case bytes != b.pages.bytes || bytes-live != b.pages.holes:
		return fmt.Errorf("%d bytes, %d live, and %d with %d of holes counted", bytes, live, b.pages.bytes, b.pages.holes)
	case b.pages.holes > bytes/4:
		return fmt.Errorf("%d bytes of holes in %d", b.pages.holes, bytes)
	}
	return nil
}

func (t *versionTable) keyOf(r versionRecord) store.Key {
	_, name, _ := r.key()
	return store.Key{Namespace: t.keys.namespaceOf(r), Name: string(name)}
}

func (k *versionKeys) check(records map[uint32]int) error {
	for id, ns := range k.namespaces {
		if number, ok := k.numbers[ns.name]; ns.records != records[uint32(id)] || ns.records > 0 && (!ok || number != uint32(id)) {
			return fmt.Errorf("namespace %q has number %d and %d records, and %d are counted", ns.name, id, records[uint32(id)], ns.records)
		}
	}
	if len(k.numbers) != len(records) || len(k.namespaces) != len(records)+len(k.free) {
		return fmt.Errorf("%d namespaces, %d names, %d numbers, %d of them free", len(records), len(k.numbers), len(k.namespaces), len(k.free))
	}
	if k.most >= 16 && len(k.numbers) <= k.most/4 {
		return errors.New("the memory of namespaces that are gone was not given up")
	}
	return nil
}

// TestVersionPagesLimit: there is a bound to the pages of a bucket as well, for
// records of any length.
func TestVersionPagesLimit(t *testing.T) {
	s := NewResourceVersionStorage()
	meta := func(i int) store.Meta {
		return store.Meta{Key: store.Key{Name: strings.Repeat("x", i%2*pageSize) + fmt.Sprint(i)}, Version: "1"}
	}
	const n = bucketRecords
	for i := range n {
		if err := s.Set(meta(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if len(s.table.directory) < 2 {
		t.Error("one bucket for all")
	}
	for i := range n {
		if got, ok, _ := s.Get(meta(i).Key); !ok || got != meta(i) {
			t.Fatalf("record %d is %t", i, ok)
		}
	}
}

// TestVersionPagesOfHoles: if it is holes that have the pages, it takes no split
// to get rid of them.
func TestVersionPagesOfHoles(t *testing.T) {
	s := NewResourceVersionStorage()
	large := store.Meta{Key: store.Key{Name: "large"}, Version: strings.Repeat("x", 2*maxPages*pageSize)}
	if err := s.Set(large, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxPages {
		small := store.Meta{Key: store.Key{Name: strings.Repeat("x", pageSize/2) + fmt.Sprint(i)}}
		if err := s.Set(small, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(small.Key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if len(s.table.directory) > 1 {
		t.Errorf("%d buckets for one record", len(s.table.directory))
	}
	if got, ok, _ := s.Get(large.Key); !ok || got != large {
		t.Error("the large one is gone")
	}
}

// TestVersionHashSpreads: keys that share their names, or have the names of their
// namespaces, are spread all the same.
func TestVersionHashSpreads(t *testing.T) {
	const n = 20_000
	for name, key := range map[string]func(i int) store.Key{
		"names":               func(i int) store.Key { return store.Key{Name: fmt.Sprint(i)} },
		"one per namespace":   func(i int) store.Key { return store.Key{Name: "default", Namespace: fmt.Sprint(i)} },
		"as the namespace":    func(i int) store.Key { return store.Key{Name: fmt.Sprint(i), Namespace: fmt.Sprint(i)} },
		"some per namespaces": func(i int) store.Key { return store.Key{Name: fmt.Sprint(i % 200), Namespace: fmt.Sprint(i / 200)} },
	} {
		keys := versionKeys{seed: maphash.MakeSeed()}
		var high, tags, low, both [256]int
		for i := range n {
			hash := keys.hash(key(i))
			high[hash>>56]++
			tags[tagOf(hash)]++
			low[byte(hash>>24)]++
			both[hash>>60<<4|hash>>28&0xf]++
		}
		for _, counts := range [][256]int{high, tags, low, both} {
			for _, count := range counts {
				if count < n/256/3 || count > n/256*3 {
					t.Fatalf("%s: %v", name, counts)
				}
			}
		}
	}
}
