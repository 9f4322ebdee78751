// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// podStore is a store of pods. Each method except replace does an operation for each
// element of its argument, one after the other, and returns an error if a result is
// wrong.
type podStore interface {
	get(names []podName) error
	update(pods []*corev1.Pod) error
	list(times, want int) error
	byIndex(index string, values []string, want int) error
	selected(selectors []labels.Selector, want int) error

	// replace replaces the content by pods.
	replace(pods []*corev1.Pod, version string) error
}

var errWrong = errors.New("the store returned a wrong result")

// storeNames are the measured stores.
var storeNames = []string{nameOurs, nameClientGo}

// newPodStore makes an empty store with the first indexes of podIndexes.
func newPodStore(name string, indexes int) (podStore, error) {
	if name == nameOurs {
		return newOurStore(podIndexes[:indexes])
	}
	return newTheirStore(podIndexes[:indexes]), nil
}

// filledStore makes a store of pods as a watch fills it, one after the other.
func filledStore(name string, indexes int, pods []*corev1.Pod) (podStore, error) {
	s, err := newPodStore(name, indexes)
	if err != nil {
		return nil, err
	}
	return s, s.update(pods)
}

type ourStore struct {
	*store.Indexer[*corev1.Pod]
	lister store.Lister[*corev1.Pod] // set by newOurLister
}

// newOurLister makes a store with an index of the label that its lister selects by.
func newOurLister() (podStore, error) {
	s, err := newOurStore(nil)
	if err != nil {
		return nil, err
	}
	s.lister, err = store.NewLister(s.Store, corev1.Resource("pods"), labelTenant)
	return s, err
}

func newOurStore(indexes []podIndex) (ourStore, error) {
	indexers := store.Indexers[*corev1.Pod]{}
	for _, ix := range indexes {
		indexers[ix.name] = func(values []string, pod *corev1.Pod) ([]string, error) {
			return append(values, ix.value(pod)), nil
		}
	}
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], indexers)
	return ourStore{Indexer: x}, err
}

func (s ourStore) get(names []podName) error {
	for i := range names {
		if _, ok := s.Get(store.Key{Namespace: names[i].namespace, Name: names[i].name}); !ok {
			return errWrong
		}
	}
	return nil
}

func (s ourStore) update(pods []*corev1.Pod) error {
	for _, pod := range pods {
		if err := s.Update(pod); err != nil {
			return err
		}
	}
	return nil
}

func (s ourStore) list(times, want int) error {
	for range times {
		if len(s.List()) != want {
			return errWrong
		}
	}
	return nil
}

func (s ourStore) byIndex(index string, values []string, want int) error {
	for _, value := range values {
		if pods, err := s.ByIndex(index, value); err != nil || len(pods) != want {
			return errors.Join(errWrong, err)
		}
	}
	return nil
}

func (s ourStore) selected(selectors []labels.Selector, want int) error {
	for _, selector := range selectors {
		if len(s.lister.List(selector)) != want {
			return errWrong
		}
	}
	return nil
}

func (s ourStore) replace(pods []*corev1.Pod, version string) error {
	_, err := s.Replace(pods, version)
	return err
}

type theirStore struct {
	cache.Indexer
	lister listers.PodLister
}

func newTheirStore(indexes []podIndex) theirStore {
	indexers := cache.Indexers{}
	for _, ix := range indexes {
		indexers[ix.name] = func(obj any) ([]string, error) { return []string{ix.value(obj.(*corev1.Pod))}, nil }
	}
	x := cache.NewIndexer(cache.MetaNamespaceKeyFunc, indexers)
	return theirStore{x, listers.NewPodLister(x)}
}

func (s theirStore) get(names []podName) error {
	for i := range names {
		if _, err := s.lister.Pods(names[i].namespace).Get(names[i].name); err != nil {
			return errors.Join(errWrong, err)
		}
	}
	return nil
}

func (s theirStore) update(pods []*corev1.Pod) error {
	for _, pod := range pods {
		if err := s.Update(pod); err != nil {
			return err
		}
	}
	return nil
}

func (s theirStore) list(times, want int) error {
	for range times {
		if len(s.List()) != want {
			return errWrong
		}
	}
	return nil
}

func (s theirStore) byIndex(index string, values []string, want int) error {
	for _, value := range values {
		if pods, err := s.ByIndex(index, value); err != nil || len(pods) != want {
			return errors.Join(errWrong, err)
		}
	}
	return nil
}

func (s theirStore) selected(selectors []labels.Selector, want int) error {
	for _, selector := range selectors {
		if pods, err := s.lister.List(selector); err != nil || len(pods) != want {
			return errors.Join(errWrong, err)
		}
	}
	return nil
}

func (s theirStore) replace(pods []*corev1.Pod, version string) error {
	list := make([]any, len(pods))
	for i, pod := range pods {
		list[i] = pod
	}
	return s.Replace(list, version)
}

// noStore stores nothing. Its figures show the effect of the scheduler and the garbage
// collector.
type noStore struct{ podStore }

func (noStore) get([]podName) error                 { return nil }
func (noStore) byIndex(string, []string, int) error { return nil }

// replace only makes a list.
func (noStore) replace(pods []*corev1.Pod, _ string) error {
	list := make([]any, len(pods))
	for i, pod := range pods {
		list[i] = pod
	}
	if len(list) != len(pods) {
		return errWrong
	}
	return nil
}
