// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// A call that panics is one that failed: the consumer gets everything in the end. The
// panic is reported with its stack, and counted.
func TestPanicsOfTheConsumer(t *testing.T) {
	for call, function := range map[string]string{
		"begin": "BeginSnapshot", "page": "SnapshotPage", "end": "EndSnapshot", "abort": "AbortSnapshot", "batch": "OnBatch",
	} {
		t.Run(function, func(t *testing.T) {
			var log bytes.Buffer
			lists := 1
			panics := uint64(1)
			script := "consumer panic " + call
			switch call {
			case "page", "end":
				lists = 2
			case "abort":
				script += "\nconsumer panic begin"
				panics = 2
			}
			script += strings.Repeat("\nlist rv=100 a@1 b@2", lists) + "\nwatch\n  after 1s\n  +c@101\nstop 1m"
			p := playBatches(t, script, func(cfg *push.BatcherConfig[informertest.Object]) {
				cfg.Merger.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			if last := p.calls[len(p.calls)-1]; last != "batch +c@101 to 101" || p.stats.Accepted != 3 || p.stats.Panics != panics {
				t.Errorf("last call %q, %+v", last, p.stats)
			}
			for _, want := range []string{"resource=pods", "function=" + function, "fault in " + call, "play_test.go:"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("%q is missing in the log", want)
				}
			}
			if call == "batch" && !strings.Contains(log.String(), "key=c") {
				t.Error("the key is missing in the log")
			}
		})
	}
}

// A merger whose consumer and error handler panic a thousand times logs one line of
// each in a minute, and counts them.
func TestPanicsAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		const times = 1000
		calls := 0
		cfg := push.MergerConfig[informertest.Object]{
			Log: slog.New(slog.NewTextHandler(&log, nil)), Quiet: -1, MaxDelay: -1, ErrorHandler: func(error) { panic("fault") },
		}
		cfg.Backoff.Initial, cfg.Backoff.Max, cfg.Backoff.Jitter = time.Millisecond, time.Millisecond, -1
		m, err := push.NewEventMerger("pods", cfg, func(context.Context, push.Batch[informertest.Object]) error {
			if calls++; calls <= times {
				panic("fault")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = m.Run(ctx) }()
		obj := informertest.ParseObject("a@1")
		if err := m.Add(ctx, watch.Added, store.MetaOf(obj), obj); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if stats := m.Stats(); stats.Panics != 2*times || stats.Failures != times || stats.Batches != 1 {
			t.Errorf("%+v", stats)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("%d lines are logged", lines)
		}
	})
}
