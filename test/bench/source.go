// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// podSource is the server of all contestants, a cache.ListerWatcher without one. It
// serves one list and one watch, then it is used up.
//
// A list is made when it is asked for and not kept: its pods are the reader's
// own. Their parts are shared with the source, unless it is encoded: then each
// pod is decoded from protobuf, and all of it is the reader's.
type podSource struct {
	pods    []*corev1.Pod
	encoded [][]byte

	version int
	events  chan watch.Event
	stop    sync.Once
}

// buffered is the room between the source and the reader of its watch, so that
// a figure is not one of how fast goroutines take turns.
const buffered = 1024

func newSource(pods []*corev1.Pod) *podSource {
	return &podSource{pods: pods, version: len(pods) + 1, events: make(chan watch.Event, buffered)}
}

func newEncodedSource(pods []*corev1.Pod) *podSource {
	s := newSource(nil)
	s.version = len(pods) + 1
	for _, pod := range pods {
		data, err := pod.Marshal()
		if err != nil {
			panic(err)
		}
		s.encoded = append(s.encoded, data)
	}
	return s
}

// IsWatchListSemanticsUnSupported has client-go, and all who heed it, list.
func (s *podSource) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.Lister. As an API server does, it ignores the limit if
// the version is "0".
func (s *podSource) List(opts metav1.ListOptions) (runtime.Object, error) {
	n := max(len(s.pods), len(s.encoded))
	from, to := 0, n
	if opts.Continue != "" {
		var err error
		if from, err = strconv.Atoi(opts.Continue); err != nil {
			return nil, err
		}
	}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(n + 1)}}
	if opts.Limit > 0 && opts.ResourceVersion != "0" && from+int(opts.Limit) < n {
		to = from + int(opts.Limit)
		left := int64(n - to)
		list.Continue, list.RemainingItemCount = strconv.Itoa(to), &left
	}
	list.Items = make([]corev1.Pod, to-from)
	for i := range list.Items {
		if s.encoded == nil {
			list.Items[i] = *s.pods[from+i]
		} else if err := list.Items[i].Unmarshal(s.encoded[from+i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Watch implements cache.Watcher.
func (s *podSource) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	if opts.SendInitialEvents != nil && *opts.SendInitialEvents {
		return nil, fmt.Errorf("a watch with initial events was asked for: the contestants do not read the same")
	}
	return s, nil
}

// ResultChan implements watch.Interface.
func (s *podSource) ResultChan() <-chan watch.Event { return s.events }

// Stop implements watch.Interface. Nothing may be written after it.
func (s *podSource) Stop() { s.stop.Do(func() { close(s.events) }) }

// prepare returns pod i as it will be after the next write.
func (s *podSource) prepare(round uint32, i int) *corev1.Pod {
	pod := *s.pods[i]
	s.version++
	pod.ResourceVersion = strconv.Itoa(s.version)
	pod.Generation = generation(round, i)
	return &pod
}

// write sends what prepare returned. It blocks while the reader is behind.
func (s *podSource) write(kind watch.EventType, pod *corev1.Pod) {
	s.events <- watch.Event{Type: kind, Object: pod}
}
