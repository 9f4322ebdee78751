// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// TestControllerHasSynced: that is when the last item of the first list has been
// processed, and not before; without items, when there was a list.
func TestControllerHasSynced(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			for list, items := range map[string]int{"rv=5": 0, "rv=5 a@1": 1, "rv=5 a@1 b@2 c@3": 3} {
				if name == "RealFIFO, atomic" {
					items = 1 // has all
				}
				begun, proceed := make(chan bool), make(chan struct{})
				c := start(t, clientgo.ControllerConfig[informertest.Object]{
					Queue: queue(nil), ListerWatcher: informertest.Scripted(t, informertest.Listed(list), informertest.Watched("+d@6")),
					Process: func(_ any, initial bool) error {
						begun <- initial
						<-proceed
						return nil
					},
				})
				for i := range items {
					if initial := informertest.Await(t, "item", begun); !initial || c.HasSynced() {
						t.Errorf("%s: item %d: initial %v, synced %v", list, i, initial, c.HasSynced())
					}
					proceed <- struct{}{}
				}
				if initial := informertest.Await(t, "item", begun); initial || !c.HasSynced() {
					t.Errorf("%s: after the initial items: initial %v, synced %v", list, initial, c.HasSynced())
				}
				proceed <- struct{}{}
				c.stop(t)
			}
		})
	}
}

// TestControllerHasSyncedAfterRefusal: a list that the queue refused does not count.
func TestControllerHasSyncedAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := true
		c := start(t, clientgo.ControllerConfig[informertest.Object]{
			Queue: notingQueue{Queue: deltaFIFO(nil), replace: func() error {
				if refuse {
					refuse = false
					return errors.New("no")
				}
				return nil
			}},
			ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5"), informertest.Listed("rv=5")),
			Process:       func(any, bool) error { return nil },
		})
		synctest.Wait()
		if c.HasSynced() {
			t.Error("synced without a list")
		}
		time.Sleep(time.Minute)
		if !c.HasSynced() {
			t.Error("not synced after a list without objects")
		}
		c.stop(t)
	})
}

// TestRunWaitsForProcess: also if the queue is not locked meanwhile. What is still
// in the queue then is not processed.
func TestRunWaitsForProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, proceed := make(chan struct{}), make(chan struct{})
		c := start(t, clientgo.ControllerConfig[informertest.Object]{
			Queue: atomicFIFO(nil), ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1"), informertest.Watched("+b@6")),
			Process: func(any, bool) error {
				begun <- struct{}{}
				<-proceed
				return nil
			},
		})
		<-begun
		synctest.Wait()
		c.cancel(errTestOver)
		synctest.Wait()
		if len(c.ended) > 0 {
			t.Error("Run returned while Process runs")
		}
		close(proceed)
		if err := <-c.ended; err != errTestOver {
			t.Errorf("Run returned %v", err)
		}
		if stats := c.Stats(); stats.Processed != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestControllerIsNotSyncedByStop: neither a stop within the list, nor one while
// the last item is tried again, nor one with items left in the queue.
func TestControllerIsNotSyncedByStop(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			c := start(t, clientgo.ControllerConfig[informertest.Object]{
				Queue: queue(nil), ListerWatcher: &informertest.ScriptedServer{Log: func(string, ...any) { close(asked) }, Marker: true},
				Process: func(item any, _ bool) error { t.Errorf("process %v", item); return nil },
			})
			informertest.Await(t, "list", asked)
			c.stop(t)
			if c.HasSynced() || c.LastSyncResourceVersion() != "" {
				t.Errorf("synced %v at %q without a list", c.HasSynced(), c.LastSyncResourceVersion())
			}

			for _, list := range []string{"rv=5 a@1", "rv=5 a@1 b@2"} {
				failed := make(chan struct{}, 9)
				c = start(t, clientgo.ControllerConfig[informertest.Object]{
					Queue: queue(nil), ListerWatcher: informertest.Scripted(t, informertest.Listed(list)),
					RetryOnError: true, Settings: informer.Settings{Backoff: informer.Backoff{Initial: time.Hour, Max: time.Hour}},
					Process:      func(any, bool) error { return errors.New("no") },
					ErrorHandler: func(error) { failed <- struct{}{} },
				})
				informertest.Await(t, "failure", failed)
				c.stop(t)
				if stats := c.Stats(); c.HasSynced() || stats.Processed != 0 || stats.Failures != 1 {
					t.Errorf("%s: synced %v, %+v", list, c.HasSynced(), stats)
				}
			}
		})
	}
}

// TestNothingIsProcessedAfterTheEnd: not even an item that is popped in the moment
// in which ctx ends.
func TestNothingIsProcessedAfterTheEnd(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			popping, proceed := make(chan struct{}), make(chan struct{})
			c := start(t, clientgo.ControllerConfig[informertest.Object]{
				Queue: notingQueue{Queue: queue(nil), pop: func() error {
					popping <- struct{}{}
					<-proceed
					return nil
				}},
				ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1")),
				Process:       func(item any, _ bool) error { t.Errorf("process %v", item); return nil },
			})
			informertest.Await(t, "Pop", popping)
			c.cancel(errTestOver)
			close(proceed)
			c.stop(t)
			if stats := c.Stats(); c.HasSynced() || stats != (clientgo.ControllerStats{}) {
				t.Errorf("synced %v, %+v", c.HasSynced(), stats)
			}
		})
	}
}
