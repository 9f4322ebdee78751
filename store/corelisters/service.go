// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package corelisters

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apiary-go/apiary/store"
)

// selectorIndex has each service under one of the label pairs of its selector.
const selectorIndex = "selector"

// ServiceLister lists services, and finds those that select a pod.
//
// Create it with [NewServiceLister] or [ServicesOf]. Otherwise it has no index, and reads
// all services to find those of a pod.
type ServiceLister struct {
	store.Lister[*corev1.Service]
}

// NewServiceLister returns a ServiceLister of all services in s, with indexes of these
// labels. It returns the errors of [store.NewLister].
func NewServiceLister(s *store.Store[*corev1.Service], labelKeys ...string) (ServiceLister, error) {
	l, err := store.NewLister(s, corev1.Resource("services"), labelKeys...)
	if err != nil {
		return ServiceLister{}, err
	}
	return ServicesOf(l)
}

// ServicesOf returns a ServiceLister of the services in l. It adds an index of the
// selectors, with the name "selector", to the store of l, unless the store has an index
// with this name.
func ServicesOf(l store.Lister[*corev1.Service]) (ServiceLister, error) {
	err := l.EnsureIndexers(store.Indexers[*corev1.Service]{selectorIndex: indexSelector})
	if err != nil {
		return ServiceLister{}, fmt.Errorf("corelisters.ServicesOf: %w", err)
	}
	return ServiceLister{Lister: l}, nil
}

// GetPodServices returns the services that select pod, sorted by name: those in its
// namespace whose selector matches its labels. A service without a selector, or with an
// empty one, selects no pod. The result can be empty.
//
// pod does not have to be in a store. The services are shared and must not be modified.
// The caller owns the slice.
func (l ServiceLister) GetPodServices(pod *corev1.Pod) []*corev1.Service {
	values := make([]string, 0, len(pod.Labels))
	for key, value := range pod.Labels {
		values = append(values, selectorValue(pod.Namespace, key, value))
	}
	services, err := l.ByIndex(selectorIndex, values...)
	if err != nil { // the lister was not created by this package and has no index
		services = l.List(nil)
	}
	services = slices.DeleteFunc(services, func(s *corev1.Service) bool { return !selects(s, pod) })
	slices.SortFunc(services, func(a, b *corev1.Service) int { return cmp.Compare(a.Name, b.Name) })
	return services
}

func selects(s *corev1.Service, pod *corev1.Pod) bool {
	return s.Namespace == pod.Namespace && len(s.Spec.Selector) > 0 &&
		labels.ValidatedSetSelector(s.Spec.Selector).Matches(labels.Set(pod.Labels))
}

// indexSelector is the function of selectorIndex. A pod must have all pairs of the
// selector, so one pair is enough to find the service: the first by key.
func indexSelector(values []string, s *corev1.Service) ([]string, error) {
	first, found := "", false
	for key := range s.Spec.Selector {
		if !found || key < first {
			first, found = key, true
		}
	}
	if found {
		values = append(values, selectorValue(s.Namespace, first, s.Spec.Selector[first]))
	}
	return values, nil
}

// selectorValue is the index value of a label pair. It is unique: namespaces contain no
// slash, and label keys no equals sign.
func selectorValue(namespace, key, value string) string {
	return namespace + "/" + key + "=" + value
}
