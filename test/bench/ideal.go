// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// idealFollower is a minimal implementation: a map with a mutex, and a loop that calls
// the observers in turn. It has no errors, no retries and no queues, and a slow observer
// delays all others.
type idealFollower struct {
	src  *podSource
	done chan struct{}
	sync chan struct{}

	mu   sync.Mutex
	pods map[types.NamespacedName]*corev1.Pod
}

func startIdeal(src *podSource, observers []observer) follower {
	f := &idealFollower{
		src: src, done: make(chan struct{}), sync: make(chan struct{}),
		pods: map[types.NamespacedName]*corev1.Pod{},
	}
	go f.run(observers)
	return f
}

func (f *idealFollower) run(observers []observer) {
	defer close(f.done)
	list, err := f.src.List(metav1.ListOptions{})
	must(err)
	items := list.(*corev1.PodList).Items
	for i := range items {
		f.put(&items[i])
		for _, o := range observers {
			o.upserted(&items[i])
		}
	}
	close(f.sync)
	for _, o := range observers {
		o.synced()
	}
	w, err := f.src.Watch(metav1.ListOptions{})
	must(err)
	for event := range w.ResultChan() {
		pod := event.Object.(*corev1.Pod)
		if event.Type == watch.Deleted {
			f.remove(pod)
			for _, o := range observers {
				o.deleted(pod)
			}
			continue
		}
		f.put(pod)
		for _, o := range observers {
			o.upserted(pod)
		}
	}
}

func (f *idealFollower) put(pod *corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod
}

func (f *idealFollower) remove(pod *corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
}

func (f *idealFollower) waitSynced() { <-f.sync }

func (f *idealFollower) stored() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	pods := make([]*corev1.Pod, 0, len(f.pods))
	for _, pod := range f.pods {
		pods = append(pods, pod)
	}
	return versionsOf(pods)
}

func (f *idealFollower) stop() {
	f.src.Stop()
	<-f.done
}
