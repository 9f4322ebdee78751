// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// TestHistoryBatches is TestHistory with followers that read batches, of which they
// answer some events by themselves, and the rest at once; now or later, well or
// badly. Now and then they leave the loop, and go on with another one.
func TestHistoryBatches(t *testing.T) {
	playHistories(t, (*follower).readBatches)
}

// batchFailure is given to the Done of a batch, and brings the error handler to the
// events.
type batchFailure struct{ events []*told }

func (f *batchFailure) Error() string { return fmt.Sprintf("failed: %v", f.events) }

// of is the event of a key, the Sync of the zero Key.
func (f *batchFailure) of(key store.Key) *told {
	for _, e := range f.events {
		if e.key == key {
			return e
		}
	}
	panic(fmt.Sprintf("%v is not in the batch of %v", key, f.events))
}

// readBatches is read by batches.
func (f *follower) readBatches(events <-chan resource.Event[*corev1.Pod]) {
	if f.stuck {
		<-f.h.calm
	}
	cfg := resource.BatchConfig{
		MaxEvents: []int{0, 1, 2, 5}[f.rng.IntN(4)],
		Quiet:     time.Duration(f.rng.IntN(3000)) * time.Microsecond,
		MaxDelay:  time.Duration(f.rng.IntN(10)) * time.Millisecond,
	}
	for left := true; left; {
		left = false
		asked := f.h.moment()
		for batch := range resource.Batches(events, cfg) {
			f.takeBatch(batch, cfg, asked)
			if f.reads > 0 && !f.h.calmed() {
				time.Sleep(rand.N(f.reads))
			}
			if left = f.rng.IntN(10) == 0; left {
				break
			}
			asked = f.h.moment()
		}
	}
}

// takeBatch records a batch and answers it.
func (f *follower) takeBatch(batch resource.EventBatch[*corev1.Pod], cfg resource.BatchConfig, asked int64) {
	h := f.h
	n := len(batch.Events)
	if n == 0 || cfg.MaxEvents > 0 && n > cfg.MaxEvents {
		h.t.Errorf("%s: %d events with %+v", f.name, n, cfg)
	}
	keys := map[store.Key]bool{}
	records := make([]*told, n)
	for i, e := range batch.Events {
		records[i] = f.note(e, asked)
		if keys[e.Key] || e.Kind == resource.Sync && i < n-1 {
			f.bad(records[i], "it does not belong where it is in its batch: %v", records[:i])
		}
		keys[e.Key] = true
	}

	calm := h.calmed()
	fails := func() bool { return !calm && f.rng.IntN(100) < f.failing }
	alone := make([]bool, n)
	errs := make([]error, n)
	if f.rng.IntN(2) == 0 {
		for i := range alone {
			alone[i] = f.rng.IntN(3) == 0
			if fails() {
				errs[i] = &failure{event: records[i]}
			}
		}
	}
	var err error
	if fails() {
		err = &batchFailure{events: records}
	}
	answer := func() {
		for i, e := range batch.Events {
			if alone[i] {
				f.answer(e, records[i], errs[i])
			}
		}
		f.answerBatch(batch, records, alone, err)
	}
	if calm || f.rng.IntN(100) >= f.slow {
		answer()
		return
	}
	work := time.Duration(f.rng.IntN(10000)) * time.Microsecond
	h.wg.Go(func() {
		time.Sleep(work)
		answer()
	})
}

// answerBatch answers what was not answered alone.
func (f *follower) answerBatch(batch resource.EventBatch[*corev1.Pod], records []*told, alone []bool, err error) {
	h := f.h
	note := func(moment func(*told) *int64) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.seq++
		for i, r := range records {
			if !alone[i] {
				*moment(r) = h.seq
			}
		}
	}
	note(func(r *told) *int64 { return &r.done })
	batch.Done(err)
	note(func(r *told) *int64 { return &r.returned })
	batch.Done(errors.New("a second Done"))
}
