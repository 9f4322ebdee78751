// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/internal/logtest"
	"github.com/apiary-go/apiary/store"
)

// faulty panics in so many calls of a function.
type faulty struct {
	function string
	left     atomic.Int32
}

func (f *faulty) call(function string) {
	if function == f.function && f.left.Add(-1) >= 0 {
		panic("fault in " + function)
	}
}

type faultyStorage struct {
	mirror.ResourceVersionStorage
	*faulty
}

func (s faultyStorage) Set(meta store.Meta, pass uint64) error {
	s.call("Set")
	return s.ResourceVersionStorage.Set(meta, pass)
}

type faultyLimiter struct {
	workqueue.TypedRateLimiter[store.Key]
	*faulty
}

func (l faultyLimiter) When(key store.Key) time.Duration {
	l.call("When")
	return l.TypedRateLimiter.When(key)
}

func (l faultyLimiter) Forget(key store.Key) {
	l.call("Forget")
	l.TypedRateLimiter.Forget(key)
}

// faultyHandler saves resume versions.
type faultyHandler struct {
	mirror.ResourceEventHandler[informertest.Object]
	*faulty
}

func (h faultyHandler) UpdateResourceVersion(context.Context, string) error {
	h.call("UpdateResourceVersion")
	return nil
}

// Whatever function of the user panics, all is mirrored in the end, and the panic is
// reported with its stack, and counted.
func TestPanicsOfUsers(t *testing.T) {
	for function, key := range map[string]string{
		"OnAdd": "a", "OnUpdate": "b", "OnDelete": "d", "OnSync": "c", "Set": "b", "When": "a", "Forget": "a",
		"UpdateResourceVersion": "", "ErrorHandler": "", "SizeOf": "b",
	} {
		t.Run(function, func(t *testing.T) {
			const times = 1
			var reports bytes.Buffer
			f := &faulty{function: function}
			f.left.Store(times)
			failures, lists := 0, 1
			if function == "SizeOf" { // which the Reflector calls
				lists += times
			}
			script := "config sync\nseed b@1 c@3 d@4\n" + strings.Repeat("list rv=100 a@10 b@50 c@3\n", lists) + "watch\nstop 5m"
			p := playMirror(t, script, func(cfg *mirror.InformerConfig[informertest.Object]) {
				cfg.Log = slog.New(slog.NewTextHandler(&reports, nil))
				cfg.Storage = faultyStorage{cfg.Storage, f}
				cfg.RateLimiter = faultyLimiter{workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](time.Second, time.Minute), f}
				cfg.SizeOf = func(obj informertest.Object) int {
					if obj.Name == "b" {
						f.call("SizeOf")
					}
					return 1
				}
				cfg.ErrorHandler = func(informer.ReflectorInfo, error) { f.call("ErrorHandler") }
				cfg.Handler = faultyHandler{mirror.ResourceEventHandlerFuncs[informertest.Object]{
					AddFunc: func(context.Context, informer.Object[informertest.Object]) error {
						f.call("OnAdd")
						if failures++; failures <= 3 {
							return errors.New("no room")
						}
						return nil
					},
					UpdateFunc: func(context.Context, store.Meta, informer.Object[informertest.Object]) error {
						f.call("OnUpdate")
						return nil
					},
					DeleteFunc: func(context.Context, mirror.Deletion[informertest.Object]) error { f.call("OnDelete"); return nil },
					SyncFunc:   func(context.Context, informer.Object[informertest.Object]) error { f.call("OnSync"); return nil },
				}, f}
			})
			p.wantRecorded(t, "a@10", "b@50", "c@3")
			if left := f.left.Load(); p.stats.Panics != times || left > 0 || p.stats.Failing != 0 {
				t.Errorf("%d panics are counted, %d are left; %+v", p.stats.Panics, left, p.stats)
			}
			for _, want := range []string{"resource=pods", "key=" + key, "fault in " + function, "panic_test.go:", "stack="} {
				if !strings.Contains(reports.String(), want) {
					t.Errorf("%q is missing in the log", want)
				}
			}
		})
	}
}

// A handler that panics for a thousand keys is reported once a minute. The failures are
// the error handler's as well; by default those are for debugging.
func TestPanicsAreThrottled(t *testing.T) {
	const keys = 1000
	var reports, defaults bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&defaults, nil))
	var objects strings.Builder
	for i := range keys {
		fmt.Fprintf(&objects, " pod-%d@1", i)
	}
	failures := 0
	p := playMirror(t, "list rv=100"+objects.String()+"\nwatch\nstop 50s", func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Log = slog.New(slog.NewTextHandler(&reports, nil))
		cfg.RateLimiter = workqueue.NewTypedItemFastSlowRateLimiter[store.Key](time.Hour, time.Hour, 1)
		cfg.ErrorHandler = func(info informer.ReflectorInfo, err error) {
			failures++
			informer.DefaultWatchErrorHandler(info, err)
		}
		cfg.Handler = mirror.ResourceEventHandlerFuncs[informertest.Object]{
			AddFunc: func(context.Context, informer.Object[informertest.Object]) error { panic("fault") },
		}
	})
	if p.stats.Panics != keys || p.stats.Failures != keys || failures != keys {
		t.Errorf("%d panics, %d failures are counted, %d reported", p.stats.Panics, p.stats.Failures, failures)
	}
	if lines := strings.Count(reports.String(), "\n"); lines != 1 || defaults.Len() > 0 {
		t.Errorf("%d lines are logged, and by default %s", lines, defaults.String())
	}
}
