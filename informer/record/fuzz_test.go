// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// Any bytes are a recording or an error. Reading one never panics or hangs.
func FuzzReplay(f *testing.F) {
	for _, data := range recordings(f) {
		f.Add(data)
	}
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		replay, err := record.NewReplay[informertest.Object](bytes.NewReader(data), 0)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		for range 3 {
			_, _ = replay.List(ctx, metav1.ListOptions{}, func(item informer.Item[informertest.Object]) error {
				_, err := item.Decode()
				return err
			})
			_, _ = replay.ListMetadata(ctx, metav1.ListOptions{}, func(store.Meta) error { return nil })
			_, _ = replay.Absent(ctx)
			replay.WatchList()
			stream, err := replay.Watch(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for err == nil {
				var e informer.WatchEvent[informertest.Object]
				if e, err = stream.Next(); err == nil && e.Item != nil {
					_, _ = e.Item.Decode()
				}
			}
			stream.Stop()
		}
	})
}

// recordings returns recordings of scripted runs.
func recordings(f *testing.F) (all [][]byte) {
	for _, replies := range [][]informertest.Reply{
		{informertest.Listed("rv=5 a@1 nameless b@2"), informertest.Watched("+c@6", "-a@7", "bookmark 8", "error 410")},
		{informertest.Listed("error 429 retry=3"), informertest.Listed("rv=5 a@1 continue=x"), informertest.Listed("rv=5 b@1"), informertest.Watched("garbage")},
	} {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		src := record.NewSource(source.FromListerWatcher[informertest.Object](&informertest.ScriptedServer{Log: f.Logf, Replies: replies}, nil), &out)
		for range replies {
			_, _ = src.List(ctx, metav1.ListOptions{}, func(item informer.Item[informertest.Object]) error {
				_, _ = item.Decode()
				return nil
			})
			if stream, err := src.Watch(ctx, metav1.ListOptions{}); err == nil {
				for range 4 {
					_, _ = stream.Next()
				}
				stream.Stop()
			}
		}
		cancel()
		all = append(all, out.Bytes())
	}
	return all
}
