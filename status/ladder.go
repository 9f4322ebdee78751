// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// tracked is an object that a watch follows.
type tracked struct {
	id        ID
	own       ladder
	children  map[schema.GroupKind]*ladder // by kind, of direct and indirect children
	namespace string                       // of the children; empty: all namespaces
	owners    map[string]struct{}          // UIDs of the object and of its children
	seen      map[place]struct{}           // the places of its children

	// Guarded by the mutex of the watch.
	backlog          *backlog // of the scope that it is read from; nil before the first read
	awaited          bool     // it has no status yet
	newest           *update  // of the updates to be reported; nil: there is none
	dirty, removed   bool
	latest, reported ObjectStatus
	recheck          *time.Timer
}

// ladder holds the scopes in which something can be read, the best first. If one is
// denied the next is tried as well. The first that is not denied is read, and those
// below are released.
type ladder struct {
	rungs []scope
	tried int
}

// read returns the store to read r from, with its trouble if it has one. Without a
// store it returns the trouble of the last scope that was tried.
func (w *Watch) read(t *tracked, r *ladder) (resource.Store[*unstructured.Unstructured], trouble) {
	for {
		var last trouble
		for i, s := range r.rungs[:r.tried] {
			l := w.leases[s]
			last = l.source.health.now()
			w.mu.Lock()
			st := l.store
			w.mu.Unlock()
			if st != nil && !last.denied() {
				w.retreat(t, r, i+1)
				return st, last
			}
		}
		if !last.denied() || r.tried == len(r.rungs) {
			return nil, last
		}
		if err := w.advance(t, r); err != nil {
			return nil, trouble{cause: last.cause, err: err, since: last.since}
		}
	}
}

// reading returns the lease that read has chosen.
func (w *Watch) reading(r *ladder) *lease { return w.leases[r.rungs[r.tried-1]] }

// advance tries the next scope of r.
func (w *Watch) advance(t *tracked, r *ladder) error {
	if err := w.lease(t, r.rungs[r.tried], r == &t.own); err != nil {
		return err
	}
	r.tried++
	return nil
}

// retreat releases all except the first n scopes of r.
func (w *Watch) retreat(t *tracked, r *ladder, n int) {
	for ; r.tried > n; r.tried-- {
		w.unlease(t, r.rungs[r.tried-1], r == &t.own)
	}
}

// follow begins to read t and its children.
func (w *Watch) follow(t *tracked) {
	rules := w.engine.cfg.Rules
	t.own.rungs = w.rungs(t.id)
	t.children = map[schema.GroupKind]*ladder{}
	for next := rules.Children(t.id.GroupKind); len(next) > 0; next = next[1:] {
		if kind := next[0]; t.children[kind] == nil {
			t.children[kind] = &ladder{}
			next = append(next[:len(next):len(next)], rules.Children(kind)...)
		}
	}
	t.owners, t.seen = map[string]struct{}{}, map[place]struct{}{}
	w.mu.Lock()
	for _, key := range t.keys() {
		add(w.byKey, place{t.id.GroupKind, key}, t)
	}
	w.mark(t)
	w.mu.Unlock()
	if err := w.advance(t, &t.own); err != nil {
		w.cancel(err) // the engine stops
		return
	}
	w.followChildren(t, t.id.Namespace)
}

// followChildren begins to read the children of t in a namespace, and stops reading
// them elsewhere.
func (w *Watch) followChildren(t *tracked, namespace string) {
	t.namespace = namespace
	for kind, r := range t.children {
		w.retreat(t, r, 0)
		r.rungs = w.rungsOfAll(kind, ID{Namespace: namespace, GroupKind: t.id.GroupKind})
		if err := w.advance(t, r); err != nil {
			w.cancel(err) // the engine stops
			return
		}
	}
}

// forget releases everything that t uses.
func (w *Watch) forget(t *tracked) {
	w.retreat(t, &t.own, 0)
	for _, r := range t.children {
		w.retreat(t, r, 0)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.backlog != nil {
		w.drop(t.backlog)
	}
	for _, key := range t.keys() {
		remove(w.byKey, place{t.id.GroupKind, key}, t)
	}
	for uid := range t.owners {
		remove(w.byOwner, uid, t)
	}
	for at := range t.seen {
		remove(w.byKey, at, t)
	}
	if t.recheck != nil {
		t.recheck.Stop()
	}
}

// keys returns the keys that the object can have: that of the ID, and that without the
// namespace, in case the kind is cluster-scoped.
func (t *tracked) keys() []store.Key {
	if t.id.Namespace == "" {
		return []store.Key{t.id.Key()}
	}
	return []store.Key{t.id.Key(), {Name: t.id.Name}}
}

// has reports whether key is one of the keys.
func (t *tracked) has(key store.Key) bool {
	return key.Name == t.id.Name && (key.Namespace == t.id.Namespace || key.Namespace == "")
}

// rungs returns the scopes in which an object can be read, the best first.
func (w *Watch) rungs(id ID) []scope {
	cfg, of := &w.engine.cfg, w.counts[id.GroupKind]
	var rungs []scope
	switch {
	case id.Namespace == "":
		if of[""] > cfg.Few {
			rungs = append(rungs, scope{kind: id.GroupKind})
		}
	default:
		if cfg.Wide >= 0 && len(of) > cfg.Wide {
			rungs = append(rungs, scope{kind: id.GroupKind})
		}
		if of[id.Namespace] > cfg.Few {
			rungs = append(rungs, scope{kind: id.GroupKind, namespace: id.Namespace})
		}
	}
	one := scope{kind: id.GroupKind, namespace: id.Namespace, name: id.Name}
	byGet := one
	byGet.get = true
	return append(rungs, one, byGet)
}

// rungsOfAll returns the scopes in which the children of an owner can be read.
func (w *Watch) rungsOfAll(kind schema.GroupKind, owner ID) []scope {
	cfg, of := &w.engine.cfg, w.counts[owner.GroupKind]
	here := scope{kind: kind, namespace: owner.Namespace}
	if owner.Namespace != "" && cfg.Wide >= 0 && len(of) > cfg.Wide {
		return []scope{{kind: kind}, here}
	}
	return []scope{here}
}

func add[K comparable](m map[K]map[*tracked]struct{}, k K, t *tracked) {
	if m[k] == nil {
		m[k] = map[*tracked]struct{}{}
	}
	m[k][t] = struct{}{}
}

func remove[K comparable](m map[K]map[*tracked]struct{}, k K, t *tracked) {
	delete(m[k], t)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}
