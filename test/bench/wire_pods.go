// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// A collection is determined by the number of its objects. Object i has version i+1, and
// the collection has the version of its last object. Each round of changes has newer
// versions.

// wireTemplates is the number of pod templates. Each belongs to a ReplicaSet.
const wireTemplates = 500

// widgets is a resource without a Go type.
var widgets = schema.GroupVersionResource{Group: "bench.example.com", Version: "v1", Resource: "widgets"}

// widgetKind is the kind of widgets.
const widgetKind = "Widget"

// wirePod makes pod i. Its name, UID, addresses, container ids and times are unique;
// everything else comes from its template.
func wirePod(i int) *corev1.Pod {
	var (
		k       = i % wireTemplates
		pod     = makePod(20*k + k%20) // app k of pods.go
		key     = wireKey(i)
		ip      = fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		started = wireTime(i)
	)
	pod.Namespace, pod.Name, pod.UID = key.Namespace, key.Name, wireUID(i)
	pod.ResourceVersion, pod.Generation = strconv.Itoa(i+1), 1
	pod.CreationTimestamp = started
	pod.ManagedFields[0].Time = &started
	pod.Spec.NodeName = "node-" + strconv.Itoa(i/30)
	status := &pod.Status
	status.HostIP, status.PodIP, status.PodIPs = fmt.Sprintf("192.168.%d.%d", i/30>>8&255, i/30&255), ip, []corev1.PodIP{{IP: ip}}
	status.StartTime = &started
	for j := range status.Conditions {
		status.Conditions[j].LastTransitionTime = started
	}
	for j := range status.ContainerStatuses {
		c := &status.ContainerStatuses[j]
		c.ContainerID = fmt.Sprintf("containerd://%016x%048x", scramble(uint64(i*2+j)), i)
		c.State.Running.StartedAt = started
	}
	return pod
}

// changedPod makes pod i of n after this number of changes of its Ready condition.
func changedPod(i, n, changes int) *corev1.Pod {
	pod := wirePod(i)
	pod.ResourceVersion = wireVersion(i, n, changes)
	now := metav1.NewTime(wireTime(i).Add(time.Duration(changes) * time.Hour))
	pod.Status.Conditions[len(pod.Status.Conditions)-1].LastTransitionTime = now
	return pod
}

// wireWidget makes widget i: an object with the size of a pod in protobuf.
func wireWidget(i int) *unstructured.Unstructured {
	var (
		k       = i % wireTemplates
		key     = wireKey(i)
		app     = "app-" + strconv.Itoa(k)
		started = wireTime(i).UTC().Format(time.RFC3339)
		rules   []any
	)
	for j := range 7 {
		rules = append(rules, map[string]any{
			"host": fmt.Sprintf("%s-%d.example.com", app, j), "path": "/api/v1/" + app, "pathType": "Prefix", "weight": int64(10 * j),
			"backend": map[string]any{"service": app, "port": int64(8080 + j), "protocol": "HTTP2"},
			"retries": map[string]any{"attempts": int64(3), "perTryTimeout": "2s", "on": []any{"gateway-error", "connect-failure"}},
		})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": widgets.GroupVersion().String(), "kind": widgetKind,
		"metadata": map[string]any{
			"name": key.Name, "namespace": key.Namespace, "uid": string(wireUID(i)), "resourceVersion": strconv.Itoa(i + 1),
			"generation": int64(1), "creationTimestamp": started,
			"labels": map[string]any{
				"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop",
				"topology.kubernetes.io/zone": "zone-" + strconv.Itoa(k%3),
			},
			"annotations": map[string]any{"checksum/config": fmt.Sprintf("%064x", k)},
			"managedFields": []any{map[string]any{
				"manager": "controller", "operation": "Update", "apiVersion": widgets.GroupVersion().String(), "time": started,
				"fieldsType": "FieldsV1", "subresource": "status",
				"fieldsV1": map[string]any{"f:status": map[string]any{"f:conditions": map[string]any{}, "f:address": map[string]any{}}},
			}},
		},
		"spec": map[string]any{"rules": rules, "replicas": int64(3), "paused": false, "ratio": 0.25, "class": "internal"},
		"status": map[string]any{
			"address": fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), "observedGeneration": int64(1),
			"conditions": []any{
				map[string]any{"type": "Ready", "status": "True", "reason": "Available", "message": "all parts are there", "lastTransitionTime": started},
				map[string]any{"type": "Synced", "status": "True", "reason": "Applied", "message": "", "lastTransitionTime": started},
			},
		},
	}}
}

// wireKey is the key of object i.
func wireKey(i int) cache.ObjectName {
	k := i % wireTemplates
	return cache.ObjectName{
		Namespace: "team-" + strconv.Itoa(k%20), Name: fmt.Sprintf("app-%d-5d8f7c9b6-%05x", k, i),
	}
}

// wireVersion is the version of object i of n after this number of changes.
func wireVersion(i, n, changes int) string { return strconv.Itoa(changes*n + i + 1) }

func wireUID(i int) types.UID {
	r := scramble(uint64(i))
	return types.UID(fmt.Sprintf("%08x-%04x-4011-b42d-%012x", uint32(r), uint16(r>>32), i))
}

func wireTime(i int) metav1.Time { return metav1.NewTime(time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)) }
