// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/apiary-go/apiary/store"
)

// A batch that is dropped is found while the loop waits for the next one, and so is
// what was left out when the rest had its Done.
func TestForgottenBatchIsReported(t *testing.T) {
	reports := make(chan ForgottenDone, 10)
	r := startRig(t, WithForgottenDone(func(f ForgottenDone) { reports <- f }))
	ctx, cancel := context.WithCancel(t.Context())
	events := r.view.Events(ctx)
	var loop sync.WaitGroup
	loop.Go(func() {
		for batch := range Batches(events, BatchConfig{MaxEvents: 4, Quiet: time.Hour, MaxDelay: time.Hour}) {
			if !batch.Synced() {
				continue // forgotten
			}
			for _, e := range batch.Events {
				if e.Key != podKey("b") {
					e.Done(nil)
				}
			}
		}
	})
	defer loop.Wait()
	defer cancel()

	r.sync("a", "b", "c")
	report := collect(t, reports)
	if report.Kind != Upsert || report.Key != podKey("b") || !regexp.MustCompile(`batch_forgotten_test\.go:\d+$`).MatchString(report.Site) {
		t.Fatalf("got %+v", report)
	}

	keys := map[store.Key]bool{}
	for _, name := range []string{"a", "b", "c", "d"} {
		r.upsert(name)
	}
	for range 4 {
		keys[collect(t, reports).Key] = true
	}
	if len(keys) != 4 || len(reports) != 0 {
		t.Fatalf("reported %v, and %d more", keys, len(reports))
	}
}

// Who leaves the loop owes the Done of the last batch, and of nothing else.
func TestNothingIsForgottenByBreak(t *testing.T) {
	reports := make(chan ForgottenDone, 10)
	r := startRig(t, WithForgottenDone(func(f ForgottenDone) { reports <- f }))
	events := r.view.Events(t.Context())
	r.sync("a", "b", "c")
	for batch := range Batches(events, BatchConfig{MaxEvents: 2, Quiet: time.Hour, MaxDelay: time.Hour}) {
		batch.Events[0].Done(nil)
		break
	}
	if report := collect(t, reports); report.Key != podKey("b") || len(reports) != 0 {
		t.Fatalf("reported %v, and %d more", report, len(reports))
	}
	expect(t, events, "upsert c@3", "sync")
}
