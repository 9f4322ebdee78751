// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

const (
	storedNamespaces = 100
	podsPerNode      = 200
	podsPerTenant    = 100
	podsPerApp       = 20
)

// labelApp is a label of all pods. labelTenant is a label of the pods in a store only.
const (
	labelApp    = "app.kubernetes.io/name"
	labelTenant = "example.com/tenant"
)

// collection is the content of a store. The other slices have the lookup arguments for
// each pod, in the same order, so that a lookup does not read the pod.
type collection struct {
	pods    []*corev1.Pod // in random order
	names   []podName
	nodes   []string
	apps    []string
	tenants []string
}

type podName struct{ namespace, name string }

// makeCollection makes n pods. n must be a multiple of podsPerNode. They are like those
// of a source, but share the parts that no store reads, so that garbage collections are
// short. Node, tenant, namespace and app of a pod are independent.
func makeCollection(n int) *collection {
	template := makePod(0)
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pod := *makePod(i)
		pod.Annotations, pod.OwnerReferences, pod.ManagedFields = template.Annotations, template.OwnerReferences, template.ManagedFields
		pod.Namespace = "team-" + strconv.Itoa(i%storedNamespaces)
		pod.Labels[labelTenant] = "tenant-" + strconv.Itoa(i*6841%n/podsPerTenant) // each prime gives a different order of the pods
		node := "node-" + strconv.Itoa(i*7919%n/podsPerNode)
		pod.Spec, pod.Status = template.Spec, template.Status
		pod.Spec.NodeName = node
		pods[i] = &pod
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	return newCollection(pods)
}

func newCollection(pods []*corev1.Pod) *collection {
	c := &collection{pods: pods}
	for _, pod := range pods {
		c.names = append(c.names, podName{pod.Namespace, pod.Name})
		c.nodes = append(c.nodes, pod.Spec.NodeName)
		c.apps = append(c.apps, pod.Labels[labelApp])
		c.tenants = append(c.tenants, pod.Labels[labelTenant])
	}
	return c
}

// renamed returns a collection of copies with short names.
func (c *collection) renamed() *collection {
	pods := make([]*corev1.Pod, len(c.pods))
	for i := range pods {
		pod := *c.pods[i]
		pod.Namespace = fmt.Sprintf("namespace-%d", i%storedNamespaces)
		pod.Name = fmt.Sprintf("pod-%d", i)
		pods[i] = &pod
	}
	return newCollection(pods)
}

// states returns pods like those of a watch: new objects, with newer versions in each
// round.
func states(pods []*corev1.Pod, round int) []*corev1.Pod {
	next := make([]*corev1.Pod, len(pods))
	for i := range next {
		pod := *pods[i]
		pod.ResourceVersion = strconv.Itoa(round*10_000_000 + i)
		next[i] = &pod
	}
	return next
}

// podIndex is an index of pods.
type podIndex struct {
	name  string
	value func(*corev1.Pod) string
}

const (
	indexNode      = "node"
	indexNamespace = "namespace"
	indexApp       = "app"
)

var podIndexes = []podIndex{
	{indexNode, func(pod *corev1.Pod) string { return pod.Spec.NodeName }},
	{indexNamespace, func(pod *corev1.Pod) string { return pod.Namespace }},
	{indexApp, func(pod *corev1.Pod) string { return pod.Labels[labelApp] }},
}
