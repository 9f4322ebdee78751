// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

// ended fails the test if a subscription whose end has returned still has an event.
func ended(t *testing.T, events <-chan podEvent) {
	t.Helper()
	if e, ok := <-events; ok {
		t.Fatalf("got %q after the end", text(e))
	}
}

// endings are the contexts of a subscription, and what ends them.
var endings = map[string]func(t *testing.T) (context.Context, func()){
	"cancel": func(t *testing.T) (context.Context, func()) {
		return context.WithCancel(t.Context())
	},
	"cancel of the parent": func(t *testing.T) (context.Context, func()) {
		parent, cancel := context.WithCancel(t.Context())
		child, release := context.WithTimeout(context.WithValue(parent, gauge{}, ""), time.Hour)
		t.Cleanup(release)
		return child, cancel
	},
	"deadline": func(t *testing.T) (context.Context, func()) {
		ctx, cancel := context.WithTimeout(t.Context(), measureEvery/2) // while the event waits
		t.Cleanup(cancel)
		return ctx, func() { <-ctx.Done() }
	},
	"cancel of a context of another type": func(t *testing.T) (context.Context, func()) {
		ctx := foreignContext{t.Context(), make(chan struct{})}
		return ctx, func() { close(ctx.done) }
	},
}

// foreignContext is not of package context.
type foreignContext struct {
	context.Context
	done chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }

func (c foreignContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// An event that waits to be received when the context ends is not handed out.
func TestNoEventAfterCancel(t *testing.T) {
	for name, ending := range endings {
		for _, offered := range []string{"an Upsert", "the Sync", "with metrics"} {
			t.Run(name+"/"+offered, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var opts []Option
					if offered == "with metrics" {
						opts = append(opts, WithMetricsProvider(&gauges{values: map[string]float64{}}))
					}
					r := startRig(t, opts...)
					r.sync("a")
					for range 100 {
						ctx, end := ending(t)
						events := r.view.Events(ctx)
						if offered == "the Sync" {
							expect(t, events, "upsert a@1")
						}
						synctest.Wait() // it is offered
						end()
						ended(t, events)
					}
				})
			})
		}
	}
}

// quietContext calls no function when it ends. Only Err and Done show the end.
type quietContext struct{ foreignContext }

func (quietContext) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }

// The context ends while the next event is being made: it is neither handed out to who
// receives, nor passed to Observe.
func TestNoEventAfterCancelInTheFilter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.upsert("a")
		for range 20 {
			ctx := quietContext{foreignContext{t.Context(), make(chan struct{})}}
			asked, release := make(chan struct{}), make(chan struct{})
			slow := Filter[*corev1.Pod](r.view, func(*corev1.Pod) bool {
				asked <- struct{}{}
				<-release
				return true
			})
			events, completed := slow.Events(ctx), make(chan struct{})
			slow.Observe(ctx, func(e podEvent) { t.Errorf("observed %q after the end", text(e)) }, func(error) { close(completed) })
			<-asked
			<-asked
			close(ctx.done)
			close(release)
			ended(t, events)
			<-completed
		}
	})
}

// What happens after the end is not handed out to who has waited since before.
func TestNothingNewAfterCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.sync()
		for range 20 {
			ctx := quietContext{foreignContext{t.Context(), make(chan struct{})}}
			events := r.view.Events(ctx)
			expect(t, events, "sync")
			got := make(chan podEvent)
			go func() {
				defer close(got)
				for e := range events {
					got <- e
				}
			}()
			synctest.Wait() // for an event
			close(ctx.done)
			r.upsert("late")
			ended(t, got)
			r.delete("late")
		}
	})
}

// Done that ends the subscription, by the error handler or by a panic of user code,
// waits while the next event is about to be offered.
func TestNoEventAfterDoneThatStops(t *testing.T) {
	for name, opt := range map[string]EventsOpt{
		"stop":                 WithErrorHandler(RetryUpTo(0)),
		"panic of the handler": WithErrorHandler(func(store.Key, int, error) ErrorAction { panic("handler") }),
		"panic of the limiter": WithRateLimiter(panickingLimiter{}),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := startRig(t)
				r.sync("a", "b")
				for range 20 {
					ctx := slowContext{Context: t.Context(), asked: &atomic.Int64{}, release: make(chan struct{})}
					release := sync.OnceFunc(func() { close(ctx.release) })
					defer release()
					events := r.view.Events(ctx, opt)
					a := take(t, events)
					synctest.Wait()
					if ctx.asked.Load() != 2 {
						t.Fatal("no other event is about to be offered")
					}
					stopped := make(chan struct{})
					go func() {
						defer close(stopped)
						defer func() { _ = recover() }()
						a.Done(errTest)
					}()
					synctest.Wait()
					select {
					case <-stopped:
						t.Fatal("Done has returned, and an event can follow")
					default:
					}
					release()
					<-stopped
					ended(t, events)
				}
			})
		})
	}
}

// slowContext holds up calls of Err from the second one on.
type slowContext struct {
	context.Context
	asked   *atomic.Int64
	release chan struct{}
}

func (c slowContext) Err() error {
	if c.asked.Add(1) > 1 {
		<-c.release
	}
	return c.Context.Err()
}

// A batch is not handed out after the end of the subscription of its events, whether it
// is noticed by the channel or, if a filter hangs, not yet.
func TestNoBatchAfterCancel(t *testing.T) {
	for name, hangs := range map[string]bool{"closed": false, "a filter hangs": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := startRig(t)
				r.begin()
				r.upsert("a")
				r.upsert("b")
				release := make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				events := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
					if hangs && p.Name == "b" {
						<-release
					}
					return true
				}).Events(ctx)
				batches := batchesOf(t, events, BatchConfig{Quiet: time.Second, MaxDelay: time.Second})
				synctest.Wait() // for more
				cancel()
				time.Sleep(time.Minute)
				close(release)
				if b, ok := <-batches; ok {
					t.Errorf("got %q after the end", batchText(b))
				}
			})
		})
	}
}

// The consumer ends its subscription itself, between two batches.
func TestNoBatchAfterCancelByTheConsumer(t *testing.T) {
	for name, end := range map[string]func(cancel func(), b podBatch){
		"cancel": func(cancel func(), _ podBatch) { cancel() },
		"stop":   func(_ func(), b podBatch) { b.Done(errTest) },
	} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t)
			r.sync("a", "b")
			for range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				next, stop := iter.Pull(Batches(r.view.Events(ctx, WithErrorHandler(RetryUpTo(0))), BatchConfig{MaxEvents: 1}))
				b, ok := next()
				if !ok {
					t.Fatal("no batch")
				}
				end(cancel, b)
				if b, ok := next(); ok {
					t.Fatalf("got %q after the end", batchText(b))
				}
				stop()
				cancel()
			}
		})
	}
}

type panickingLimiter struct {
	workqueue.TypedRateLimiter[store.Key]
}

func (panickingLimiter) When(store.Key) time.Duration { panic("limiter") }
