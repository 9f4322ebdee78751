// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

// Indexers returns the index functions by name. The caller owns the map.
func (s *Store[T]) Indexers() Indexers[T] {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	indexers := make(Indexers[T], len(s.indexes))
	for _, ix := range s.indexes {
		indexers[ix.name] = ix.fn
	}
	return indexers
}

// lookup is a search in an index for any of some values.
type lookup struct {
	index  string
	values []string
}

// narrowest returns the result of the lookup that finds the fewest objects, at one point
// in time: a snapshot for each value that has objects. It skips lookups in missing indexes.
// Without lookups it returns all objects.
func (s *Store[T]) narrowest(lookups []lookup) []cow[*Record[T]] {
	rlock(&s.mu)
	defer s.mu.RUnlock()
	s.share()
	var best *lookup
	fewest := 0
	for i, l := range lookups {
		n, ok := s.count(l)
		if ok && (best == nil || n < fewest) {
			best, fewest = &lookups[i], n
		}
	}
	if best == nil {
		return []cow[*Record[T]]{s.records}
	}
	var found []cow[*Record[T]]
	ix := s.named(best.index)
	for _, value := range best.values {
		if b := ix.find(&ix.buckets, value); b != nil {
			found = append(found, b.records)
		}
	}
	return found
}

// count returns the number of objects that l finds, and whether its index exists. The
// caller holds a lock.
func (s *Store[T]) count(l lookup) (n int, ok bool) {
	ix := s.named(l.index)
	if ix == nil {
		return 0, false
	}
	for _, value := range l.values {
		if b := ix.find(&ix.buckets, value); b != nil {
			n += b.records.len()
		}
	}
	return n, true
}

// distinct returns the objects of found, each once. If match is not nil, it returns only
// those for which match returns true.
func distinct[T any](found []cow[*Record[T]], match func(T) bool) []T {
	list := []T{}
	seen := map[*Record[T]]struct{}{}
	for _, records := range found {
		for rec := range records.all() {
			if _, again := seen[rec]; again {
				continue
			}
			if len(found) > 1 {
				seen[rec] = struct{}{}
			}
			if match == nil || match(rec.obj) {
				list = append(list, rec.obj)
			}
		}
	}
	return list
}
