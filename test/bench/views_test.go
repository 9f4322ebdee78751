// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/resource"
)

// viewers are implementations of many narrow views of one collection: view i follows the
// pods of node i. start returns when every view has seen its pods. next is called for each
// event of a view.
var viewers = []struct {
	name  string
	most  int // views
	start func(src *podSource, views int, next func(view int)) (viewer, error)
}{
	{"apiary by index", 10_000, startIndexed},
	{"apiary, one unfiltered subscriber", 1, startWhole},
	{"apiary by filter", 1000, startFiltered},
	{"client-go", 1000, startHandlers},
	{"ideal", 10_000, startChannels},
}

// viewer is a running implementation.
type viewer struct {
	stop func()

	// churn opens a view, waits until it has its pods, and closes it. It is nil where a view
	// cannot be opened alone.
	churn func(view int)
}

// BenchmarkViews: an operation is the change of a pod, until the view of its node has seen
// it. Only CPU time counts. replay-ms is the CPU time from the first view to the last pod of
// the last one, and B/view the memory that a view costs, goroutines included.
func BenchmarkViews(b *testing.B) {
	for _, keys := range []int{20_000, 200_000} {
		for _, views := range []int{1, 10, 100, 1000, 10_000} {
			for _, v := range viewers {
				if views > v.most || v.name == "apiary by filter" && keys*views > 20_000*1000 || v.name == "client-go" && keys*views > 20_000*1000 {
					continue
				}
				b.Run(fmt.Sprintf("keys=%d/views=%d/%s", keys, views, v.name), func(b *testing.B) {
					pods := makePods(keys)
					for i, pod := range pods {
						pod.Spec.NodeName = strconv.Itoa(i % views)
					}
					src := newSource(pods)
					var seen atomic.Int64
					before, cpu := memoryUsed(), cpuUsed()
					running, err := v.start(src, views, func(int) { seen.Add(1) })
					if err != nil {
						b.Fatal(err)
					}
					defer running.stop()
					await := func(n int64) {
						for seen.Load() < n {
							time.Sleep(20 * time.Microsecond)
						}
					}
					await(int64(keys))
					replay := cpuUsed() - cpu
					time.Sleep(3 * time.Second) // goroutines without work end
					each := float64(memoryUsed()-before) / float64(views)
					runtime.KeepAlive(pods)
					round, total := uint32(2), int64(keys)
					cpu = cpuUsed()
					const burst = 1000
					b.ResetTimer()
					for i := range b.N {
						at := (i * 7919) % keys // spread over the views
						src.write(watch.Modified, src.prepare(round, at))
						if total++; (i+1)%burst == 0 || i == b.N-1 {
							await(total)
							round++
						}
					}
					b.StopTimer()
					b.ReportMetric(float64((cpuUsed()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/event")
					b.ReportMetric(float64(replay.Microseconds())/1000, "replay-ms")
					b.ReportMetric(each, "B/view")
					b.ReportMetric(0, "ns/op") // the clock says little on a shared machine
					if running.churn == nil {
						return
					}
					cpu = cpuUsed()
					const churned = 1000
					for i := range churned {
						running.churn(i % views)
					}
					b.ReportMetric(float64((cpuUsed()-cpu).Microseconds())/churned, "cpu-us/open+close")
				})
			}
		}
	}
}

func cpuUsed() time.Duration {
	var r syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// memoryUsed returns the bytes of heap and stacks in use.
func memoryUsed() int64 {
	for range 4 {
		runtime.GC() // each shrinks stacks by half
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

var nodeIndex = cache.Indexers{"node": func(obj any) ([]string, error) { return []string{obj.(*corev1.Pod).Spec.NodeName}, nil }}

func startIndexed(src *podSource, views int, next func(int)) (viewer, error) {
	return startViews(src, views, next, func(r resource.Resource[*corev1.Pod], i int) resource.Resource[*corev1.Pod] {
		return resource.ByIndex(r, "node", strconv.Itoa(i))
	})
}

func startFiltered(src *podSource, views int, next func(int)) (viewer, error) {
	return startViews(src, views, next, func(r resource.Resource[*corev1.Pod], i int) resource.Resource[*corev1.Pod] {
		node := strconv.Itoa(i)
		return resource.Filter(r, func(p *corev1.Pod) bool { return p.Spec.NodeName == node })
	})
}

func startWhole(src *podSource, views int, next func(int)) (viewer, error) {
	return startViews(src, views, next, func(r resource.Resource[*corev1.Pod], _ int) resource.Resource[*corev1.Pod] { return r })
}

func startViews(src *podSource, views int, next func(int), of func(resource.Resource[*corev1.Pod], int) resource.Resource[*corev1.Pod]) (viewer, error) {
	f := &inHive{}
	r := resource.New[*corev1.Pod](&f.lc, src, resource.WithLogger(quiet), resource.WithIndexers(nodeIndex))
	must(f.lc.Start(quiet, context.Background()))
	if _, err := r.Store(context.Background()); err != nil { // so that the views are replayed
		return viewer{}, err
	}
	follow := func(ctx context.Context, i int, next func(int)) <-chan struct{} {
		events, synced := of(r, i).Events(ctx), make(chan struct{})
		f.readers.Go(func() {
			for event := range events {
				event.Done(nil)
				if event.Kind == resource.Sync {
					close(synced)
					continue
				}
				next(i)
			}
		})
		return synced
	}
	for i := range views {
		follow(context.Background(), i, next)
	}
	return viewer{
		stop: func() { must(f.end()) },
		churn: func(i int) {
			ctx, cancel := context.WithCancel(context.Background())
			<-follow(ctx, i, func(int) {})
			cancel()
		},
	}, nil
}

// startHandlers is a client-go informer with a handler for each view, which filters.
func startHandlers(src *podSource, views int, next func(int)) (viewer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	informer := cache.NewSharedIndexInformer(src, &corev1.Pod{}, 0, cache.Indexers{})
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	<-informer.HasSyncedChecker().Done()
	add := func(i int, next func(int)) (cache.ResourceEventHandlerRegistration, error) {
		node := strconv.Itoa(i)
		return informer.AddEventHandler(cache.FilteringResourceEventHandler{
			FilterFunc: func(obj any) bool { return obj.(*corev1.Pod).Spec.NodeName == node },
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    func(any) { next(i) },
				UpdateFunc: func(any, any) { next(i) },
				DeleteFunc: func(any) { next(i) },
			},
		})
	}
	for i := range views {
		if _, err := add(i, next); err != nil {
			cancel()
			return viewer{}, err
		}
	}
	return viewer{
		stop: func() { cancel(); running.Wait() },
		churn: func(i int) {
			handle, err := add(i, func(int) {})
			must(err)
			<-handle.HasSyncedChecker().Done()
			must(informer.RemoveEventHandler(handle))
		},
	}, nil
}

// startChannels is the ideal: a map of channels by node, written by hand, with a map of the
// pods and a reader for each node. A slow reader delays all others.
func startChannels(src *podSource, views int, next func(int)) (viewer, error) {
	list, err := src.List(metav1.ListOptions{})
	if err != nil {
		return viewer{}, err
	}
	byNode := map[string]chan *corev1.Pod{}
	var readers sync.WaitGroup
	for i := range views {
		ch := make(chan *corev1.Pod)
		byNode[strconv.Itoa(i)] = ch
		readers.Go(func() {
			for range ch {
				next(i)
			}
		})
	}
	pods := map[string]*corev1.Pod{}
	items := list.(*corev1.PodList).Items
	for i := range items {
		pods[items[i].Namespace+"/"+items[i].Name] = &items[i]
		byNode[items[i].Spec.NodeName] <- &items[i]
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range src.events {
			pod := event.Object.(*corev1.Pod)
			pods[pod.Namespace+"/"+pod.Name] = pod
			byNode[pod.Spec.NodeName] <- pod
		}
		for _, ch := range byNode {
			close(ch)
		}
	}()
	return viewer{stop: func() { src.Stop(); <-done; readers.Wait() }}, nil
}
