// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/apiary-go/apiary/status"
)

// quietContext calls no function when it ends. Only Err and Done show the end.
type quietContext struct {
	context.Context
	done chan struct{}
}

func (c quietContext) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }
func (c quietContext) Done() <-chan struct{}               { return c.done }

func (c quietContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// An event that waits to be received when the context ends is not handed out: the
// status of an object, Synced, or an Error.
func TestNoPolledEventAfterCancel(t *testing.T) {
	one := idsOf(configMap("a", "b"))
	for name, c := range map[string]struct {
		ids      []status.ID
		received int
	}{"status": {one, 0}, "synced": {one, 1}, "nothing": {nil, 0}, "error": {make([]status.ID, 1), 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 50 {
					ctx := quietContext{t.Context(), make(chan struct{})}
					events := engine(newCluster(configMap("a", "b"))).Poll(ctx, c.ids, status.Options{})
					for range c.received {
						<-events
					}
					synctest.Wait() // the next one is offered
					close(ctx.done)
					if ev, ok := <-events; ok {
						t.Fatalf("got %v after the end", ev)
					}
				}
			})
		})
	}
}

// The context ends while an object is read, and somebody waits for its status.
func TestNoPolledEventAfterCancelWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			c := newCluster(configMap("a", "b"))
			asked, release := make(chan struct{}, 10), make(chan struct{})
			c.stall = func(context.Context, string, string) error {
				asked <- struct{}{}
				<-release
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			events := engine(c).Poll(ctx, idsOf(configMap("a", "b")), status.Options{})
			<-asked
			cancel()
			close(release)
			if ev, ok := <-events; ok {
				t.Fatalf("got %v after the end", ev)
			}
		}
	})
}

// A Collector takes nothing and observes nothing once the context of Listen has ended.
func TestCollectorTakesNothingAfterCancel(t *testing.T) {
	boom := errors.New("boom")
	for range 50 {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(boom)
		events := make(chan status.Event, 1)
		events <- status.Event{Type: status.Synced}
		c := status.NewCollector()
		err := c.Listen(ctx, events, func(ev status.Event) error {
			t.Fatalf("observed %v", ev)
			return nil
		})
		if !errors.Is(err, boom) || c.Synced() {
			t.Fatalf("got %v, synced %t", err, c.Synced())
		}
		close(events)
	}
}
