// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// shownPods is a ListerWatcher whose lists show the pods of the last set, and whose watches
// bring only what the test sends. fakeapi hides no change from a watch, and chooses the
// versions itself.
type shownPods struct {
	listErr, watchErr error

	mu     sync.Mutex
	list   runtime.Object
	lists  int
	events *watch.FakeWatcher
}

// show returns a ListerWatcher of pods.
func show(version string, pods ...*corev1.Pod) *shownPods {
	s := &shownPods{}
	s.set(version, pods...)
	return s
}

// unwatched returns a ListerWatcher of what can be listed and not watched.
func unwatched() *shownPods {
	return &shownPods{watchErr: apierrors.NewMethodNotSupported(podsGR, "watch")}
}

func (s *shownPods) IsWatchListSemanticsUnSupported() bool { return true }

func (s *shownPods) List(metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.listErr != nil {
		return nil, s.listErr
	}
	return s.list.DeepCopyObject(), nil
}

func (s *shownPods) Watch(metav1.ListOptions) (watch.Interface, error) {
	if s.watchErr != nil {
		return nil, s.watchErr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = watch.NewFake()
	return s.events, nil
}

// set changes what lists show, without an event.
func (s *shownPods) set(version string, pods ...*corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}
	for _, p := range pods {
		list.Items = append(list.Items, *p)
	}
	s.list = list
}

func (s *shownPods) bookmark(version string) {
	s.mu.Lock()
	events := s.events
	s.mu.Unlock()
	events.Action(watch.Bookmark, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}})
}
