// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// lease is the use of a source by one watch.
type lease struct {
	source  collection
	release func()
	cancel  context.CancelFunc // of the subscription

	// Guarded by the mutex of the watch.
	users map[*tracked]int                           // objects to evaluate when the health or the sync of the source changes
	store resource.Store[*unstructured.Unstructured] // nil before the first complete state
}

// lease begins a use of a scope by t.
func (w *Watch) lease(t *tracked, s scope) error {
	if l := w.leases[s]; l != nil {
		w.mu.Lock()
		l.users[t]++
		w.mu.Unlock()
		return nil
	}
	r, release, err := w.engine.pool.Get(s)
	if err != nil {
		return err
	}
	l := &lease{source: r.(collection), release: release, users: map[*tracked]int{t: 1}}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(w.ctx)
	w.leases[s] = l
	l.source.health.listen(l, func() { w.changed(l) })
	w.subscriptions.Add(1)
	l.source.Observe(ctx,
		func(ev resource.Event[*unstructured.Unstructured]) {
			defer ev.Done(nil)
			if ev.Kind == resource.Sync {
				w.synced(ctx, l)
			} else {
				w.touched(s, ev.Key, ev.Object)
			}
		},
		func(error) { w.subscriptions.Done() })
	return nil
}

// unlease ends a use of a scope by t.
func (w *Watch) unlease(t *tracked, s scope) {
	l := w.leases[s]
	w.mu.Lock()
	if l.users[t]--; l.users[t] == 0 {
		delete(l.users, t)
	}
	unused := len(l.users) == 0
	w.mu.Unlock()
	if unused {
		delete(w.leases, s)
		l.end()
	}
}

// end ends the subscription and releases the source.
func (l *lease) end() {
	l.source.health.unlisten(l)
	l.cancel()
	l.release()
}

// synced handles the first complete state of the source.
func (w *Watch) synced(ctx context.Context, l *lease) {
	st, err := l.source.Store(ctx) // does not block: the source is synced
	if err != nil {
		return // ctx has ended
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.store = st
	w.markUsers(l)
}

// changed handles a change of the health of a source.
func (w *Watch) changed(l *lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.markUsers(l)
}

func (w *Watch) markUsers(l *lease) {
	for t := range l.users {
		w.mark(t)
	}
}

// touched marks each object whose status can depend on an object that has changed.
func (w *Watch) touched(s scope, key store.Key, obj *unstructured.Unstructured) {
	owner, _ := indexByOwner(obj) // never fails
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := range w.byKey[place{s.kind, key}] {
		w.mark(t)
	}
	for _, uid := range owner {
		for t := range w.byOwner[uid] {
			w.mark(t)
		}
	}
}
