// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const namespaces = 20

// A tracker reads the version of a pod from its generation: the round in which it was
// written, and the index of the pod.
func generation(round uint32, index int) int64 { return int64(round)<<32 | int64(index) }

func parseGeneration(generation int64) (round uint32, index int) {
	return uint32(generation >> 32), int(generation & (1<<32 - 1))
}

// makePods makes pods like those of a deployment. They share no memory except constants.
func makePods(n int) []*corev1.Pod {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = makePod(i)
	}
	return pods
}

func makePod(i int) *corev1.Pod {
	var (
		app     = "app-" + strconv.Itoa(i/20)
		set     = app + "-5d8f7c9b6"
		name    = fmt.Sprintf("%s-%05d", set, i)
		ip      = fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		host    = fmt.Sprintf("192.168.%d.%d", i/30>>8&255, i/30&255)
		started = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, i%60, 0, time.UTC))
		yes     = true
		seconds = int64(30)
	)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:              name,
			GenerateName:      set + "-",
			Namespace:         "team-" + strconv.Itoa(i%namespaces),
			UID:               types.UID(fmt.Sprintf("6f9619ff-8b86-4011-b42d-%012x", i)),
			ResourceVersion:   strconv.Itoa(i + 1),
			Generation:        generation(1, i),
			CreationTimestamp: started,
			Labels: map[string]string{
				"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app + "-prod",
				"app.kubernetes.io/version": "1.4." + strconv.Itoa(i%10), "app.kubernetes.io/part-of": "shop",
				"pod-template-hash": "5d8f7c9b6", "topology.kubernetes.io/zone": "zone-" + strconv.Itoa(i%3),
			},
			Annotations: map[string]string{
				"kubectl.kubernetes.io/default-container": "server",
				"prometheus.io/scrape":                    "true", "prometheus.io/port": "9090",
				"checksum/config": fmt.Sprintf("%064x", i/20),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: set,
				UID: types.UID(fmt.Sprintf("0e37df36-f698-4a3e-9a4f-%012x", i/20)), Controller: &yes, BlockOwnerDeletion: &yes,
			}},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "kubelet", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &started,
				FieldsType: "FieldsV1", Subresource: "status",
				FieldsV1: metav1.NewFieldsV1(managed),
			}},
		},
		Spec: corev1.PodSpec{
			Containers:                    []corev1.Container{makeContainer("server", i), makeContainer("proxy", i)},
			RestartPolicy:                 corev1.RestartPolicyAlways,
			TerminationGracePeriodSeconds: &seconds,
			DNSPolicy:                     corev1.DNSClusterFirst,
			ServiceAccountName:            app,
			NodeName:                      "node-" + strconv.Itoa(i/30),
			SchedulerName:                 "default-scheduler",
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: &seconds},
				{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: &seconds},
			},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: app}}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: host, PodIP: ip, StartTime: &started, QOSClass: corev1.PodQOSBurstable,
			PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: "True", LastTransitionTime: started},
				{Type: corev1.PodInitialized, Status: "True", LastTransitionTime: started},
				{Type: corev1.ContainersReady, Status: "True", LastTransitionTime: started},
				{Type: corev1.PodReady, Status: "True", LastTransitionTime: started},
			},
			ContainerStatuses: []corev1.ContainerStatus{makeStatus("server", i, started), makeStatus("proxy", i, started)},
		},
	}
}

func makeContainer(name string, i int) corev1.Container {
	return corev1.Container{
		Name: name, Image: "registry.example.com/shop/" + name + ":1.4." + strconv.Itoa(i%10),
		Args:  []string{"--config=/etc/shop/config.yaml", "--listen=:8080"},
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}, {Name: "metrics", ContainerPort: 9090, Protocol: "TCP"}},
		Env: []corev1.EnvVar{
			{Name: "LOG_LEVEL", Value: "info"}, {Name: "REGION", Value: "eu-" + strconv.Itoa(i%3)},
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/shop", ReadOnly: true}, {Name: "scratch", MountPath: "/tmp"}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 10, FailureThreshold: 3, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8080), Scheme: "HTTP"}}},
		ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePath: "/dev/termination-log",
	}
}

func makeStatus(name string, i int, started metav1.Time) corev1.ContainerStatus {
	yes := true
	return corev1.ContainerStatus{
		Name: name, Ready: true, Started: &yes, Image: "registry.example.com/shop/" + name + ":1.4." + strconv.Itoa(i%10),
		ImageID:     fmt.Sprintf("registry.example.com/shop/%s@sha256:%064x", name, i%10),
		ContainerID: fmt.Sprintf("containerd://%064x", i),
		State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
	}
}

// managed is the part of a pod that a kubelet owns.
const managed = `{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},` +
	`"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},` +
	`"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},` +
	`"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}`
