// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/store"
)

// Watch follows the statuses of a set of objects. Its methods can be called from any
// goroutine, Events from one at a time.
type Watch struct {
	engine *Engine
	parent context.Context // of the caller
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{}

	// Owned by the goroutine that evaluates.
	objects       map[*tracked]struct{}
	counts        map[schema.GroupKind]map[string]int // of objects, by kind and namespace
	leases        map[scope]*lease
	subscriptions sync.WaitGroup

	mu       sync.Mutex
	wake     chan struct{} // holds a value if there is something to evaluate
	requests []request     // of Add and Remove
	dirty    []*tracked
	byKey    map[place]map[*tracked]struct{}  // of the objects and of what they control
	byOwner  map[string]map[*tracked]struct{} // by the UID of what controls
	behind   int                              // how many states are in backlogs
	updates  []*update                        // to be reported, in order
	awaited  int                              // how many objects have no status yet
	syncDue  bool                             // Synced is due when awaited is zero
	updated  chan struct{}                    // holds a value if there may be an event
	latest   map[ID]*tracked
}

// place is the kind and key of an object.
type place struct {
	kind schema.GroupKind
	key  store.Key
}

// request holds the objects that the goroutine of the watch is to add and remove.
type request struct {
	add, remove []*tracked
}

// Watch follows the objects with the given IDs until ctx ends, [Watch.Close] is called
// or the engine stops. It does not block. Duplicate IDs count once. It fails if an ID
// has no name or no kind, or if the engine was stopped. Whether a kind is namespaced is
// known after a request only: an ID without its namespace is then Unknown with the
// reason [InvalidID].
func (e *Engine) Watch(ctx context.Context, ids ...ID) (*Watch, error) {
	if err := validate(ids); err != nil {
		return nil, err
	}
	w := &Watch{
		engine:  e,
		parent:  ctx,
		ended:   make(chan struct{}),
		objects: map[*tracked]struct{}{},
		counts:  map[schema.GroupKind]map[string]int{},
		leases:  map[scope]*lease{},
		wake:    make(chan struct{}, 1),
		byKey:   map[place]map[*tracked]struct{}{},
		byOwner: map[string]map[*tracked]struct{}{},
		updated: make(chan struct{}, 1),
		latest:  map[ID]*tracked{},
		syncDue: true,
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.request(ids, nil)
	err := e.begin(func() {
		defer close(w.ended)
		defer context.AfterFunc(e.ctx, func() { w.cancel(ErrStopped) })()
		w.run()
	})
	if err != nil {
		w.cancel(err)
		return nil, err
	}
	return w, nil
}

// errClosed is the cause of the end of a watch or a reader that was closed.
var errClosed = errors.New("closed")

// Close ends the watch and returns when its goroutines have ended. A rule must not call
// it.
func (w *Watch) Close() {
	w.cancel(errClosed)
	<-w.ended
}

// Err returns why the watch ended: the cause of its context, or [ErrStopped]. It is nil
// before the end and after Close.
func (w *Watch) Err() error {
	if err := context.Cause(w.ctx); !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// Add adds objects to the watch. Events reports Synced again when all of them have a
// status. It fails if an ID has no name or no kind, or if the watch has ended. See
// [Engine.Watch] for an ID without its namespace.
func (w *Watch) Add(ids ...ID) error {
	if err := validate(ids); err != nil {
		return err
	}
	return w.request(ids, nil)
}

// Remove removes objects from the watch. There is no event for it, and events of these
// objects that were not received yet are dropped. It fails if the watch has ended.
func (w *Watch) Remove(ids ...ID) error { return w.request(nil, ids) }

func (w *Watch) request(add, remove []ID) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var r request
	for _, id := range add {
		if w.latest[id] == nil {
			t := &tracked{id: id, awaited: true, latest: ObjectStatus{ID: id, Status: Unknown, Reason: NotObserved}}
			w.latest[id] = t
			w.awaited++
			w.syncDue = true
			r.add = append(r.add, t)
		}
	}
	for _, id := range remove {
		if t := w.latest[id]; t != nil {
			delete(w.latest, id)
			t.removed = true
			w.answered(t)
			r.remove = append(r.remove, t)
		}
	}
	if r.remove != nil {
		w.updates = slices.DeleteFunc(w.updates, func(u *update) bool { return u.tracked.removed })
	}
	w.requests = append(w.requests, r)
	signal(w.wake)
	signal(w.updated) // Synced may be due
	return nil
}

// answered notes that Synced does not wait for t any more. The caller holds the mutex.
func (w *Watch) answered(t *tracked) {
	if t.awaited {
		t.awaited = false
		w.awaited--
	}
}

// unanswered reports whether the server has not answered yet.
func (s *ObjectStatus) unanswered() bool {
	return s.Status == Unknown && s.Reason == NotObserved && s.Err == nil
}

// Statuses returns the latest statuses of all objects, ordered by ID. An object that
// was not read yet is Unknown with the reason NotObserved.
func (w *Watch) Statuses() []ObjectStatus {
	w.mu.Lock()
	all := make([]ObjectStatus, 0, len(w.latest))
	for _, t := range w.latest {
		all = append(all, t.latest)
	}
	w.mu.Unlock()
	slices.SortFunc(all, func(a, b ObjectStatus) int { return a.ID.Compare(b.ID) })
	return all
}

// run serves requests and evaluates the marked objects until the watch ends.
func (w *Watch) run() {
	defer w.subscriptions.Wait()
	defer w.endAll()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.wake:
		}
		w.mu.Lock()
		requests, dirty := w.requests, w.dirty
		w.requests, w.dirty = nil, nil
		for _, t := range dirty {
			t.dirty = false
		}
		w.mu.Unlock()
		for _, r := range requests {
			w.serve(r)
		}
		for _, t := range dirty {
			if w.ctx.Err() != nil {
				return
			}
			if _, ok := w.objects[t]; ok {
				w.evaluate(t)
			}
		}
	}
}

// serve adds and removes the objects of a request.
func (w *Watch) serve(r request) {
	for _, t := range r.remove {
		delete(w.objects, t)
		w.count(t.id, -1)
		w.forget(t)
	}
	for _, t := range r.add {
		w.objects[t] = struct{}{}
		w.count(t.id, 1)
	}
	for _, t := range r.add {
		w.follow(t)
	}
}

// count adds by to the objects in w.counts that have the kind and namespace of id.
func (w *Watch) count(id ID, by int) {
	of := w.counts[id.GroupKind]
	if of == nil {
		of = map[string]int{}
		w.counts[id.GroupKind] = of
	}
	if of[id.Namespace] += by; of[id.Namespace] == 0 {
		delete(of, id.Namespace)
	}
}

// endAll stops the timers and ends the leases.
func (w *Watch) endAll() {
	for t := range w.objects {
		if t.recheck != nil {
			t.recheck.Stop()
		}
	}
	for _, l := range w.leases {
		l.end()
	}
}

// mark queues t to be evaluated. The caller holds the mutex.
func (w *Watch) mark(t *tracked) {
	if !t.dirty {
		t.dirty = true
		w.dirty = append(w.dirty, t)
		signal(w.wake)
	}
}

// minRecheck is the least delay of an evaluation that a rule asks for.
const minRecheck = time.Second

// evaluateAt queues t to be evaluated at a time, or a little later. Zero: at no time.
func (w *Watch) evaluateAt(t *tracked, when time.Time) {
	if t.recheck != nil {
		t.recheck.Stop()
		t.recheck = nil
	}
	if when.IsZero() {
		return
	}
	t.recheck = time.AfterFunc(max(time.Until(when), minRecheck), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mark(t)
	})
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the next receiver sees this too
	}
}

func validate(ids []ID) error {
	for _, id := range ids {
		if id.Name == "" || id.GroupKind.Kind == "" {
			return fmt.Errorf("status: the ID %+v has no name or no kind: give both", id)
		}
	}
	return nil
}
