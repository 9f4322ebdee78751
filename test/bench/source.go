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

// podSource is a cache.ListerWatcher in memory, the source of all contestants. It serves
// one list and one watch.
//
// Each list is made on request and not kept: the reader owns its pods. Their parts are
// shared with the source. If the source is encoded, each pod is decoded from protobuf and
// shares nothing. fakeapi would add requests, and memory for its own objects.
type podSource struct {
	pods    []*corev1.Pod
	encoded [][]byte

	version int
	events  chan watch.Event
	stop    sync.Once
}

// buffered is the size of the buffer between the source and the reader of its watch. It
// keeps the cost of switching goroutines out of the figures.
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

// IsWatchListSemanticsUnSupported makes client-go, and readers that check it, use lists.
func (s *podSource) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.Lister. Like an API server, it ignores the limit if the version
// is "0".
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
		return nil, fmt.Errorf("a watch requests initial events, which this source does not have: the contestants would not read the same")
	}
	return s, nil
}

// ResultChan implements watch.Interface.
func (s *podSource) ResultChan() <-chan watch.Event { return s.events }

// Stop implements watch.Interface. After it, nothing must be written.
func (s *podSource) Stop() { s.stop.Do(func() { close(s.events) }) }

// prepare returns the next state of pod i.
func (s *podSource) prepare(round uint32, i int) *corev1.Pod {
	pod := *s.pods[i]
	s.version++
	pod.ResourceVersion = strconv.Itoa(s.version)
	pod.Generation = generation(round, i)
	return &pod
}

// write sends a result of prepare. It blocks while the buffer is full.
func (s *podSource) write(kind watch.EventType, pod *corev1.Pod) {
	s.events <- watch.Event{Type: kind, Object: pod}
}
