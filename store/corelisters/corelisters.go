// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package corelisters has listers of pods, nodes and services. It is a package of
// its own because what keeps other kinds has no need of their types.
package corelisters

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/store"
)

// PodLister lists pods. All it does is done by [store.Lister]; one that is there
// already, such as that of a view, is made a PodLister by PodLister{Lister: l}.
type PodLister struct {
	store.Lister[*corev1.Pod]
}

// NewPodLister returns a PodLister of all that s holds, with these labels indexed.
// It fails as [store.NewLister] does.
func NewPodLister(s *store.Store[*corev1.Pod], labelKeys ...string) (PodLister, error) {
	l, err := store.NewLister(s, corev1.Resource("pods"), labelKeys...)
	return PodLister{Lister: l}, err
}

// NodeLister lists nodes. One can be made of any lister as a [PodLister] can.
type NodeLister struct {
	store.Lister[*corev1.Node]
}

// NewNodeLister returns a NodeLister of all that s holds, with these labels
// indexed. It fails as [store.NewLister] does.
func NewNodeLister(s *store.Store[*corev1.Node], labelKeys ...string) (NodeLister, error) {
	l, err := store.NewLister(s, corev1.Resource("nodes"), labelKeys...)
	return NodeLister{Lister: l}, err
}

// GetNodeInfo returns the node of that name. If there is none the error is one for
// which apierrors.IsNotFound is true.
func (l NodeLister) GetNodeInfo(name string) (*corev1.Node, error) {
	return l.Get(name)
}
