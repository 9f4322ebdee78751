// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// listsOf returns the pages that were requested since skip requests, each as "metadata" or
// "whole", and how many requests there were in all.
func listsOf(api *fakeapi.Server, skip int) (pages []string, all int) {
	requests := api.Requests()
	for _, r := range requests[skip:] {
		switch {
		case r.Verb != "list":
		case strings.Contains(r.Accept, "as=PartialObjectMetadataList"):
			pages = append(pages, "metadata")
		default:
			pages = append(pages, "whole")
		}
	}
	return pages, len(requests)
}

// A check of metadata requests no more than that, in pages, and decodes nothing, as long
// as the store has what the server has. Deletions need no more either. A new or a changed
// object makes a list of whole objects follow, and so does Resync.
func TestCheckMetadata(t *testing.T) {
	t.Run("by type", func(t *testing.T) { checkMetadata[*corev1.Pod](t) })
	t.Run("unstructured", func(t *testing.T) { checkMetadata[*unstructured.Unstructured](t, Unstructured("pods.v1.")) })
}

func checkMetadata[T runtime.Object](t *testing.T, opts ...Option) {
	synctest.Test(t, func(t *testing.T) {
		decoded := 0
		opts = append(opts, With(resource.WithSettings(informer.Settings{
			CheckMetadata: true, ResyncInterval: time.Minute, CheckInterval: -1, PageSize: 2, Lists: informer.ListPaged,
			PollInterval: -1, MaxInternalErrorRetryDuration: 24 * time.Hour, Backoff: informer.Backoff{Jitter: -1},
		}), resource.WithObserver(informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
			switch o := o.(type) {
			case informer.ListDone:
				decoded += o.Decoded
			case informer.Missed:
				t.Errorf("a false alarm: %+v", o)
			}
		}))))
		api, skip := fakeapi.New(), 0
		if err := api.Add(pod("n", "a"), pod("n", "b"), pod("n", "c"), pod("n", "d"), pod("n", "e")); err != nil {
			t.Fatal(err)
		}
		err := run(t, quiet(), nil, withFake(api), Resource[T](opts...), atStart(t, func(_ context.Context, r resource.Resource[T]) error {
			s := storeOf(t, t.Context(), r)
			after := func(d time.Duration, want ...string) {
				t.Helper()
				time.Sleep(d)
				synctest.Wait()
				var pages []string
				pages, skip = listsOf(api, skip)
				expect(t, pages, want...)
			}
			after(time.Second, "whole", "whole", "whole")
			after(65*time.Second, "metadata", "metadata", "metadata")
			if decoded != 5 {
				t.Errorf("%d objects were decoded", decoded)
			}

			refusing(api, forbidden, "watch")
			api.Disconnect()
			if err := api.Add(pod("n", "z")); err != nil {
				return err
			}
			after(100*time.Second, "metadata", "metadata", "metadata", "whole", "whole", "whole")
			expect(t, keys(s), "n/a", "n/b", "n/c", "n/d", "n/e", "n/z")
			if decoded != 6 {
				t.Errorf("%d objects were decoded", decoded)
			}
			if err := api.Remove(pod("n", "a")); err != nil {
				return err
			}
			after(70*time.Second, "metadata", "metadata", "metadata")
			expect(t, keys(s), "n/b", "n/c", "n/d", "n/e", "n/z")
			r.Resync(nil)
			after(10*time.Second, "whole", "whole", "whole")
			return nil
		}))
		if err != nil {
			t.Error(err)
		}
	})
}

// What was missed is counted by objects, and a check that found a difference as a list.
func TestMissedMetrics(t *testing.T) {
	c := &counters{}
	pass := store.Pass{Reason: store.ReasonCheck}
	c.Observe(informer.ReflectorInfo{}, informer.CheckDiffers{Pass: pass})
	c.Observe(informer.ReflectorInfo{}, informer.Missed{Pass: pass, Count: 2})
	c.Observe(informer.ReflectorInfo{}, informer.Missed{Pass: pass, Count: 1})
	m := &ResourceMetrics{resources: &Resources{}}
	m.resources.add(&followed{name: "pods", counters: c, resource: func() resource.Stats { return resource.Stats{} }})
	want := `
# HELP apiary_resource_lists_total Lists that ended, by reason; all but reason "first" are relists.
# TYPE apiary_resource_lists_total counter
apiary_resource_lists_total{mode="paged",reason="check",resource="pods",result="differs"} 1
# HELP apiary_resource_missed_total Changes that a list found and the watch had missed.
# TYPE apiary_resource_missed_total counter
apiary_resource_missed_total{resource="pods"} 3
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "apiary_resource_lists_total", "apiary_resource_missed_total"); err != nil {
		t.Error(err)
	}
}
