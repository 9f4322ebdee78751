// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"iter"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

// everyRecord is what records is asked for if all of them are wanted.
func everyRecord(*versionBucket, versionRecord) bool { return true }

// metas yields the records that wanted is true of.
func (s *ResourceVersions) metas(wanted func(*versionBucket, versionRecord) bool) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		var uid types.UID
		var version string
		for key := range s.records(wanted, func(r versionRecord) { uid, version = r.state() }) {
			if !yield(store.Meta{Key: key, UID: uid, Version: version}, nil) {
				return
			}
		}
	}
}

// records yields the keys of the records that wanted is true of. Before each,
// read is called with the record. Both are called with the lock held.
//
// It goes through the hashes. Whatever becomes of the buckets meanwhile, the hash
// of a key stays the same, and so no key is left out and none comes twice. Of one
// bucket at a time it copies the keys, and then looks for each again.
func (s *ResourceVersions) records(wanted func(*versionBucket, versionRecord) bool, read func(versionRecord)) iter.Seq[store.Key] {
	return func(yield func(store.Key) bool) {
		var keys []byte
		for hash := uint64(0); ; {
			keys, hash = s.collect(keys[:0], hash, wanted)
			for rest := keys; len(rest) > 0; {
				var namespace, name []byte
				namespace, rest = cutText(rest)
				name, rest = cutText(rest)
				key := store.Key{Namespace: string(namespace), Name: string(name)}
				if s.read(&key, wanted, read) && !yield(key) {
					return
				}
			}
			if hash == 0 {
				return
			}
		}
	}
}

func (s *ResourceVersions) collect(keys []byte, from uint64, wanted func(*versionBucket, versionRecord) bool) (_ []byte, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.collect(keys, from, wanted)
}

// read calls read with the record of key, if there is one and it is wanted.
func (s *ResourceVersions) read(key *store.Key, wanted func(*versionBucket, versionRecord) bool, read func(versionRecord)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, b := s.table.get(*key)
	if r == nil || !wanted(b, r) {
		return false
	}
	key.Namespace = s.table.keys.namespaceOf(r) // the namespaces of all keys are one string
	read(r)
	return true
}
