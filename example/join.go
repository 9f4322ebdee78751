// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apiary-go/apiary/store"
)

// join holds services and pods, and which service selects which pods. Each method that
// changes it returns the changes of services. A pod that no service selects makes none.
//
// A service without a selector, or of type ExternalName, selects nothing.
//
// It keeps only what is shown, not the objects. It is not safe for concurrent use.
type join struct {
	namespaces map[string]*joinNamespace
	podCount   int
}

// joinNamespace is one namespace. A service selects pods of its namespace only.
type joinNamespace struct {
	services map[string]*joinService
	pods     map[string]*joinPod
}

type joinService struct {
	key      store.Key
	selector map[string]string
	members  map[string]*joinPod
}

type joinPod struct {
	state
	labels labels.Set
}

// serviceRow is a service in the table.
type serviceRow struct {
	Key store.Key

	// Selector is empty if the service selects nothing.
	Selector string

	// Pods are those that it selects, ordered by name. Ready counts the ready ones.
	Pods  []podRow
	Ready int
}

// podRow is a pod in the table.
type podRow struct {
	Name string
	state
}

func newJoin() *join {
	return &join{namespaces: map[string]*joinNamespace{}}
}

// upsertService adds or replaces a service.
func (j *join) upsertService(svc *corev1.Service) []change {
	ns := j.namespace(svc.Namespace)
	s, known := ns.services[svc.Name]
	if !known {
		s = &joinService{key: store.KeyOf(svc), members: map[string]*joinPod{}}
		ns.services[svc.Name] = s
	}
	old := s.selector
	s.selector = selectorOf(svc)

	var changes []change
	switch {
	case !known:
		changes = append(changes, change{Change: serviceAdded, Selector: s.selectorText()})
	case !maps.Equal(old, s.selector):
		changes = append(changes, change{Change: serviceUpdated, Selector: s.selectorText()})
	default:
		return nil // no field that is shown has changed
	}
	for _, name := range slices.Sorted(maps.Keys(ns.pods)) {
		if c, ok := s.update(name, ns.pods[name], "selector"); ok {
			changes = append(changes, c)
		}
	}
	return s.complete(changes)
}

// deleteService removes a service.
func (j *join) deleteService(key store.Key) []change {
	ns := j.namespace(key.Namespace)
	s, known := ns.services[key.Name]
	if !known {
		return nil
	}
	delete(ns.services, key.Name)
	j.tidy(key.Namespace)
	clear(s.members)
	return s.complete([]change{{Change: serviceRemoved}})
}

// upsertPod adds or replaces a pod.
func (j *join) upsertPod(pod *corev1.Pod) []change {
	ns := j.namespace(pod.Namespace)
	old, known := ns.pods[pod.Name]
	if !known {
		j.podCount++
	}
	p := &joinPod{state: stateOf(pod), labels: pod.Labels}
	ns.pods[pod.Name] = p

	var changes []change
	for _, s := range ns.sorted() {
		c, moved := s.update(pod.Name, p, "labels")
		if !moved && known && s.members[pod.Name] != nil && old.state != p.state {
			c, moved = change{Change: podUpdated, Pod: pod.Name, State: &p.state, Was: &old.state}, true
		}
		if moved {
			changes = append(changes, s.complete([]change{c})...)
		}
	}
	return changes
}

// deletePod removes a pod.
func (j *join) deletePod(key store.Key) []change {
	ns := j.namespace(key.Namespace)
	p, known := ns.pods[key.Name]
	if !known {
		return nil
	}
	delete(ns.pods, key.Name)
	j.podCount--
	defer j.tidy(key.Namespace)

	var changes []change
	for _, s := range ns.sorted() {
		if s.members[key.Name] != nil {
			delete(s.members, key.Name)
			changes = append(changes, s.complete([]change{{Change: podLeft, Pod: key.Name, Was: &p.state, Reason: "deleted"}})...)
		}
	}
	return changes
}

// rows returns all services, ordered by namespace and name.
func (j *join) rows() []serviceRow {
	var rows []serviceRow
	for _, namespace := range slices.Sorted(maps.Keys(j.namespaces)) {
		for _, s := range j.namespaces[namespace].sorted() {
			row := serviceRow{Key: s.key, Selector: s.selectorText()}
			for _, name := range slices.Sorted(maps.Keys(s.members)) {
				row.Pods = append(row.Pods, podRow{Name: name, state: s.members[name].state})
			}
			row.Ready = s.ready()
			rows = append(rows, row)
		}
	}
	return rows
}

// update adds the pod to the members of s, or removes it, by its labels. It returns the
// change, if there is one.
func (s *joinService) update(name string, p *joinPod, reason string) (change, bool) {
	old, was := s.members[name]
	is := s.selects(p.labels)
	if is {
		s.members[name] = p
	} else {
		delete(s.members, name)
	}
	switch {
	case is && !was:
		return change{Change: podJoined, Pod: name, State: &p.state}, true
	case was && !is:
		return change{Change: podLeft, Pod: name, Was: &old.state, Reason: reason}, true
	}
	return change{}, false
}

func (s *joinService) selects(podLabels labels.Set) bool {
	if len(s.selector) == 0 {
		return false
	}
	for key, value := range s.selector {
		if has, ok := podLabels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

func (s *joinService) ready() int {
	ready := 0
	for _, p := range s.members {
		if p.Ready {
			ready++
		}
	}
	return ready
}

// complete sets the fields of changes that are the same in all of them.
func (s *joinService) complete(changes []change) []change {
	for i := range changes {
		changes[i].Namespace, changes[i].Service = s.key.Namespace, s.key.Name
		changes[i].Pods = &podCount{Ready: s.ready(), Total: len(s.members)}
	}
	return changes
}

func (s *joinService) selectorText() string { return formatSelector(s.selector) }

func (j *join) namespace(name string) *joinNamespace {
	ns := j.namespaces[name]
	if ns == nil {
		ns = &joinNamespace{services: map[string]*joinService{}, pods: map[string]*joinPod{}}
		j.namespaces[name] = ns
	}
	return ns
}

// tidy removes an empty namespace.
func (j *join) tidy(name string) {
	if ns := j.namespaces[name]; len(ns.services) == 0 && len(ns.pods) == 0 {
		delete(j.namespaces, name)
	}
}

func (ns *joinNamespace) sorted() []*joinService {
	return slices.SortedFunc(maps.Values(ns.services), func(a, b *joinService) int {
		return strings.Compare(a.key.Name, b.key.Name)
	})
}

func selectorOf(svc *corev1.Service) map[string]string {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	return svc.Spec.Selector
}

// stateOf returns the state of a pod as kubectl shows it.
func stateOf(pod *corev1.Pod) state {
	out := state{Status: string(pod.Status.Phase)}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting != nil && c.State.Waiting.Reason != "" {
			out.Status = c.State.Waiting.Reason
		}
	}
	switch {
	case pod.DeletionTimestamp != nil:
		out = state{Status: "Terminating"} // not ready: it gets no more requests
	case pod.Status.Reason != "":
		out.Status = pod.Status.Reason
	case out.Status == "":
		out.Status = string(corev1.PodPending)
	}
	return out
}

func formatSelector(selector map[string]string) string {
	if len(selector) == 0 {
		return ""
	}
	return labels.Set(selector).String() // sorted
}
