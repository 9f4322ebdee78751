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

// join holds services and pods, and knows which service selects which pods. Every
// method that changes it returns what changed for somebody who looks at services:
// a pod that no service selects changes nothing.
//
// A service without a selector selects nothing, and neither does one that is a
// name for something outside of the cluster (ExternalName).
//
// It keeps only what is shown, not the objects. It is not safe for concurrent use.
type join struct {
	namespaces map[string]*joinNamespace
	podCount   int
}

// joinNamespace is one namespace: a service never selects across its border.
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

// serviceRow is a service as it is shown.
type serviceRow struct {
	Key store.Key

	// Selector is empty if the service selects nothing.
	Selector string

	// Pods are those that it selects, by name; Ready is how many of them are.
	Pods  []podRow
	Ready int
}

// podRow is a pod as it is shown.
type podRow struct {
	Name string
	state
}

func newJoin() *join {
	return &join{namespaces: map[string]*joinNamespace{}}
}

// upsertService takes in the present version of a service.
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
		return nil // nothing that is shown
	}
	for _, name := range slices.Sorted(maps.Keys(ns.pods)) {
		if c, ok := s.update(name, ns.pods[name], "selector"); ok {
			changes = append(changes, c)
		}
	}
	return s.sign(changes)
}

// deleteService forgets a service.
func (j *join) deleteService(key store.Key) []change {
	ns := j.namespace(key.Namespace)
	s, known := ns.services[key.Name]
	if !known {
		return nil
	}
	delete(ns.services, key.Name)
	j.tidy(key.Namespace)
	clear(s.members)
	return s.sign([]change{{Change: serviceRemoved}})
}

// upsertPod takes in the present version of a pod.
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
			changes = append(changes, s.sign([]change{c})...)
		}
	}
	return changes
}

// deletePod forgets a pod.
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
			changes = append(changes, s.sign([]change{{Change: podLeft, Pod: key.Name, Was: &p.state, Reason: "deleted"}})...)
		}
	}
	return changes
}

// rows returns all services, by namespace and name.
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

// update puts the pod among the members of s, or takes it away, as its labels say.
// It returns the change that this is, if it is one.
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

// sign adds to changes what is the same in all of them.
func (s *joinService) sign(changes []change) []change {
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

// tidy drops a namespace that holds nothing.
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

// stateOf sums up a pod in a word, as people know it from kubectl.
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
		out = state{Status: "Terminating"} // and no longer served, ready or not
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
