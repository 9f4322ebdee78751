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

// selectorIndex has each service under one of the pairs that its selector wants.
const selectorIndex = "selector"

// ServiceLister lists services, and finds those that select a pod.
//
// Make one with [NewServiceLister] or [ServicesOf]: one made otherwise looks through
// all services for those of a pod.
type ServiceLister struct {
	store.Lister[*corev1.Service]
}

// NewServiceLister returns a ServiceLister of all that s holds, with these labels
// indexed. It fails as [store.NewLister] does.
func NewServiceLister(s *store.Store[*corev1.Service], labelKeys ...string) (ServiceLister, error) {
	l, err := store.NewLister(s, corev1.Resource("services"), labelKeys...)
	if err != nil {
		return ServiceLister{}, err
	}
	return ServicesOf(l)
}

// ServicesOf returns a ServiceLister of what l lists. It has the store of l index
// the selectors of services, under the name "selector", if it does not yet; an
// index of that name is taken for the same one.
func ServicesOf(l store.Lister[*corev1.Service]) (ServiceLister, error) {
	err := l.EnsureIndexers(store.Indexers[*corev1.Service]{selectorIndex: indexSelector})
	if err != nil {
		return ServiceLister{}, fmt.Errorf("corelisters.ServicesOf: %w", err)
	}
	return ServiceLister{Lister: l}, nil
}

// GetPodServices returns the services that select pod, sorted by name: those of
// its namespace whose selector matches its labels. One without a selector, or with
// an empty one, selects no pod. If there are none the result is empty.
//
// pod need not be stored anywhere. The services are shared and must not be
// modified; the slice is the caller's.
func (l ServiceLister) GetPodServices(pod *corev1.Pod) []*corev1.Service {
	values := make([]string, 0, len(pod.Labels))
	for key, value := range pod.Labels {
		values = append(values, selectorValue(pod.Namespace, key, value))
	}
	services, err := l.ByIndex(selectorIndex, values...)
	if err != nil { // l was not made by this package, so there is no such index
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

// indexSelector is the function of selectorIndex: a service that selects a pod
// wants all of its pairs, so it is enough to find it under one, the first by key.
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

// selectorValue is what a service that wants such a pair is indexed under. No
// namespace has a slash in it, and no key an equals sign.
func selectorValue(namespace, key, value string) string {
	return namespace + "/" + key + "=" + value
}
