// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// transforming are the queues of client-go that transform, which may be in place.
var transforming = map[string]func(cache.TransformFunc) cache.Queue{
	"DeltaFIFO": func(transform cache.TransformFunc) cache.Queue {
		return cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{EmitDeltaTypeReplaced: true, Transformer: transform})
	},
	"RealFIFO": func(transform cache.TransformFunc) cache.Queue {
		return cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{KnownObjects: cache.NewStore(cache.MetaNamespaceKeyFunc), Transformer: transform})
	},
}

// What a queue does to an object in place it does to no other, though equal parts of
// them were read from a stream.
func TestQueueTransforms(t *testing.T) {
	const pods = 8
	untiered := func(obj any) (any, error) {
		if p, ok := obj.(*corev1.Pod); ok && p.Name == "web-5" {
			delete(p.Labels, "tier")
		}
		return obj, nil
	}
	for name, queue := range transforming {
		for way, fill := range map[string]func(ctx context.Context, lw cache.ListerWatcher, process cache.PopProcessFunc) error{
			"NewNamedController": func(ctx context.Context, lw cache.ListerWatcher, process cache.PopProcessFunc) error {
				c, err := clientgo.NewNamedController("things", clientgo.ControllerConfig[*corev1.Pod]{
					Queue: queue(untiered), ListerWatcher: lw, Process: cache.ProcessFunc(process),
				})
				if err != nil {
					return err
				}
				return c.Run(ctx)
			},
			"NewNamedReflector": func(ctx context.Context, lw cache.ListerWatcher, process cache.PopProcessFunc) error {
				q := queue(untiered)
				r, err := clientgo.NewNamedReflector[*corev1.Pod]("things", lw, q)
				if err != nil {
					return err
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				defer q.Close()
				wg.Go(func() {
					for range pods {
						_, _ = q.Pop(process)
					}
				})
				return r.Run(ctx)
			},
		} {
			test := func(t *testing.T) {
				tiers := map[string]string{}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				list := informertest.Encode(t, runtime.ContentTypeProtobuf, informertest.WirePods(pods))
				err := fill(ctx, informertest.Bodies{Left: &[][]byte{list}}, func(item any, _ bool) error {
					p := item.(cache.Deltas).Newest().Object.(*corev1.Pod)
					tiers[p.Name] = p.Labels["tier"]
					return nil
				})
				if err != context.DeadlineExceeded {
					t.Error(err)
				}
				for _, pod := range slices.Sorted(maps.Keys(tiers)) {
					if got := tiers[pod]; (got == "front") == (pod == "web-5") {
						t.Errorf("%s has tier %q", pod, got)
					}
				}
				if len(tiers) != pods {
					t.Errorf("%d pods", len(tiers))
				}
			}
			t.Run(way+" "+name, func(t *testing.T) { synctest.Test(t, test) })
		}
	}
}
