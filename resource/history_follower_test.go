// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// follower is a subscriber, with its habits and its record.
type follower struct {
	h      *history
	name   string
	rng    *rand.Rand // of who reads the events
	choose *rand.Rand // of the error handler, under h.mu
	view   resource.Resource[*corev1.Pod]
	cancel context.CancelFunc

	filtered bool
	distinct bool
	observes bool
	old      bool
	order    resource.Order
	failing  int           // out of 100 events
	slow     int           // out of 100 events
	reads    time.Duration // at most, before the next event is read
	stuck    bool          // reads nothing until all is calm

	left    atomic.Bool // it was cancelled
	stopped atomic.Bool // the error handler said stop

	// base is what Sync promises at least: versions by key, nil for those of the
	// first pass.
	base map[store.Key]int64
	told []*told

	// over is the Done of an event that was answered. Called again it does nothing,
	// whatever has become of its key since.
	over func(error)
}

// told is an event, and what became of it. Moments are numbers in the order of
// time.
type told struct {
	kind     resource.EventKind
	key      store.Key
	obj, old *corev1.Pod
	version  int64
	asked    int64 // when the subscriber was ready for it
	got      int64
	now      int64 // version of the server then
	done     int64 // when Done was called, 0 if it was not
	returned int64 // when Done returned
	answer   resource.ErrorAction
	retries  int // that the error handler was told of
}

func (e *told) String() string {
	s := string(e.kind)
	if e.obj != nil {
		s += fmt.Sprintf(" %s %s@%d", e.key.Name, e.obj.UID, e.version)
		if isRed(e.obj) {
			s += " red"
		}
	}
	s += fmt.Sprintf(" (server at %d, got %d, done %d-%d", e.now, e.got, e.done, e.returned)
	if e.answer != "" {
		s += ", " + string(e.answer)
	}
	return s + ")"
}

// failure is given to Done, and brings the error handler to its event.
type failure struct{ event *told }

func (f *failure) Error() string { return "failed: " + f.event.String() }

// follow adds a follower.
func (h *history) follow(rng *rand.Rand) {
	seed := rng.Uint64()
	f := &follower{
		h:        h,
		rng:      rand.New(rand.NewPCG(seed, 0)),
		choose:   rand.New(rand.NewPCG(seed, 1)),
		observes: rng.IntN(4) == 0,
		old:      rng.IntN(2) == 0,
		order:    []resource.Order{resource.FreshFirst, resource.ReplayFirst}[rng.IntN(2)],
		failing:  []int{0, 0, 10, 40}[rng.IntN(4)],
		slow:     []int{0, 20, 60}[rng.IntN(3)],
		reads:    []time.Duration{0, 0, time.Millisecond, 10 * time.Millisecond}[rng.IntN(4)],
		stuck:    rng.IntN(10) == 0,
	}
	v := views[rng.IntN(len(views))]
	f.view, f.filtered, f.distinct = v.of(h.fake.Resource()), v.filtered, v.distinct
	f.old = f.old && !f.observes
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	ended, end := context.WithCancel(ctx)
	end()
	if read, err := f.view.Store(ended); err == nil {
		f.base = map[store.Key]int64{}
		for key, obj := range read.All() {
			f.base[key] = versionOf(obj.ResourceVersion)
		}
	}

	h.mu.Lock()
	f.name = fmt.Sprintf("follower %d (%s, observes %v, late %v, order %v)", len(h.followers), v.name, f.observes, f.base != nil, f.order)
	h.followers = append(h.followers, f)
	h.mu.Unlock()
	h.wg.Add(1)
	if f.observes {
		f.failing = 0 // the default rate limiter takes its time
		asked := h.moment()
		f.view.Observe(ctx,
			func(e resource.Event[*corev1.Pod]) {
				f.take(e, asked)
				asked = h.moment()
			},
			func(error) { h.wg.Done() })
		return
	}
	opts := []resource.EventsOpt{nil}
	if f.old {
		opts[0] = resource.WithOld()
	}
	events := f.view.Events(ctx, append(opts,
		resource.WithOrder(f.order),
		resource.WithErrorHandler(f.decide),
		resource.WithRateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](time.Millisecond, 20*time.Millisecond)))...)
	go func() {
		defer h.wg.Done()
		h.read(f, events)
	}()
}

// leave has one of the followers leave.
func (h *history) leave(rng *rand.Rand) {
	h.mu.Lock()
	f := h.followers[rng.IntN(len(h.followers))]
	h.mu.Unlock()
	f.left.Store(true)
	f.cancel()
}

// moment is the next number in the order of time.
func (h *history) moment() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	return h.seq
}

func (h *history) calmed() bool {
	select {
	case <-h.calm:
		return true
	default:
		return false
	}
}

// read reads events until there are no more.
func (f *follower) read(events <-chan resource.Event[*corev1.Pod]) {
	if f.stuck {
		<-f.h.calm
	}
	for {
		if f.reads > 0 && !f.h.calmed() {
			time.Sleep(rand.N(f.reads))
		}
		asked := f.h.moment()
		e, ok := <-events
		if !ok {
			return
		}
		f.take(e, asked)
	}
}

// take records an event, and answers now or later, well or badly.
func (f *follower) take(e resource.Event[*corev1.Pod], asked int64) {
	h := f.h
	calm := h.calmed()
	r := f.note(e, asked)

	var err error
	if !calm && f.rng.IntN(100) < f.failing {
		err = &failure{event: r}
	}
	if calm || f.rng.IntN(100) >= f.slow {
		f.answer(e, r, err)
		return
	}
	work := time.Duration(f.rng.IntN(10000)) * time.Microsecond
	h.wg.Go(func() {
		time.Sleep(work)
		f.answer(e, r, err)
	})
}

// note records an event.
func (f *follower) note(e resource.Event[*corev1.Pod], asked int64) *told {
	h := f.h
	r := &told{kind: e.Kind, key: e.Key, obj: e.Object, old: e.Old, asked: asked}
	if e.Object != nil {
		r.version = versionOf(e.Object.ResourceVersion)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	r.got, r.now = h.seq, h.latest
	f.told = append(f.told, r)
	return r
}

func (f *follower) answer(e resource.Event[*corev1.Pod], r *told, err error) {
	h := f.h
	h.mu.Lock()
	h.seq++
	r.done = h.seq
	h.mu.Unlock()
	e.Done(err)
	h.mu.Lock()
	h.seq++
	r.returned = h.seq
	over := f.over
	f.over = e.Done
	h.mu.Unlock()
	if over != nil {
		over(errors.New("a second Done"))
	}
	select {
	case h.answered <- struct{}{}:
	default:
	}
}

// decide is the error handler.
func (f *follower) decide(key store.Key, numRetries int, err error) resource.ErrorAction {
	h := f.h
	h.mu.Lock()
	defer h.mu.Unlock()
	var failed *failure
	var batch *batchFailure
	if errors.As(err, &batch) {
		failed = &failure{event: batch.of(key)}
	} else if !errors.As(err, &failed) {
		h.t.Errorf("%s: the error handler is asked about %v of %v", f.name, err, key)
		return resource.ErrorActionIgnore
	}
	r := failed.event
	if r.key != key {
		h.t.Errorf("%s: the error handler is told of key %v for %v", f.name, key, r)
	}
	r.retries = numRetries
	switch n := f.choose.IntN(100); {
	case n < 75:
		r.answer = resource.ErrorActionRetry
	case n < 98:
		r.answer = resource.ErrorActionIgnore
	default:
		r.answer = resource.ErrorActionStop
		f.stopped.Store(true)
	}
	return r.answer
}
