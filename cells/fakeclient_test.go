// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
)

// A hive runs on a configuration that its caller has.
func TestClientFrom(t *testing.T) {
	api := fakeapi.New()
	defer api.Disconnect()
	if err := api.Add(pod("a", "one")); err != nil {
		t.Fatal(err)
	}
	err := run(t, quiet(), nil, ClientFrom(api.Config()), Resource[*corev1.Pod](),
		atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
			if n := len(storeOf(t, ctx, r).List()); n != 1 {
				t.Errorf("%d pods, want 1", n)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	err = run(t, quiet(), nil, ClientFrom(nil), Resource[*corev1.Pod](),
		atStart(t, func(context.Context, resource.Resource[*corev1.Pod]) error { return nil }))
	if err == nil || !strings.Contains(err.Error(), "config is nil") {
		t.Errorf("without a configuration: %v", err)
	}
}

// Bookmarks of the fake server keep a quiet watch open.
func TestBookmarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(pod("a", "one")); err != nil {
			t.Fatal(err)
		}
		err := run(t, quiet(), nil, withFake(api), Resource[*corev1.Pod](),
			atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
				storeOf(t, ctx, r)
				time.Sleep(4 * time.Minute) // of the bubble
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		watches := 0
		for _, r := range api.Requests() {
			if r.Verb == "watch" {
				watches++
			}
		}
		if watches != 1 {
			t.Errorf("%d watches in 4 minutes, want 1", watches)
		}
	})
}
