// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// node is a key of the collection, or a tombstone: a deleted key that a subscriber still
// has a slot for. The store keeps the id as the tag of the record.
type node[T runtime.Object] struct {
	rec  *store.Record[T] // the current or last state; nil: the node is unused
	refs int32            // slots without a state
	gone bool
}

// current returns the state of the key, nil if it is not in the collection.
func (n *node[T]) current() *store.Record[T] {
	if n.gone {
		return nil
	}
	return n.rec
}

// allocID returns an id for a key that is new to the store.
func (h *hub[T]) allocID(key store.Key) int32 {
	if id, ok := h.tombstones[key]; ok {
		delete(h.tombstones, key)
		return id
	}
	if last := len(h.free) - 1; last >= 0 {
		id := h.free[last]
		h.free = h.free[:last]
		return id
	}
	h.nodes = append(h.nodes, node[T]{})
	h.size.Store(int32(len(h.nodes)))
	return int32(len(h.nodes) - 1)
}

// release takes back a reference to an id. The caller holds the mutex.
func (h *hub[T]) release(id int32) {
	h.nodes[id].refs--
	h.freeUnused(id)
}

// releaseAll is release for several ids, without the mutex.
func (h *hub[T]) releaseAll(ids []int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		h.release(id)
	}
}

// freeUnused frees the id of a tombstone without references.
func (h *hub[T]) freeUnused(id int32) {
	n := &h.nodes[id]
	if n.gone && n.refs == 0 {
		delete(h.tombstones, n.rec.Key())
		*n = node[T]{}
		h.free = append(h.free, id)
	}
}
