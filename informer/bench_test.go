// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// benchSource gives an empty list and then n modifications of 1000 pods, made
// beforehand.
type benchSource struct{ events []watch.Event }

func newBenchSource(n int) *benchSource {
	s := &benchSource{events: make([]watch.Event, n)}
	pods := make([]corev1.Pod, n)
	for i := range pods {
		pods[i].Namespace, pods[i].Name = "default", "pod-"+strconv.Itoa(i%1000)
		pods[i].ResourceVersion = strconv.Itoa(i + 2)
		s.events[i] = watch.Event{Type: watch.Modified, Object: &pods[i]}
	}
	return s
}

func (s *benchSource) lw() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			w := &benchWatch{events: make(chan watch.Event, 100), done: make(chan struct{})}
			go w.play(s.events)
			return w, nil
		},
	}, marked{})
}

type marked struct{}

func (marked) IsWatchListSemanticsUnSupported() bool { return true }

type benchWatch struct {
	events chan watch.Event
	done   chan struct{}
}

func (w *benchWatch) ResultChan() <-chan watch.Event { return w.events }
func (w *benchWatch) Stop()                          { close(w.done) }
func (w *benchWatch) play(events []watch.Event) {
	defer close(w.events)
	for _, e := range events {
		select {
		case w.events <- e:
		case <-w.done:
			return
		}
	}
	<-w.done
}

// countingSink counts changes.
type countingSink struct {
	store.SinkDefaults
	left int
	done chan struct{}
}

func (s *countingSink) Begin(context.Context, store.Pass) error { return nil }
func (s *countingSink) Apply(context.Context, store.Meta, *corev1.Pod) error {
	if s.left--; s.left == 0 {
		close(s.done)
	}
	return nil
}
func (s *countingSink) Delete(context.Context, store.Meta, *corev1.Pod, bool) error { return nil }
func (s *countingSink) Commit(context.Context, string) error                        { return nil }
func (s *countingSink) Abort(store.Pass, error)                                     {}

// countingStore is the same for client-go; it may keep the objects.
type countingStore struct {
	cache.Store
	keeps bool
	left  int
	done  chan struct{}
}

func (s *countingStore) Update(obj any) error {
	if s.keeps {
		_ = s.Store.Update(obj)
	}
	if s.left--; s.left == 0 {
		close(s.done)
	}
	return nil
}

func runOurs(b *testing.B, src *benchSource, n int) time.Duration {
	sink := &countingSink{left: n, done: make(chan struct{})}
	r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
		Source: source.FromListerWatcher[*corev1.Pod](src.lw(), nil), Sink: sink,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	start := time.Now()
	go func() { ran <- r.Run(ctx) }()
	<-sink.done
	took := time.Since(start)
	cancel()
	<-ran
	return took
}

func runTheirs(src *benchSource, st cache.ReflectorStore, done chan struct{}) time.Duration {
	r := cache.NewReflectorWithOptions(src.lw(), &corev1.Pod{}, st, cache.ReflectorOptions{Name: "bench"})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(ran)
		r.RunWithContext(ctx)
	}()
	<-done
	took := time.Since(start)
	cancel()
	<-ran
	return took
}

// BenchmarkEvents measures events from an in-process watch to a sink that does
// nothing, and the same with client-go's Reflector, into its store and into one
// that does nothing.
func BenchmarkEvents(b *testing.B) {
	const n = 200_000
	source := newBenchSource(n)
	var ours, theirs, kept time.Duration
	b.ReportAllocs()
	for b.Loop() {
		ours += runOurs(b, source, n)
		for _, keeps := range []bool{false, true} {
			st := &countingStore{Store: cache.NewStore(cache.MetaNamespaceKeyFunc), keeps: keeps, left: n, done: make(chan struct{})}
			took := runTheirs(source, st, st.done)
			if keeps {
				kept += took
			} else {
				theirs += took
			}
		}
	}
	total := float64(n) * float64(b.N)
	b.ReportMetric(total/ours.Seconds(), "ours-events/s")
	b.ReportMetric(total/theirs.Seconds(), "client-go-noop-events/s")
	b.ReportMetric(total/kept.Seconds(), "client-go-store-events/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio-noop")
	b.ReportMetric(kept.Seconds()/ours.Seconds(), "ratio-store")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEventAllocs measures what one event costs on the way from the watch to the sink.
func BenchmarkEventAllocs(b *testing.B) {
	source := newBenchSource(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	runOurs(b, source, b.N)
}
