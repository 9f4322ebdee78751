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
// pods of node i.
var viewers = []struct {
	name  string
	most  int // views
	start func(src *podSource) (viewer, error)
}{
	{"apiary by index", 10_000, startIndexed},
	{"apiary, all in one", 1, startWhole},
	{"apiary by filter", 1000, startFiltered},
	{"client-go", 1000, startHandlers},
	{"ideal", 10_000, startChannels},
}

// viewer is a running implementation, which has the whole collection.
type viewer struct {
	// open opens a view, which calls next for each event. The result waits until the view has
	// its pods, and then closes it. It is nil where a view cannot be closed alone.
	open func(view int, next func()) (leave func())
	stop func()
}

// BenchmarkViews: an operation is the change of a pod, until the view of its node has seen
// it. Only CPU time counts. replay-ms is the CPU time from the opening of the first view to
// the last pod of the last one. B/view is the memory that a view costs, the goroutine of its
// reader included.
func BenchmarkViews(b *testing.B) {
	for _, keys := range []int{20_000, 200_000} {
		pods := makePods(keys)
		for _, views := range []int{1, 10, 100, 1000, 10_000} {
			for i, pod := range pods {
				pod.Spec.NodeName = strconv.Itoa(i % views)
			}
			for _, v := range viewers {
				if views <= v.most {
					b.Run(fmt.Sprintf("keys=%d/views=%d/%s", keys, views, v.name), func(b *testing.B) {
						benchmarkViews(b, pods, views, v.start)
					})
				}
			}
		}
	}
}

func benchmarkViews(b *testing.B, pods []*corev1.Pod, views int, start func(*podSource) (viewer, error)) {
	src := newSource(pods)
	running, err := start(src)
	if err != nil {
		b.Fatal(err)
	}
	defer running.stop()
	var seen atomic.Int64
	await := func(n int64) {
		for seen.Load() < n {
			time.Sleep(20 * time.Microsecond)
		}
	}
	before, cpu := memoryUsed(), cpuUsed()
	for i := range views {
		running.open(i, func() { seen.Add(1) })
	}
	await(int64(len(pods)))
	replay := cpuUsed() - cpu
	time.Sleep(3 * time.Second) // goroutines without work end
	each := float64(memoryUsed()-before) / float64(views)

	const burst = 1000
	total := int64(len(pods))
	cpu = cpuUsed()
	b.ResetTimer()
	for i := range b.N {
		src.write(watch.Modified, src.prepare(uint32(2+i/burst), (i*7919)%len(pods))) // spread over the views
		if total++; (i+1)%burst == 0 || i == b.N-1 {
			await(total)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuUsed()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/event")
	b.ReportMetric(float64(replay.Microseconds())/1000, "replay-ms")
	b.ReportMetric(each, "B/view")
	b.ReportMetric(0, "ns/op") // the clock says little on a shared machine

	visits := min(1000, max(1, 100_000*views/len(pods)))
	cpu = cpuUsed()
	for i := range visits {
		leave := running.open(i%views, func() {})
		if leave == nil {
			return // the ideal has one view for each node
		}
		leave()
	}
	b.ReportMetric(float64((cpuUsed()-cpu).Microseconds())/float64(visits), "cpu-us/visit")
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

func startIndexed(src *podSource) (viewer, error) {
	return startViews(src, func(r resource.Resource[*corev1.Pod], i int) resource.Resource[*corev1.Pod] {
		return resource.ByIndex(r, "node", strconv.Itoa(i))
	})
}

func startFiltered(src *podSource) (viewer, error) {
	return startViews(src, func(r resource.Resource[*corev1.Pod], i int) resource.Resource[*corev1.Pod] {
		node := strconv.Itoa(i)
		return resource.Filter(r, func(p *corev1.Pod) bool { return p.Spec.NodeName == node })
	})
}

func startWhole(src *podSource) (viewer, error) {
	return startViews(src, func(r resource.Resource[*corev1.Pod], _ int) resource.Resource[*corev1.Pod] { return r })
}

func startViews(src *podSource, of func(resource.Resource[*corev1.Pod], int) resource.Resource[*corev1.Pod]) (viewer, error) {
	f := &inHive{}
	r := resource.New[*corev1.Pod](&f.lc, src, resource.WithLogger(quiet), resource.WithIndexers(nodeIndex))
	must(f.lc.Start(quiet, context.Background()))
	if _, err := r.Store(context.Background()); err != nil { // so that the views are replayed
		return viewer{}, err
	}
	return viewer{
		open: func(i int, next func()) func() {
			ctx, cancel := context.WithCancel(context.Background())
			events, synced := of(r, i).Events(ctx), make(chan struct{})
			f.readers.Go(func() {
				for event := range events {
					event.Done(nil)
					if event.Kind == resource.Sync {
						close(synced)
						continue
					}
					next()
				}
			})
			return func() { <-synced; cancel() }
		},
		stop: func() { must(f.end()) },
	}, nil
}

// startHandlers is a client-go informer with a handler for each view, which filters.
// controller-runtime's cache has the same informer and handlers; its field indexes are for
// reads only.
func startHandlers(src *podSource) (viewer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	informer := cache.NewSharedIndexInformer(src, &corev1.Pod{}, 0, cache.Indexers{})
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	<-informer.HasSyncedChecker().Done()
	return viewer{
		open: func(i int, next func()) func() {
			node := strconv.Itoa(i)
			handle, err := informer.AddEventHandler(cache.FilteringResourceEventHandler{
				FilterFunc: func(obj any) bool { return obj.(*corev1.Pod).Spec.NodeName == node },
				Handler: cache.ResourceEventHandlerFuncs{
					AddFunc:    func(any) { next() },
					UpdateFunc: func(any, any) { next() },
					DeleteFunc: func(any) { next() },
				},
			})
			must(err)
			return func() {
				<-handle.HasSyncedChecker().Done()
				must(informer.RemoveEventHandler(handle))
			}
		},
		stop: func() { cancel(); running.Wait() },
	}, nil
}

// startChannels is the ideal: a map of channels by node, written by hand, with a map of the
// pods, and a reader for each node. A slow reader delays all others.
func startChannels(src *podSource) (viewer, error) {
	list, err := src.List(metav1.ListOptions{})
	if err != nil {
		return viewer{}, err
	}
	pods, byNode := map[string]*corev1.Pod{}, map[string][]*corev1.Pod{}
	items := list.(*corev1.PodList).Items
	for i := range items {
		pod := &items[i]
		pods[pod.Namespace+"/"+pod.Name] = pod
		byNode[pod.Spec.NodeName] = append(byNode[pod.Spec.NodeName], pod)
	}
	var mu sync.Mutex
	views := map[string]chan *corev1.Pod{}
	var readers sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range src.events {
			pod := event.Object.(*corev1.Pod)
			mu.Lock()
			pods[pod.Namespace+"/"+pod.Name] = pod
			view := views[pod.Spec.NodeName]
			mu.Unlock()
			view <- pod
		}
		for _, view := range views {
			close(view)
		}
	}()
	return viewer{
		open: func(i int, next func()) func() {
			node := strconv.Itoa(i)
			mu.Lock()
			if views[node] != nil {
				mu.Unlock()
				return nil
			}
			view := make(chan *corev1.Pod)
			views[node] = view
			mu.Unlock()
			readers.Go(func() {
				for range view {
					next()
				}
			})
			for _, pod := range byNode[node] {
				view <- pod
			}
			return nil
		},
		stop: func() { src.Stop(); <-done; readers.Wait() },
	}, nil
}
