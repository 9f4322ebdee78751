// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/internal/logtest"
	"github.com/apiary-go/apiary/store"
)

// faultyQueue panics in the first Resync.
type faultyQueue struct {
	cache.Queue
	call func(string)
}

func (q faultyQueue) Resync() error { q.call("Resync"); return q.Queue.Resync() }

// TestPanicsOfUsers: whatever function of the user panics, the controller goes on, and
// the panic is logged with its stack.
func TestPanicsOfUsers(t *testing.T) {
	for _, function := range []string{"Process", "ErrorHandler", "ShouldResync", "Resync"} {
		t.Run(function, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				logtest.SetDefault(t, slog.NewTextHandler(&log, nil))
				left := 1
				fault := func(called string) {
					if called == function && left > 0 {
						left--
						panic("fault in " + function)
					}
				}
				var failed []error
				calls, resyncs := 0, 0
				c := start(t, clientgo.ControllerConfig[informertest.Object]{
					Queue:         faultyQueue{cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{KeyFunction: cache.MetaNamespaceKeyFunc}), fault},
					ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1 b@2")),
					RetryOnError:  true, Settings: informer.Settings{Backoff: informer.Backoff{Initial: time.Second, Jitter: -1}}, FullResyncPeriod: time.Minute,
					Process: func(any, bool) error {
						fault("Process")
						if calls++; calls == 1 {
							return errors.New("not yet")
						}
						return nil
					},
					ErrorHandler: func(err error) { failed = append(failed, err); fault("ErrorHandler") },
					ShouldResync: func() bool { fault("ShouldResync"); resyncs++; return true },
				})
				time.Sleep(3*time.Minute + time.Second)
				if stats := c.Stats(); !c.HasSynced() || stats.Processed != 2 || left > 0 || resyncs < 2 {
					t.Errorf("%+v, %d panics are left, %d resyncs", stats, left, resyncs)
				}
				c.stop(t)
				for _, want := range []string{"fault in " + function, "panic_test.go:", "stack=", "resource="} {
					if !strings.Contains(log.String(), want) {
						t.Errorf("%q is missing in the log", want)
					}
				}
				if function != "Process" {
					return
				}
				var panicked *store.PanicError
				if !errors.As(failed[0], &panicked) || panicked.Key != (store.Key{Name: "a"}) || !strings.Contains(log.String(), "key=a") {
					t.Errorf("the error handler got %v", failed[0])
				}
			})
		})
	}
}
