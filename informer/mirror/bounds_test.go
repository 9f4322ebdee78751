// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
)

// The bound counts bytes as well, but lets an object of any size through alone.
func TestMaxPendingBytes(t *testing.T) {
	var mu sync.Mutex
	pending := int64(0)
	p := playMirror(t, `
list rv=100 a@1 b@2 c@3 huge@4 d@5
watch
  after 1s
  +e@101
  +huge2@102
  +f@103
watch
  +huge2@102
  +f@103
watch
  +f@103
stop 1m`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.MaxPendingBytes = 100
		cfg.SizeOf = func(obj informertest.Object) int {
			if strings.HasPrefix(obj.Name, "huge") {
				return 1000
			}
			return 40
		}
		h := cfg.Handler.(*scriptedHandler)
		cfg.Handler = mirror.FilteringResourceEventHandler[informertest.Object]{Handler: h, FilterFunc: func(informertest.Object) bool {
			mu.Lock()
			defer mu.Unlock()
			pending = max(pending, h.play.informer.Stats().PendingBytes)
			return true
		}}
	})
	p.wantRecorded(t, "a@1", "b@2", "c@3", "d@5", "e@101", "f@103", "huge@4", "huge2@102")
	if pending != 1000 {
		t.Errorf("%d bytes were pending at a time, want those of the huge object alone", pending)
	}
}

// What waits takes in changes of its own key, but does not grow over the bound by
// that, unless it is alone.
func TestMaxPendingBytesOfMerged(t *testing.T) {
	var mu sync.Mutex
	pending := int64(0)
	p := playMirror(t, `
config nosave
list rv=100 first@1
watch
  after 1s
  +a@101
  +b@102
  +c@103
  ~b@1104
  ~c@1105
watch
  ~b@1104
  ~c@1105
watch
  ~c@1105
watch
handler slow 1s add a
handler slow 1s add b@102
stop 1m`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.MaxPendingBytes = 100
		cfg.SizeOf = func(obj informertest.Object) int {
			if len(obj.ResourceVersion) > 3 {
				return 90
			}
			return 30
		}
		h := cfg.Handler.(*scriptedHandler)
		cfg.Handler = mirror.FilteringResourceEventHandler[informertest.Object]{Handler: h, FilterFunc: func(informertest.Object) bool {
			time.Sleep(time.Millisecond) // what comes at the same moment is pending by then
			mu.Lock()
			defer mu.Unlock()
			pending = max(pending, h.play.informer.Stats().PendingBytes)
			return true
		}}
	})
	p.wantRecorded(t, "first@1", "a@101", "b@1104", "c@1105")
	// One that came during a call for the same key is let in.
	if pending > 100+90 {
		t.Errorf("%d bytes were pending at a time", pending)
	}
}

// The default estimate of an object's size is of its order of magnitude.
func TestDefaultSizeOf(t *testing.T) {
	big := strings.Repeat("x", 10_000)
	type small struct {
		Name   string
		Labels map[string]string
		ports  []int32
		self   any
	}
	cyclic := &small{Name: big}
	cyclic.self = cyclic
	for name, test := range map[string]struct {
		size     func() int64
		from, to int64
	}{
		"protobuf":     {pendingBytes(t, &corev1.Secret{Data: map[string][]byte{"key": []byte(big)}}), 10_000, 11_000},
		"unstructured": {pendingBytes(t, &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"key": big, "n": int64(1)}, "list": []any{"a", true}}}), 10_000, 11_000},
		"other":        {pendingBytes(t, &small{Name: big, Labels: map[string]string{big: big}, ports: make([]int32, 1000)}), 34_000, 35_000},
		"cyclic":       {pendingBytes(t, cyclic), 10_000, 1 << 40},
		"nil":          {pendingBytes[*small](t, nil), 0, 100},
	} {
		if size := test.size(); size < test.from || size > test.to {
			t.Errorf("%s: %d bytes, want %d to %d", name, size, test.from, test.to)
		}
	}
}

// pendingBytes returns what an informer says of one pending object.
func pendingBytes[T any](t *testing.T, obj T) func() int64 {
	return func() (size int64) {
		synctest.Test(t, func(t *testing.T) {
			server := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true}
			server.Read("list rv=1 a@1")
			i, err := mirror.NewResourceVersionInformer("sizes", mirror.InformerConfig[T]{
				ListerWatcher: server,
				Transform:     func(runtime.Object) (T, error) { return obj, nil },
				Handler: mirror.ResourceEventHandlerFuncs[T]{AddFunc: func(ctx context.Context, _ informer.Object[T]) error {
					<-ctx.Done()
					return context.Cause(ctx)
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { _ = i.Run(ctx) }()
			synctest.Wait()
			size = i.Stats().PendingBytes
		})
		return size
	}
}
