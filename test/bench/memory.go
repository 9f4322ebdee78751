// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"runtime"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// counter is an observer that takes no memory per pod.
type counter struct {
	left int
	sync sync.Once
	done *sync.WaitGroup // one for the pods, one for Sync
}

func (c *counter) upserted(*corev1.Pod) {
	if c.left--; c.left == 0 {
		c.done.Done()
	}
}

func (c *counter) deleted(*corev1.Pod) {}

func (c *counter) synced() { c.sync.Do(c.done.Done) }

// heap is what is in use once there is no garbage.
func heap() int64 {
	for range 3 { // finalizers, and pools that keep things for one more round
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// retained is the memory that a contestant in sync takes, the pods included.
func retained(c contestant, src *source, pods, subs int) int64 {
	before := heap()
	var done sync.WaitGroup
	var observers []observer
	for range subs {
		done.Add(2)
		observers = append(observers, &counter{left: pods, done: &done})
	}
	f := c.start(src, observers)
	done.Wait()
	f.waitSynced()
	after := heap()
	runtime.KeepAlive(src)
	f.stop()
	return after - before
}

// retainedList is the memory that the pods take by themselves.
func retainedList(src *source) int64 {
	before := heap()
	list, err := src.List(metav1.ListOptions{})
	must(err)
	after := heap()
	runtime.KeepAlive(list)
	runtime.KeepAlive(src)
	return after - before
}

// memoryResult is in bytes per pod.
type memoryResult struct {
	overhead   float64 // with one subscriber, without the pods
	subscriber float64 // of each further subscriber
	all        float64 // with one subscriber, with pods that were decoded for it
}

// measureMemory needs three contestants to come and go.
func measureMemory(c contestant, pods []*corev1.Pod, further int) memoryResult {
	n := len(pods)
	bare := retainedList(newSource(pods))
	one := retained(c, newSource(pods), n, 1)
	many := retained(c, newSource(pods), n, 1+further)
	all := retained(c, newEncodedSource(pods), n, 1)
	return memoryResult{
		overhead:   float64(one-bare) / float64(n),
		subscriber: float64(many-one) / float64(n*further),
		all:        float64(all) / float64(n),
	}
}
