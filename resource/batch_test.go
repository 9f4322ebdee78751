// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

func TestBatchEndsWithSync(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{})
		r.sync("a", "b")
		within(t, 0, func() {
			b := takeBatch(t, batches, "upsert a@1, upsert b@2, sync")
			if !b.Synced() {
				t.Error("it does not say that there is a Sync")
			}
			b.Done(nil)
		})
		r.upsert("a")
		b := takeBatch(t, batches, "upsert a@4")
		if b.Synced() {
			t.Error("it says that there is a Sync")
		}
		b.Done(nil)
		noBatch(t, batches)
		if c := r.view.Stats().Events; c.OK != 4 || c.Emitted != 4 {
			t.Errorf("counted %+v", c)
		}
	})
}

func TestBatchOfSyncAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{MaxEvents: 2})
		r.sync("a", "b")
		takeBatch(t, batches, "upsert a@1, upsert b@2").Done(nil)
		takeBatch(t, batches, "sync").Done(nil)
	})
}

func TestBatchMaxEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{MaxEvents: 2, Quiet: time.Second})
		r.begin()
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			r.upsert(name)
		}
		within(t, 0, func() {
			takeBatch(t, batches, "upsert a@1, upsert b@2").Done(nil)
			takeBatch(t, batches, "upsert c@3, upsert d@4").Done(nil)
		})
		r.commit()
		within(t, 0, func() { takeBatch(t, batches, "upsert e@5, sync").Done(nil) })
	})
}

func TestBatchQuiet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{Quiet: 10 * time.Millisecond, MaxDelay: time.Hour})
		r.begin()
		for range 20 {
			within(t, 26*time.Millisecond, func() {
				r.upsert("a")
				time.Sleep(9 * time.Millisecond)
				r.upsert("b")
				time.Sleep(7 * time.Millisecond)
				r.upsert("c")
				v := r.version
				takeBatch(t, batches, fmt.Sprintf("upsert a@%d, upsert b@%d, upsert c@%d", v-2, v-1, v)).Done(nil)
			})
			time.Sleep(3 * time.Millisecond)
		}
	})
}

func TestBatchMaxDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{Quiet: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond})
		r.begin()
		time.Sleep(time.Second) // only what has come counts
		go func() {
			for i := range 7 {
				r.upsert(fmt.Sprint("pod-", i))
				time.Sleep(8 * time.Millisecond)
			}
		}()
		within(t, 50*time.Millisecond, func() {
			b := <-batches
			if len(b.Events) != 7 {
				t.Errorf("got %q, want 7 events", batchText(b))
			}
			b.Done(nil)
		})
		time.Sleep(time.Second)
		r.upsert("other")
		within(t, 10*time.Millisecond, func() { takeBatch(t, batches, "upsert other@8").Done(nil) })
		for i := range 3 {
			r.upsert(fmt.Sprint("late-", i))
		}
		within(t, 10*time.Millisecond, func() {
			takeBatch(t, batches, "upsert late-0@9, upsert late-1@10, upsert late-2@11").Done(nil)
		})
	})
}

func TestBatchDefaults(t *testing.T) {
	for _, cfg := range []BatchConfig{{}, {MaxEvents: -1, Quiet: -1, MaxDelay: -1}} {
		bubble(t, func(t *testing.T) {
			r := startRig(t)
			batches := batchesOf(t, r.view.Events(t.Context()), cfg)
			r.begin()
			for i := range 1001 {
				r.upsert(fmt.Sprint("pod-", i))
			}
			within(t, 0, func() {
				b := <-batches
				if len(b.Events) != 1000 {
					t.Errorf("%d events, want 1000", len(b.Events))
				}
				b.Done(nil)
			})
			within(t, 10*time.Millisecond, func() { takeBatch(t, batches, "upsert pod-1000@1001").Done(nil) })
			began := time.Now()
			go func() {
				for i := range 40 {
					r.upsert(fmt.Sprint("more-", i))
					time.Sleep(3 * time.Millisecond)
				}
			}()
			b := <-batches
			if len(b.Events) != 34 || time.Since(began) != 100*time.Millisecond {
				t.Errorf("%d events after %v", len(b.Events), time.Since(began))
			}
			b.Done(nil)
			b = <-batches
			b.Done(nil)
		})
	}
}

// Batches without their Done have different keys, and what happens meanwhile is merged.
func TestOneEventPerKeyInAllBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{})
		r.sync("a", "b")
		first := takeBatch(t, batches, "upsert a@1, upsert b@2, sync")
		for range 3 {
			r.upsert("a")
		}
		r.delete("b")
		r.upsertAs("b", "other")
		r.upsert("c")
		second := takeBatch(t, batches, "upsert c@9")
		noBatch(t, batches)
		first.Done(nil)
		// Delete and Upsert of a key that was created anew are in two batches.
		third := takeBatch(t, batches, "upsert a@6, delete b@2")
		noBatch(t, batches)
		third.Done(nil)
		second.Done(nil)
		takeBatch(t, batches, "upsert b@8").Done(nil)
	})
}

func TestBatchUpsertsAndDeletes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context()), BatchConfig{})
		r.sync("a", "b")
		takeBatch(t, batches, "upsert a@1, upsert b@2, sync").Done(nil)
		r.delete("a")
		c := r.upsert("c")
		b := takeBatch(t, batches, "delete a@1, upsert c@5")
		if got := maps.Collect(b.Upserts()); len(got) != 1 || got[podKey("c")] != c {
			t.Errorf("upserts: %v", got)
		}
		if got := maps.Collect(b.Deletes()); len(got) != 1 || got[podKey("a")].ResourceVersion != "1" {
			t.Errorf("deletes: %v", got)
		}
		for range b.Upserts() {
			break
		}
		b.Done(nil)
		if (podBatch{}).Synced() {
			t.Error("an empty batch is synced")
		}
	})
}

// What has had its Done is left alone by that of the batch.
func TestBatchDoneAfterDoneOfKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		var asked []string
		handler := func(key store.Key, _ int, err error) ErrorAction {
			asked = append(asked, fmt.Sprint(key.Name, ": ", err))
			return ErrorActionIgnore
		}
		batches := batchesOf(t, r.view.Events(t.Context(), WithErrorHandler(handler)), BatchConfig{})
		r.sync("a", "b", "c")
		b := takeBatch(t, batches, "upsert a@1, upsert b@2, upsert c@3, sync")
		b.Events[1].Done(nil)
		b.Events[2].Done(fmt.Errorf("its own"))
		b.Done(errTest)
		b.Done(fmt.Errorf("once more"))
		want := []string{"c: its own", "a: test", ": test"}
		if !slices.Equal(asked, want) {
			t.Errorf("the error handler was asked about %q, want %q", asked, want)
		}
	})
}

func TestFailedBatchIsRetriedByKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		batches := batchesOf(t, r.view.Events(t.Context(), after(time.Second)), BatchConfig{})
		r.begin()
		r.upsert("a")
		r.upsert("b")
		r.upsert("c")
		b := takeBatch(t, batches, "upsert a@1, upsert b@2, upsert c@3")
		r.delete("a")
		b.Done(errTest)
		// What changed is not held back.
		within(t, 10*time.Millisecond, func() { takeBatch(t, batches, "delete a@1").Done(errTest) })
		r.upsert("b")
		within(t, 10*time.Millisecond, func() { takeBatch(t, batches, "upsert b@5").Done(nil) })
		within(t, 990*time.Millisecond, func() { takeBatch(t, batches, "upsert c@3").Done(nil) })
		within(t, 10*time.Millisecond, func() { takeBatch(t, batches, "delete a@1").Done(nil) })
		r.commit()
		takeBatch(t, batches, "sync").Done(errTest)
		takeBatch(t, batches, "sync").Done(nil)
		noBatch(t, batches)
	})
}

// With the rate limiter that the comment of Batches recommends.
func TestFailedBatchComesBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](10*time.Millisecond, time.Minute)
		batches := batchesOf(t, r.view.Events(t.Context(), WithRateLimiter(limiter)), BatchConfig{})
		r.begin()
		const n = 500
		for i := range n {
			r.upsert(fmt.Sprint("pod-", i))
		}
		for range 3 {
			b := <-batches
			if len(b.Events) != n {
				t.Fatalf("%d events, want %d", len(b.Events), n)
			}
			b.Done(errTest)
		}
		b := <-batches
		if len(b.Events) != n {
			t.Fatalf("%d events, want %d", len(b.Events), n)
		}
		b.Done(nil)
		noBatch(t, batches)
	})
}

func TestBatchesEndWithEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events, some := r.view.Events(t.Context()), make(chan podEvent, 1)
		batches := batchesOf(t, some, BatchConfig{Quiet: time.Hour, MaxDelay: time.Hour})
		r.begin()
		r.upsert("a")
		some <- take(t, events)
		close(some) // while the subscription goes on
		within(t, 0, func() { takeBatch(t, batches, "upsert a@1").Done(nil) })
		if b, ok := <-batches; ok {
			t.Errorf("got %q after the end", batchText(b))
		}
		for range Batches(Disabled[*corev1.Pod](errTest).Events(t.Context()), BatchConfig{}) {
			t.Error("a batch of what had no events")
		}
	})
}

func TestBatchDoneMayStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		asked := 0
		handler := func(store.Key, int, error) ErrorAction {
			asked++
			return ErrorActionStop
		}
		events := r.view.Events(t.Context(), WithErrorHandler(handler))
		r.sync("a", "b")
		for b := range Batches(events, BatchConfig{}) {
			b.Done(errTest)
		}
		if asked != 1 {
			t.Errorf("the error handler was asked %d times, want 1", asked)
		}
	})
}

// A loop that is left has received all that was collected; another goes on.
func TestBatchesAfterBreak(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context())
		batches := Batches(events, BatchConfig{MaxEvents: 2})
		r.sync("a", "b", "c", "d", "e")
		var got []string
		for range 2 {
			for b := range batches {
				got = append(got, batchText(b))
				b.Done(nil)
				break
			}
		}
		expect(t, events, "upsert e@5", "sync")
		want := []string{"upsert a@1, upsert b@2", "upsert c@3, upsert d@4"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if s := r.view.Stats().Subscribers[0]; s.Outstanding != 0 {
			t.Errorf("%d events lack their Done", s.Outstanding)
		}
	})
}
