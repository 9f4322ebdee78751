// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

// TestRetryOnError: an item for which Process fails is processed again until that
// succeeds, after longer and longer, and the next one only then.
func TestRetryOnError(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var got []string
				var failed []error
				why := errors.New("why")
				c := start(t, clientgo.ControllerConfig[informertest.Object]{
					// No watch opens: virtual time does not pass while the reflector
					// waits for the lock of the queue.
					Queue: queue(nil), ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1 b@2")),
					RetryOnError: true, Settings: informer.Settings{Backoff: informer.Backoff{Initial: time.Second, Max: 2 * time.Second, Jitter: -1}},
					Process: func(item any, initial bool) error {
						got = append(got, fmt.Sprint(time.Since(begin), " ", text(item), " ", initial))
						if len(got) < 4 {
							return why
						}
						return nil
					},
					ErrorHandler: func(err error) { failed = append(failed, err) },
				})
				time.Sleep(4 * time.Second)
				if c.HasSynced() {
					t.Error("synced while the first item is tried again")
				}
				time.Sleep(time.Minute)
				if !c.HasSynced() {
					t.Error("not synced in the end")
				}
				c.stop(t)
				want := []string{"0s Replaced a@1 true", "1s Replaced a@1 true", "3s Replaced a@1 true", "5s Replaced a@1 true", "5s Replaced b@2 true"}
				if name == "RealFIFO, atomic" {
					want = []string{"0s ReplacedAll 5 a@1 b@2 true", "1s ReplacedAll 5 a@1 b@2 true", "3s ReplacedAll 5 a@1 b@2 true", "5s ReplacedAll 5 a@1 b@2 true"}
				}
				if !slices.Equal(got, want) {
					t.Errorf("got %q\nwant %q", got, want)
				}
				for i, err := range failed {
					var e *clientgo.ProcessError
					if !errors.As(err, &e) || !errors.Is(err, why) || e.Failures != i+1 || e.RetryIn != []time.Duration{1, 2, 2}[i]*time.Second ||
						!strings.HasPrefix(want[0], "0s "+text(e.Item)) {
						t.Errorf("failure %d: %v", i, err)
					}
				}
				if stats := c.Stats(); stats.Failures != 3 || len(failed) != 3 || stats.Dropped != 0 {
					t.Errorf("%+v, %d errors", stats, len(failed))
				}
			})
		})
	}
}

// TestRetryEndsWithRun: an item that fails for ever, and a reflector that waits for
// the lock of the queue meanwhile, do not hold up the end of Run.
func TestRetryEndsWithRun(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			failed := make(chan struct{}, 9)
			applied := make(chan struct{}, 9)
			source := source.FromListerWatcher[informertest.Object](informertest.Scripted(t, informertest.Listed("rv=5 a@1 b@2"), informertest.Watched("+c@6", "+d@7")), nil)
			c := start(t, clientgo.ControllerConfig[informertest.Object]{
				Queue: notingQueue{Queue: queue(nil), updates: applied}, Source: source,
				RetryOnError: true, Settings: informer.Settings{Backoff: informer.Backoff{Initial: time.Hour, Max: time.Hour}},
				Process:      func(any, bool) error { return errors.New("no") },
				ErrorHandler: func(error) { failed <- struct{}{} },
			})
			informertest.Await(t, "failure", failed)
			informertest.Await(t, "change", applied)
			c.stop(t)
			if stats := c.Stats(); stats.Failures != 1 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// TestDroppedItems: without RetryOnError an item that fails is dropped, and reported;
// the next one follows.
func TestDroppedItems(t *testing.T) {
	for name, queue := range queues {
		if name == "RealFIFO, atomic" {
			continue // brings one item only
		}
		t.Run(name, func(t *testing.T) {
			why := errors.New("why")
			failed, processed := make(chan error, 9), make(chan string, 9)
			c := start(t, clientgo.ControllerConfig[informertest.Object]{
				Queue: queue(nil), ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1 b@2")),
				Process: func(item any, _ bool) error {
					processed <- text(item)
					if text(item) == "Replaced a@1" {
						return why
					}
					return nil
				},
				ErrorHandler: func(err error) { failed <- err },
			})
			if a, b := informertest.Await(t, "item", processed), informertest.Await(t, "item", processed); a != "Replaced a@1" || b != "Replaced b@2" {
				t.Errorf("processed %s, %s", a, b)
			}
			var e *clientgo.ProcessError
			err := informertest.Await(t, "failure", failed)
			if !errors.As(err, &e) || !errors.Is(err, why) || e.Controller != "pods" || text(e.Item) != "Replaced a@1" || e.Failures != 1 || e.RetryIn != 0 {
				t.Errorf("the error handler got %v", err)
			}
			if err.Error() != "controller pods: process a: why (dropped)" {
				t.Errorf("the error handler got %q", err)
			}
			c.stop(t)
			if stats := c.Stats(); stats != (clientgo.ControllerStats{Processed: 1, Failures: 1, Dropped: 1}) || len(failed) > 0 || len(processed) > 0 {
				t.Errorf("%+v, %d more errors", stats, len(failed))
			}
		})
	}
}
