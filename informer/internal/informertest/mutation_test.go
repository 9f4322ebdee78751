// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/cacheview"
	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/poller"
)

// keepers are ways to keep objects, or to be told of them. Each runs until ctx ends and
// hands objects to use. The second value is whether they are shared, which is when
// nobody may modify them.
var keepers = map[string]struct {
	run    func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(obj any))
	shared bool
}{
	"NewInformer": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		c, err := clientgo.NewInformer[informertest.Object](lw, cache.NewStore(cache.MetaNamespaceKeyFunc), 0,
			cache.ResourceEventHandlerFuncs{AddFunc: use}, nil)
		running(t, c, err, ctx)
	}, true},
	"NewInformer, deletions": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		c, err := clientgo.NewInformer[informertest.Object](lw, cache.NewStore(cache.MetaNamespaceKeyFunc), 0,
			cache.ResourceEventHandlerFuncs{DeleteFunc: use}, nil)
		running(t, c, err, ctx)
	}, true},
	"Controller": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		c, err := clientgo.NewNamedController("things", clientgo.ControllerConfig[informertest.Object]{
			Queue: cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{EmitDeltaTypeReplaced: true}), ListerWatcher: lw,
			Process: func(item any, _ bool) error { use(item.(cache.Deltas).Newest().Object); return nil },
		})
		running(t, c, err, ctx)
	}, true},
	"Controller of a queue that transforms": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		c, err := clientgo.NewNamedController("things", clientgo.ControllerConfig[informertest.Object]{
			Queue: cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{
				EmitDeltaTypeReplaced: true, Transformer: func(obj any) (any, error) { use(obj); return obj, nil },
			}),
			ListerWatcher: lw,
			Process:       func(any, bool) error { return nil },
		})
		running(t, c, err, ctx)
	}, false},
	"NewNamespaceKeyedIndexerAndReflector": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		indexer, r, err := clientgo.NewNamespaceKeyedIndexerAndReflector[informertest.Object](lw)
		time.AfterFunc(time.Second, func() { use(indexer.List()[0]) })
		running(t, r, err, ctx)
	}, true},
	"CacheIndexer": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		x, _ := store.NewIndexer(store.MetaNamespaceKeyFunc[informertest.Object], nil)
		indexer := cacheview.CacheIndexer(x)
		r, err := clientgo.NewNamedReflector[informertest.Object]("", lw, indexer)
		time.AfterFunc(time.Second, func() { use(indexer.List()[0]) })
		running(t, r, err, ctx)
	}, true},
	"Store": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		s, _ := store.New(store.Config[informertest.Object]{OnChange: func(c store.Change[informertest.Object]) { use(c.New) }})
		reflected(t, ctx, lw, s)
	}, true},
	"UndeltaStore": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		s, _ := store.NewUndeltaStore(func(s store.Snapshot[informertest.Object]) {
			for _, obj := range s.List() {
				use(obj)
			}
		}, store.MetaNamespaceKeyFunc[informertest.Object])
		reflected(t, ctx, lw, s.Store)
	}, true},
	"FIFO": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		queue, _ := fifo.New(store.MetaNamespaceKeyFunc[informertest.Object])
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			if lease, err := queue.Pop(ctx); err == nil {
				use(lease.Object())
				lease.Done()
			}
		})
		reflected(t, ctx, lw, queue.Sink())
	}, true},
	"Poller": {func(t *testing.T, ctx context.Context, _ cache.ListerWatcher, use func(any)) {
		s, _ := store.New(store.Config[informertest.Object]{OnChange: func(c store.Change[informertest.Object]) { use(c.New) }})
		p, err := poller.New(poller.Config[informertest.Object]{Sink: s, Get: func(context.Context) (poller.Enumerator[informertest.Object], error) {
			return poller.Enumerate("1", []informertest.Object{informertest.ParseObject("a@1")}), nil
		}})
		running(t, p, err, ctx)
	}, true},
	"mirror": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		mirrored(t, ctx, mirror.InformerConfig[informertest.Object]{ListerWatcher: lw}, use)
	}, false},
	"mirror with an ExtraStore": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		extra := clientgo.StoreSink[informertest.Object](cache.NewStore(cache.MetaNamespaceKeyFunc))
		mirrored(t, ctx, mirror.InformerConfig[informertest.Object]{ListerWatcher: lw, ExtraStore: extra}, use)
	}, true},
	"ListWatchHelper": {func(t *testing.T, ctx context.Context, lw cache.ListerWatcher, use func(any)) {
		h, err := push.NewListWatchHelper(lw, push.ListWatchCallback[informertest.Object]{
			OnList: func(_ context.Context, objects []informer.Object[informertest.Object]) error {
				use(objects[0].Object)
				return nil
			},
			OnEvent: func(_ context.Context, change push.BatchChange[informertest.Object]) error {
				use(change.Object.Object)
				return nil
			},
		})
		running(t, h, err, ctx)
	}, false},
}

func running(t *testing.T, r interface{ Run(context.Context) error }, err error, ctx context.Context) {
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(ctx); err != context.Cause(ctx) {
		t.Error(err)
	}
}

func reflected(t *testing.T, ctx context.Context, lw cache.ListerWatcher, sink store.Sink[informertest.Object]) {
	r, err := informer.NewReflector(informer.Config[informertest.Object]{Source: source.FromListerWatcher[informertest.Object](lw, nil), Sink: sink})
	running(t, r, err, ctx)
}

func mirrored(t *testing.T, ctx context.Context, cfg mirror.InformerConfig[informertest.Object], use func(any)) {
	cfg.Handler = mirror.ResourceEventHandlerFuncs[informertest.Object]{
		AddFunc: func(_ context.Context, obj informer.Object[informertest.Object]) error { use(obj.Object); return nil },
	}
	i, err := mirror.NewResourceVersionInformer("things", cfg)
	running(t, i, err, ctx)
}

// With KUBE_CACHE_MUTATION_DETECTOR in its environment a process ends that modifies an
// object that is shared, and no other. The variable is read when a process starts, so
// there is one for each case.
func TestMutationDetector(t *testing.T) {
	const does = "MUTATION_TEST"
	if what := os.Getenv(does); what != "" {
		name, modify := strings.CutPrefix(what, "modify ")
		keepAndUse(t, name, modify)
		return
	}
	for name, keeper := range keepers {
		for _, modify := range []bool{true, false} {
			what := name
			if modify {
				what = "modify " + name
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestMutationDetector$", "-test.v")
			cmd.Env = append(os.Environ(), "KUBE_CACHE_MUTATION_DETECTOR=true", does+"="+what)
			out, err := cmd.CombinedOutput()
			found := err != nil && strings.Contains(string(out), "modified: objects are shared") && strings.Contains(string(out), "mine")
			used := strings.Contains(string(out), "used a")
			if found != (modify && keeper.shared) || !found && err != nil || !used {
				t.Errorf("%s: %v\n%s", what, err, out)
			}
		}
	}
}

// keepAndUse has an object kept, and reads or modifies it.
func keepAndUse(t *testing.T, name string, modify bool) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		server := informertest.Scripted(t, informertest.Listed("rv=5 a@1"), informertest.Watched("after 2s", "-a@6"))
		keepers[name].run(t, ctx, server, func(obj any) {
			o, ok := obj.(informertest.Object)
			if !ok || o == nil {
				return
			}
			t.Log("used", o.Name)
			_ = o.Labels["whose"]
			if modify {
				o.Labels = map[string]string{"whose": "mine"}
			}
		})
	})
}
