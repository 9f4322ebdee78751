// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/poller"
)

// What was written to the server can be read once WaitFor has returned, by key and
// by selector.
func TestReadYourWrites(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	var pods resource.Resource[*corev1.Pod]
	startApp(t, cluster.Kubeconfig(), get(&pods), cells.Resource[*corev1.Pod](cells.InNamespace(ns)))
	s, err := pods.Store(t.Context())
	must(t, err)
	lister, err := resource.NewLister(s, corev1.Resource("pods"), "turn")
	must(t, err)
	client := server.kube.CoreV1().Pods(ns)
	written, err := client.Create(t.Context(), newPod("web"), metav1.CreateOptions{})
	must(t, err)
	for turn := range 30 {
		must(t, s.WaitFor(t.Context(), written.ResourceVersion))
		held, exists, _ := s.GetByKey(store.Key{Namespace: ns, Name: "web"})
		if !exists || held.ResourceVersion != written.ResourceVersion {
			t.Fatalf("turn %d: wrote version %s, read %+v", turn, written.ResourceVersion, held)
		}
		if turn > 0 {
			found := lister.In(ns).List(labels.Set{"turn": fmt.Sprint(turn)}.AsSelector())
			if len(found) != 1 {
				t.Fatalf("turn %d: found %d pods", turn, len(found))
			}
		}
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"turn":"%d"}}}`, turn+1)
		written, err = client.Patch(t.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{})
		must(t, err)
	}
	must(t, client.Delete(t.Context(), "web", now()))
}

// A Reflector fills a FIFO. Two consumers, of whom one fails now and then, have in
// the end processed the last state of each object that is left.
func TestReflectorFillsFIFO(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig())
	queue, err := fifo.New(store.MetaNamespaceKeyFunc[*corev1.ConfigMap])
	must(t, err)
	reflector, err := informer.NewReflector(informer.Config[*corev1.ConfigMap]{
		Source: source.FromListerWatcher[*corev1.ConfigMap](w.lw(nil), nil), Sink: queue.Sink(),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var (
		running   sync.WaitGroup
		mu        sync.Mutex
		processed = map[store.Key]store.Meta{}
		writes    atomic.Int64
		tries     atomic.Int64
	)
	running.Go(func() { _ = reflector.Run(ctx) })
	for range 2 {
		running.Go(func() {
			for {
				lease, err := queue.Pop(ctx)
				if err != nil {
					return
				}
				if tries.Add(1)%5 == 0 {
					lease.Retry(10 * time.Millisecond)
					continue
				}
				mu.Lock()
				processed[lease.Key()] = store.MetaOf(lease.Object())
				mu.Unlock()
				lease.Done()
			}
		})
	}
	defer running.Wait()
	defer cancel()
	churning, calm := context.WithTimeout(ctx, 2*time.Second)
	defer calm()
	churnMaps(churning, w, 20, &writes)
	truth := w.truth()
	left := func() map[store.Key]store.Meta { // of what the queue knows nothing any more
		mu.Lock()
		defer mu.Unlock()
		last := maps.Clone(processed)
		maps.DeleteFunc(last, func(key store.Key, _ store.Meta) bool {
			_, ok := truth[key]
			return !ok
		})
		return last
	}
	until(t, "the last state of each object is processed", func() bool { return maps.Equal(left(), truth) }, func() any {
		return fmt.Sprintf("%+v\n%s", queue.Stats(), difference(left(), truth))
	})
	if stats := queue.Stats(); stats.Retried == 0 || !queue.HasSynced() {
		t.Errorf("%+v", stats)
	}
	t.Logf("%d writes: %+v", writes.Load(), queue.Stats())
}

// A Poller keeps a store in step with lists alone.
func TestPoller(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig())
	w.create("a")
	w.create("b")
	var changes atomic.Int64
	s, err := store.New(store.Config[*corev1.ConfigMap]{OnChange: func(store.Change[*corev1.ConfigMap]) { changes.Add(1) }})
	must(t, err)
	poller, err := poller.New(poller.Config[*corev1.ConfigMap]{
		Sink: s, Period: 20 * time.Millisecond,
		Get: func(ctx context.Context) (poller.Enumerator[*corev1.ConfigMap], error) {
			list, err := w.kube.CoreV1().ConfigMaps(w.ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				return poller.Enumerator[*corev1.ConfigMap]{}, err
			}
			return poller.Enumerator[*corev1.ConfigMap]{Version: list.ResourceVersion, Objects: objectsOf(list.Items)}, nil
		},
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = poller.Run(ctx) })
	defer running.Wait()
	defer cancel()
	settled := func(want int64) {
		t.Helper()
		polls := poller.Info().Polls + 3
		until(t, "the store has what the server has", func() bool {
			held := map[store.Key]store.Meta{}
			for meta := range s.Entries() {
				held[meta.Key] = meta
			}
			return maps.Equal(held, w.truth()) && poller.Info().Polls > polls
		}, func() any { return poller.Info() })
		if got := changes.Load(); got != want {
			t.Errorf("%d changes were told, want %d", got, want)
		}
	}
	settled(2)
	w.patch("a")
	w.delete("b")
	settled(4)
}

func objectsOf(items []corev1.ConfigMap) iter.Seq2[*corev1.ConfigMap, error] {
	return func(yield func(*corev1.ConfigMap, error) bool) {
		for i := range items {
			if !yield(&items[i], nil) {
				return
			}
		}
	}
}
