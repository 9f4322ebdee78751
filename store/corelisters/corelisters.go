// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package corelisters has listers of pods, nodes and services on a [store.Store]. They
// add typed lookups, such as the services that select a pod, to [store.Lister].
//
//	services, err := corelisters.NewServiceLister(serviceStore)
//	if err != nil {
//		return err
//	}
//	for _, service := range services.GetPodServices(pod) {
//		fmt.Println(service.Name)
//	}
//
// It is a separate package so that users of other kinds do not link the core types.
package corelisters

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// PodLister lists pods. It has the methods of [store.Lister]. PodLister{Lister: l} makes a
// PodLister of an existing lister, for example that of a view.
type PodLister struct {
	store.Lister[*corev1.Pod]
}

// NewPodLister returns a PodLister of all pods in s, with indexes of these labels. It
// returns the errors of [store.NewLister].
func NewPodLister(s *store.Store[*corev1.Pod], labelKeys ...string) (PodLister, error) {
	l, err := store.NewLister(s, corev1.Resource("pods"), labelKeys...)
	return PodLister{Lister: l}, err
}

// NodeLister lists nodes. It can be made of an existing lister, like a [PodLister].
type NodeLister struct {
	store.Lister[*corev1.Node]
}

// NewNodeLister returns a NodeLister of all nodes in s, with indexes of these labels. It
// returns the errors of [store.NewLister].
func NewNodeLister(s *store.Store[*corev1.Node], labelKeys ...string) (NodeLister, error) {
	l, err := store.NewLister(s, corev1.Resource("nodes"), labelKeys...)
	return NodeLister{Lister: l}, err
}

// GetNodeInfo returns the node with this name. If there is none, apierrors.IsNotFound
// returns true for the error.
func (l NodeLister) GetNodeInfo(name string) (*corev1.Node, error) {
	return l.Get(name)
}
