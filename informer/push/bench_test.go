// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// BenchmarkMerging adds a million changes of 100,000 keys to a merger: to one whose
// consumer accepts at once, which is as fast as it gets, and to one that is kept from
// delivering, so that all of them merge. For that one there is also what a pending key
// takes, without its object.
func BenchmarkMerging(b *testing.B) {
	const changes, keys = 1_000_000, 100_000
	objects := make([]metav1.PartialObjectMetadata, keys)
	for i := range objects {
		objects[i].Namespace, objects[i].Name = fmt.Sprintf("namespace-%02d", i%50), fmt.Sprintf("a-name-of-some-length-%09d", i)
		objects[i].UID = types.UID(fmt.Sprintf("0f8fad5b-d9cb-469f-a165-%012d", i))
	}
	add := func(m *push.EventMerger[informertest.Object]) {
		for i := range changes {
			obj := &objects[i%keys]
			meta := store.Meta{Key: store.Key{Name: obj.Name, Namespace: obj.Namespace}, UID: obj.UID, Version: strconv.Itoa(i + 1)}
			if err := m.Add(b.Context(), watch.Modified, meta, obj); err != nil {
				b.Fatal(err)
			}
		}
	}
	cfg := push.MergerConfig[informertest.Object]{MaxPending: keys, SizeOf: func(informertest.Object) int { return 1 }}
	b.Run("delivered", func(b *testing.B) {
		told := 0
		for b.Loop() {
			m, err := push.NewEventMerger("bench", cfg, func(_ context.Context, batch push.Batch[informertest.Object]) error {
				told += len(batch.Changes)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- m.Run(ctx) }()
			add(m)
			if err := m.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			cancel()
			<-ended
		}
		b.ReportMetric(float64(changes)*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
		b.ReportMetric(float64(told)/float64(b.N), "told")
	})
	b.Run("pending", func(b *testing.B) {
		held := cfg
		held.Quiet, held.MaxDelay, held.MaxItems = time.Hour, time.Hour, 2*keys
		var bytes float64
		for b.Loop() {
			m, err := push.NewEventMerger("bench", held, func(context.Context, push.Batch[informertest.Object]) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			before := informertest.HeapInUse()
			add(m)
			bytes += float64(informertest.HeapInUse()-before) / keys
			if s := m.Stats(); s.Pending != keys {
				b.Fatalf("%+v", s)
			}
		}
		b.ReportMetric(float64(changes)*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
		b.ReportMetric(bytes/float64(b.N), "B/pending-key")
	})
}
