// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

// Indexers returns the index functions by the names of the indexes. The map is
// the caller's.
func (s *Store[T]) Indexers() Indexers[T] {
	s.rlock()
	defer s.mu.RUnlock()
	indexers := make(Indexers[T], len(s.byName))
	for name, ix := range s.byName {
		indexers[name] = ix.fn
	}
	return indexers
}

// lookup asks an index for what it has under any of some values.
type lookup struct {
	index  string
	values []string
}

// narrowest returns what that of lookups finds which finds least, at one point in
// time: a snapshot for each value that has objects. It passes over indexes that
// are not there. Without any lookup it returns all objects.
func (s *Store[T]) narrowest(lookups []lookup) []snapshot[*Record[T]] {
	s.rlock()
	defer s.mu.RUnlock()
	var best *lookup
	fewest := 0
	for i, l := range lookups {
		n, ok := s.count(l)
		if ok && (best == nil || n < fewest) {
			best, fewest = &lookups[i], n
		}
	}
	if best == nil {
		return []snapshot[*Record[T]]{s.records.snapshot()}
	}
	var found []snapshot[*Record[T]]
	for _, value := range best.values {
		if b := s.byName[best.index].buckets[value]; b != nil {
			found = append(found, b.records.snapshot())
		}
	}
	return found
}

// count returns how many objects l finds, and whether there is such an index. The
// caller holds a lock.
func (s *Store[T]) count(l lookup) (n int, ok bool) {
	ix := s.byName[l.index]
	if ix == nil {
		return 0, false
	}
	for _, value := range l.values {
		if b := ix.buckets[value]; b != nil {
			n += b.records.len()
		}
	}
	return n, true
}
