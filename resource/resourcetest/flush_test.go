// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource/resourcetest"
)

func TestFlush(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	fails := func(fake *pods, want string) {
		t.Helper()
		err := fake.Flush(ended)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	fake := resourcetest.New[*corev1.Pod](t)
	fails(fake, "not used or not started")
	events := fake.Resource().Events(t.Context())
	for range 100 { // before Sync as well
		fake.Upsert(pod("a"))
		if err := fake.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fake.Sync()
	if err := fake.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	store, err := fake.Resource().Store(ended) // does not wait
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		switch i % 10 {
		case 3:
			fake.Disconnect(nil)
		case 7:
			fake.Expire()
		}
		want := fake.Upsert(pod("a"))
		if err := fake.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := store.Get(want); got.ResourceVersion != want.ResourceVersion {
			t.Fatalf("the store has %s, want %s", got.ResourceVersion, want.ResourceVersion)
		}
	}
	(<-events).Done(nil)
	fake.Fail(errors.New("away"))
	fails(fake, `requests fail with "away"`)
}
