// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"testing"
	"time"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
)

// Checks and intervals make snapshots.
func TestBatchIntervals(t *testing.T) {
	script := "list rv=100 a@1\nwatch\nlist rv=110 a@1\nwatch\nstop 100s"
	for name, set := range map[string]func(*push.BatcherConfig[informertest.Object]){
		"CheckInterval":  func(cfg *push.BatcherConfig[informertest.Object]) { cfg.CheckInterval = time.Minute },
		"ResyncInterval": func(cfg *push.BatcherConfig[informertest.Object]) { cfg.ResyncInterval = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			playBatches(t, script, set).want(t, "begin 1 first", "page a@1", "end 100", "begin 2 check", "page a@1", "end 110")
		})
	}
}

// No batch follows a snapshot that was aborted, so another snapshot does, also where a
// Reflector would go on with the watch.
func TestBatchSnapshotAfterAbort(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1
watch error 500
list error 500
list error 500
watch
  ~a#u@101
  after 1s
  close
list rv=110 a#u@101
watch
  ~a#u@111
stop 30s`, func(cfg *push.BatcherConfig[informertest.Object]) { cfg.MaxInternalErrorRetryDuration = -1 })
	p.want(t, "begin 1 first", "page a#u@1", "end 100", "begin 2 failing", "abort 2", "begin 3 resync", "abort 3",
		"begin 4 resync", "page a#u@101", "end 110", "batch ~a#u@111 to 111")
}
