// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

type podBatch = EventBatch[*corev1.Pod]

// batchesOf runs the loop of a consumer, which waits with each batch until the test
// takes it. It ends when events is closed, or the test ends.
func batchesOf(t testing.TB, events <-chan podEvent, cfg BatchConfig) <-chan podBatch {
	out := make(chan podBatch)
	go func() {
		defer close(out)
		for batch := range Batches(events, cfg) {
			select {
			case out <- batch:
			case <-t.Context().Done():
			}
		}
	}()
	return out
}

// batchText is a batch in the form that the tests compare.
func batchText(b podBatch) string {
	var texts []string
	for _, e := range b.Events {
		texts = append(texts, text(e))
	}
	return strings.Join(texts, ", ")
}

// takeBatch takes one batch. It fails the test if that is not as wanted.
func takeBatch(t testing.TB, batches <-chan podBatch, want string) podBatch {
	t.Helper()
	select {
	case b, ok := <-batches:
		if got := batchText(b); got != want || !ok {
			t.Fatalf("got %q (open: %v), want %q", got, ok, want)
		}
		return b
	case <-time.After(10 * time.Second):
		t.Fatalf("no batch, want %q", want)
	}
	panic("unreachable")
}

func noBatch(t testing.TB, batches <-chan podBatch) {
	t.Helper()
	select {
	case b, ok := <-batches:
		t.Fatalf("got %q (open: %v), want nothing", batchText(b), ok)
	case <-time.After(10 * time.Second):
	}
}

// within fails the test if f does not take as long as it should.
func within(t testing.TB, want time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took != want {
		t.Fatalf("it took %v, want %v", took, want)
	}
}
