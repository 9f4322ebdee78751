// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// lease is the use of a source by one watch.
type lease struct {
	kind    schema.GroupKind
	source  collection
	release func()
	cancel  context.CancelFunc // of the wait for the first complete state

	// Guarded by the mutex of the watch.
	users    map[*tracked]int                           // objects to evaluate when the health or the sync of the source changes
	backlogs map[*tracked]*backlog                      // of the objects that are themselves in the scope
	store    resource.Store[*unstructured.Unstructured] // nil before the first complete state
}

// lease begins a use of a scope by t: to read t itself, or its children.
func (w *Watch) lease(t *tracked, s scope, own bool) error {
	if l := w.leases[s]; l != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		l.use(t, own)
		return nil
	}
	r, release, err := w.engine.pool.Get(s)
	if err != nil {
		return err
	}
	l := &lease{kind: s.kind, source: r.(collection), release: release, users: map[*tracked]int{}, backlogs: map[*tracked]*backlog{}}
	l.use(t, own)
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(w.ctx)
	w.leases[s] = l
	l.source.health.listen(l, listener{
		changed:  func() { w.changed(l) },
		received: func(c store.Change[*unstructured.Unstructured]) { w.received(l, c) },
	})
	w.subscriptions.Go(func() { w.synced(ctx, l) })
	return nil
}

func (l *lease) use(t *tracked, own bool) {
	l.users[t]++
	if own {
		l.backlogs[t] = &backlog{}
	}
}

// unlease ends a use of a scope by t.
func (w *Watch) unlease(t *tracked, s scope, own bool) {
	l := w.leases[s]
	w.mu.Lock()
	if l.users[t]--; l.users[t] == 0 {
		delete(l.users, t)
	}
	if own {
		if b := l.backlogs[t]; b != t.backlog { // that one is still to be evaluated
			w.drop(b)
		}
		delete(l.backlogs, t)
	}
	unused := len(l.users) == 0
	w.mu.Unlock()
	if unused {
		delete(w.leases, s)
		l.end()
	}
}

// end stops listening to the source and releases it.
func (l *lease) end() {
	l.source.health.unlisten(l)
	l.cancel()
	l.release()
}

// synced waits for the first complete state of the source.
func (w *Watch) synced(ctx context.Context, l *lease) {
	st, err := l.source.Store(ctx)
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
