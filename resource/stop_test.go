// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
)

// Subscribers that do not read, that hold on to events, that fail them, and a
// store that is waited for: Stop takes no notice.
func TestStopWithStuckSubscribers(t *testing.T) {
	r := newRig(t)
	r.start()
	var channels []<-chan podEvent
	for range 10 {
		stuck := r.view.Events(t.Context())
		holding := r.view.Events(t.Context())
		failing := r.view.Events(t.Context(), after(time.Hour))
		channels = append(channels, stuck, holding, failing)
		defer func() { _ = stuck }()
	}
	r.sync("a", "b")
	var held []podEvent
	for i, events := range channels {
		switch i % 3 {
		case 1:
			held = append(held, take(t, events))
		case 2:
			take(t, events).Done(errTest)
		}
	}
	start := time.Now()
	r.stop()
	if took := time.Since(start); took > time.Second {
		t.Fatalf("stop took %v", took)
	}
	for _, events := range channels {
		expectClosed(t, events)
	}
	for _, e := range held {
		e.Done(nil)
		e.Done(errTest)
	}
}

func TestStopNamesAStuckObserver(t *testing.T) {
	r := newRig(t, WithName("pods"))
	r.start()
	inside, release := make(chan struct{}), make(chan struct{})
	completed := make(chan struct{})
	r.view.Observe(t.Context(), func(podEvent) { close(inside); <-release }, func(error) { close(completed) })
	r.sync("a")
	<-inside
	start := time.Now()
	err := r.lc.Stop(quiet(), context.Background())
	if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("stop took %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "stop_test.go:") || !strings.Contains(err.Error(), "pods") {
		t.Fatalf("got %v", err)
	}
	close(release)
	<-completed
	r.view.hub.wg.Wait()
}

// Cancel, stop and Done in any order, some hundred times.
func TestCancelStopDoneInAnyOrder(t *testing.T) {
	for round := range 300 {
		rng := rand.New(rand.NewPCG(1, uint64(round)))
		r := newRig(t)
		ctx, cancel := context.WithCancel(context.Background())
		early := r.view.Events(ctx)
		if rng.IntN(2) == 0 {
			r.view.Observe(ctx, func(e podEvent) { e.Done(nil) }, func(error) {})
		}
		r.start()
		events := []<-chan podEvent{early, r.view.Events(ctx),
			Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool { return p.Name != "b" }).Events(context.Background(),
				after(time.Microsecond), WithErrorHandler(RetryUpTo(rng.IntN(3))))}
		var wg sync.WaitGroup
		wg.Go(func() {
			r.sync("a", "b", "c")
			r.upsert("a")
			r.delete("b")
			r.upsertAs("c", "other")
		})
		for i, ch := range events {
			fails := rng.IntN(3)
			held := make(chan podEvent, 100)
			wg.Go(func() {
				for e := range ch {
					if i == 2 && fails > 0 {
						fails--
						e.Done(errTest)
						continue
					}
					held <- e
				}
				close(held)
			})
			wg.Go(func() {
				for e := range held {
					e.Done(nil)
					e.Done(errTest)
				}
			})
		}
		acts := []func(){cancel, r.stop}
		rng.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
		for _, act := range acts {
			wg.Go(act)
		}
		wg.Wait()
		cancel()
		expectClosed(t, r.view.Events(context.Background()))
	}
}

// Stop does not wait for a filter that holds up the informer.
func TestStopNamesAStuckFilter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lc := &cell.DefaultLifecycle{}
		release := make(chan struct{})
		all := New[*corev1.Pod](lc, show("9", pod("a", "", 1)), WithName("pods"))
		events := Filter(all, func(*corev1.Pod) bool { <-release; return true }).Events(t.Context())
		if err := lc.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := lc.Stop(quiet(), ctx)
		if took := time.Since(start); took > time.Second {
			t.Errorf("stop took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "_test.go:") || !strings.Contains(err.Error(), "filter") {
			t.Errorf("got %v", err)
		}
		close(release)
		synctest.Wait()
		expectClosed(t, events)
	})
}

// The end of a subscription is noticed although what woke its goroutine to it was taken
// for something else before: while a Sync was offered, which was received then.
func TestEndIsNoticedLate(t *testing.T) {
	s := &subscriber[*corev1.Pod]{ctx: t.Context(), running: true, wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.end()
	<-s.wake
	noticed := make(chan bool)
	go func() { noticed <- s.await(nil, false, nil) }()
	select {
	case ended := <-noticed:
		if !ended {
			t.Error("it goes on")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
}
