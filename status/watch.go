// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/store"
)

// Watch follows the status of a set of objects. Its methods may be called from any
// goroutine, Events by one at a time.
type Watch struct {
	engine *Engine
	parent context.Context // given by the user
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{}

	// Of the goroutine that evaluates.
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
	news     []*tracked                       // to be told, in the order of their first news
	open     int                              // how many objects have no status yet
	round    bool                             // Synced is due when open is zero
	told     chan struct{}                    // holds a value if there are news
	latest   map[ID]*tracked
}

// place is where an object of a kind is.
type place struct {
	kind schema.GroupKind
	key  store.Key
}

// request asks the goroutine of the watch to follow other objects.
type request struct {
	add, remove []*tracked
}

// Watch follows the objects with the given IDs until ctx ends, [Watch.Close] is
// called, or the engine stops. It does not block. IDs given twice count once. It fails
// if an ID has no name or no kind, or if the engine was stopped.
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
		told:    make(chan struct{}, 1),
		latest:  map[ID]*tracked{},
		round:   true,
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

// errClosed is why a watch ended that was closed.
var errClosed = errors.New("closed")

// Close ends the watch, and returns when nothing of it is left. It must not be
// called by a rule.
func (w *Watch) Close() {
	w.cancel(errClosed)
	<-w.ended
}

// Err is nil while the watch goes on and after Close, and otherwise why it ended: the
// cause of its context, or [ErrStopped].
func (w *Watch) Err() error {
	if err := context.Cause(w.ctx); !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// Add has the watch follow further objects. Events tells Synced once more when all
// of them have a status. It fails as [Engine.Watch] does.
func (w *Watch) Add(ids ...ID) error {
	if err := validate(ids); err != nil {
		return err
	}
	return w.request(ids, nil)
}

// Remove has the watch forget objects. No event tells of it; one that is yet to be
// received is dropped.
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
			t := &tracked{id: id, open: true, latest: ObjectStatus{ID: id, Status: Unknown, Reason: NotObserved}}
			w.latest[id] = t
			w.open++
			w.round = true
			r.add = append(r.add, t)
		}
	}
	for _, id := range remove {
		if t := w.latest[id]; t != nil {
			delete(w.latest, id)
			t.gone = true
			w.answered(t)
			r.remove = append(r.remove, t)
		}
	}
	w.requests = append(w.requests, r)
	signal(w.wake)
	signal(w.told) // Synced may be due
	return nil
}

// answered notes that Synced does not wait for t any more. It is called with the mutex
// held.
func (w *Watch) answered(t *tracked) {
	if t.open {
		t.open = false
		w.open--
	}
}

// unanswered reports whether nothing was said yet.
func (s *ObjectStatus) unanswered() bool {
	return s.Status == Unknown && s.Reason == NotObserved && s.Err == nil
}

// Statuses returns the latest status of all objects, in the order of their IDs. Those
// of which nothing is known yet are Unknown with the reason NotObserved.
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

// Events tells the status of each object as soon as there is one, and when it is
// another one than was told last (see [ObjectStatus.Equal]). Who is slow is told the
// latest status of each object, and not those in between. Once each object has a
// status, and these have been told, there is a Synced; of an empty set at once.
//
// It blocks while there are no news, and ends with the watch; see [Watch.Err]. There is no
// event after the cancel function of the context, Close or [Engine.Stop] has returned. If
// the loop is left early the watch goes on; another call continues where it was left.
func (w *Watch) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			ev, ok := w.next()
			if !ok || !yield(ev) {
				return
			}
		}
	}
}

// next blocks until there is an event, or returns false at the end.
func (w *Watch) next() (Event, bool) {
	for {
		if w.over() {
			return Event{}, false
		}
		if ev, ok := w.take(); ok {
			return ev, true
		}
		select {
		case <-w.told:
		case <-w.ctx.Done():
		}
	}
}

// over reports whether the watch has ended. It does not wait for the goroutines that
// pass the end of the contexts on.
func (w *Watch) over() bool {
	for _, ctx := range []context.Context{w.parent, w.engine.ctx} {
		if ctx.Err() != nil {
			w.cancel(context.Cause(ctx))
		}
	}
	return w.ctx.Err() != nil
}

// take returns the next event, if there is one.
func (w *Watch) take() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.news) > 0 {
		t := w.news[0]
		w.news = w.news[1:]
		t.queued = false
		if !t.gone && !t.latest.Equal(t.told) {
			t.told = t.latest
			return Event{Type: ResourceUpdate, Resource: t.told}, true
		}
	}
	if w.round && w.open == 0 {
		w.round = false
		return Event{Type: Synced}, true
	}
	return Event{}, false
}

// run evaluates what is marked until the watch ends.
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

// serve follows and forgets what a request says.
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

// count keeps w.counts.
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

// endAll gives everything back.
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

// mark has t evaluated. It is called with the mutex held.
func (w *Watch) mark(t *tracked) {
	if !t.dirty {
		t.dirty = true
		w.dirty = append(w.dirty, t)
		signal(w.wake)
	}
}

// publish makes s the latest status of t, unless s says nothing.
func (w *Watch) publish(t *tracked, s ObjectStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.gone || s.unanswered() {
		return // removed meanwhile; or what was known stays
	}
	w.answered(t)
	t.latest = s
	if !t.queued {
		t.queued = true
		w.news = append(w.news, t)
	}
	signal(w.told)
}

// soonest is how soon a rule is asked again at its own wish.
const soonest = time.Second

// at has t evaluated at some time, or a little later.
func (w *Watch) at(t *tracked, when time.Time) {
	if t.recheck != nil {
		t.recheck.Stop()
		t.recheck = nil
	}
	if when.IsZero() {
		return
	}
	t.recheck = time.AfterFunc(max(time.Until(when), soonest), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mark(t)
	})
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // whoever looks next, sees this too
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
