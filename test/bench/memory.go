// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"runtime"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// heap returns the bytes in use after garbage collection.
func heap() int64 {
	for range 3 { // finalizers, and pools that keep things for one more round
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// retained returns the memory of a contestant, including the pods, that is synced with a
// source of n pods, after the first ones have changed.
func retained(c contestant, src *podSource, n, subs, changed int) int64 {
	crew := newCrew(subs, n)
	before := heap()
	crew.expect(1, n)
	f := c.start(src, crew.observers())
	crew.wait()
	<-crew.synced
	f.waitSynced()
	if changed > 0 {
		crew.expect(2, changed)
		for i := range changed {
			src.write(watch.Modified, src.prepare(2, i))
		}
		crew.wait()
	}
	after := heap()
	runtime.KeepAlive(src)
	f.stop()
	runtime.KeepAlive(crew)
	return after - before
}

// retainedPods returns the memory of the pods alone, each allocated separately.
func retainedPods(src *podSource, n int) int64 {
	copies := make([]*corev1.Pod, n)
	before := heap()
	for i := range copies {
		pod := *src.pods[i]
		copies[i] = &pod
	}
	after := heap()
	runtime.KeepAlive(copies)
	runtime.KeepAlive(src)
	return after - before
}

// memoryResult is in bytes per pod.
type memoryResult struct {
	overhead   float64 // with one subscriber, without the pods
	churned    float64 // the same, when nine pods in ten have changed
	subscriber float64 // of each further subscriber
	all        float64 // with one subscriber, with pods that were decoded for it
}

// measureMemory starts and stops the contestant several times.
func measureMemory(c contestant, pods []*corev1.Pod, further int) memoryResult {
	n := len(pods)
	bare := retainedPods(newSource(pods), n)
	one := retained(c, newSource(pods), n, 1, 0)
	churned := retained(c, newSource(pods), n, 1, n/10*9)
	many := retained(c, newSource(pods), n, 1+further, 0)
	all := retained(c, newEncodedSource(pods), n, 1, 0)
	return memoryResult{
		overhead:   float64(one-bare) / float64(n),
		churned:    float64(churned-bare) / float64(n),
		subscriber: float64(many-one) / float64(n*further),
		all:        float64(all) / float64(n),
	}
}
