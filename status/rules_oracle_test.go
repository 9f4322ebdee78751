// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"slices"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/status"
)

var (
	rulesAnyKind = rapid.SampledFrom([][2]string{
		{"v1", "Pod"}, {"v1", "Pod"}, {"apps/v1", "Deployment"}, {"apps/v1", "Deployment"}, {"extensions/v1beta1", "Deployment"},
		{"apps/v1", "ReplicaSet"}, {"extensions/v1beta1", "ReplicaSet"}, {"apps/v1", "StatefulSet"}, {"apps/v1", "DaemonSet"},
		{"extensions/v1beta1", "DaemonSet"}, {"batch/v1", "Job"}, {"batch/v1", "CronJob"}, {"v1", "Service"}, {"v1", "PersistentVolumeClaim"},
		{"v1", "ConfigMap"}, {"v1", "Secret"}, {"policy/v1", "PodDisruptionBudget"}, {"apiextensions.k8s.io/v1", "CustomResourceDefinition"},
		{"v1", "Namespace"}, {"v1", "Node"}, {"v1", "ServiceAccount"}, {"example.com/v1", "Widget"}, {"a/b/c", "Pod"}, {"", ""},
		{"v1", "ReplicationController"}, {"apiregistration.k8s.io/v1", "APIService"}, {"networking.k8s.io/v1", "Ingress"}, {"autoscaling/v2", "HorizontalPodAutoscaler"},
		{"gateway.networking.k8s.io/v1", "Gateway"}, {"gateway.networking.k8s.io/v1", "HTTPRoute"}, {"gateway.networking.k8s.io/v1", "HTTPRoute"},
		{"cert-manager.io/v1", "Certificate"}, {"cert-manager.io/v1", "CertificateRequest"}, {"acme.cert-manager.io/v1", "Order"},
		{"cluster.x-k8s.io/v1beta2", "Cluster"}, {"cluster.x-k8s.io/v1beta2", "MachineSet"}, {"cluster.x-k8s.io/v1beta2", "MachineDeployment"},
		{"pkg.crossplane.io/v1", "Provider"}, {"argoproj.io/v1alpha1", "Application"}, {"argoproj.io/v1alpha1", "ApplicationSet"}, {"argoproj.io/v1alpha1", "Rollout"},
	})
	rulesOwnKinds = []string{"ReplicationController", "APIService"} // of which kstatus has no rule

	rulesAnyCount  = rapid.Map(rapid.SampledFrom([]int64{0, 1, 2, 2, 2, 3}), func(n int64) any { return n })
	rulesAnyTruth  = rapid.SampledFrom([]any{"True", "True", "False", "Unknown", ""})
	rulesAnyReason = rapid.SampledFrom([]any{"", "NewReplicaSetAvailable", "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "Unschedulable", "Installing", "Other"})
	rulesAnyType   = rapid.SampledFrom([]any{
		"Ready", "Ready", "Available", "Available", "Progressing", "Progressing", "Reconciling", "Stalled", "ReplicaFailure", "PodScheduled",
		"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget", "Suspended", "NamesAccepted", "Established", "Synced",
		"Accepted", "Programmed", "",
	})
	rulesAnyWaiting = rapid.SampledFrom([]any{"CrashLoopBackOff", "ImagePullBackOff", "ContainerCreating", ""})
	rulesAnyName    = rapid.SampledFrom([]any{"a", "b", "c"})
	rulesAnyAge     = rapid.SampledFrom([]time.Duration{-time.Hour, time.Hour})

	rulesCounts = []string{
		"replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "currentReplicas", "fullyLabeledReplicas", "desiredNumberScheduled",
		"currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady", "succeeded", "active", "failed", "upToDateReplicas",
	}
)

// rulesGood are the conditions of a Deployment that is there.
var rulesGood = []any{
	map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
	map[string]any{"type": "Available", "status": "True"},
}

// rulesAccepted is the status of a route at the parents a and b.
var rulesAccepted = func() (parents []any) {
	for _, name := range []string{"a", "b"} {
		conditions := []any{map[string]any{"type": "Accepted", "status": "True"}, map[string]any{"type": "ResolvedRefs", "status": "True"}}
		parents = append(parents, map[string]any{"parentRef": map[string]any{"name": name}, "conditions": conditions})
	}
	return parents
}()

// rulesDraw sets a field to a value that is drawn, more often than not.
func rulesDraw[T any](t *rapid.T, fields map[string]any, name string, values *rapid.Generator[T]) {
	if rapid.IntRange(0, 3).Draw(t, name+"?") > 0 {
		fields[name] = values.Draw(t, name)
	}
}

func rulesAnyList(of *rapid.Generator[map[string]any]) *rapid.Generator[[]any] {
	return rapid.Map(rapid.SliceOfN(of, 0, 4), func(all []map[string]any) []any {
		list := make([]any, len(all))
		for i := range all {
			list[i] = all[i]
		}
		return list
	})
}

var rulesAnyCondition = rapid.Custom(func(t *rapid.T) map[string]any {
	c := map[string]any{"lastTransitionTime": "2026-01-01T00:00:00Z"}
	rulesDraw(t, c, "type", rulesAnyType)
	rulesDraw(t, c, "status", rulesAnyTruth)
	rulesDraw(t, c, "reason", rulesAnyReason)
	rulesDraw(t, c, "message", rulesAnyName)
	return c
})

var rulesAnyContainer = rapid.Custom(func(t *rapid.T) map[string]any {
	waiting := map[string]any{}
	rulesDraw(t, waiting, "reason", rulesAnyWaiting)
	state := map[string]any{}
	state[rapid.SampledFrom([]string{"waiting", "running", "terminated"}).Draw(t, "state")] = waiting
	return map[string]any{"name": rulesAnyName.Draw(t, "name"), "state": state, "image": "x", "lastState": state}
})

// rulesAnySpec has the fields that any rule reads, and others.
var rulesAnySpec = rapid.Custom(func(t *rapid.T) map[string]any {
	spec := map[string]any{"template": map[string]any{"spec": map[string]any{}}, "selector": map[string]any{"matchLabels": map[string]any{"a": "b"}}}
	for _, name := range []string{"replicas", "parallelism", "completions"} {
		rulesDraw(t, spec, name, rulesAnyCount)
	}
	rulesDraw(t, spec, "progressDeadlineSeconds", rapid.SampledFrom([]any{int64(600), int64(1<<31 - 1)}))
	if rapid.Bool().Draw(t, "enough") {
		spec["replicas"] = int64(2)
	}
	rulesDraw(t, spec, "suspend", rapid.Bool())
	rulesDraw(t, spec, "paused", rapid.Bool())
	rulesDraw(t, spec, "type", rapid.SampledFrom([]any{"ClusterIP", "LoadBalancer"}))
	rulesDraw(t, spec, "clusterIP", rapid.SampledFrom([]any{"", "10.0.0.1"}))
	rulesDraw(t, spec, "parentRefs", rulesAnyList(rapid.Map(rulesAnyName, func(name any) map[string]any { return map[string]any{"name": name} })))
	if rapid.Bool().Draw(t, "strategy?") {
		strategy := map[string]any{}
		rulesDraw(t, strategy, "type", rapid.SampledFrom([]any{"RollingUpdate", "RollingUpdate", "OnDelete"}))
		if rapid.Bool().Draw(t, "partition?") {
			strategy["rollingUpdate"] = map[string]any{"partition": rulesAnyCount.Draw(t, "partition")}
		}
		spec["updateStrategy"] = strategy
	}
	return spec
})

var rulesAnyStatus = rapid.Custom(func(t *rapid.T) map[string]any {
	s := map[string]any{"images": []any{"x"}, "podIP": "10.0.0.1"}
	enough := rapid.Bool().Draw(t, "enough") // or states in which all is well would be rare
	for _, name := range rulesCounts {
		if enough {
			s[name] = int64(2)
		} else {
			rulesDraw(t, s, name, rulesAnyCount)
		}
	}
	rulesDraw(t, s, "phase", rapid.SampledFrom([]any{"Pending", "Pending", "Running", "Running", "Succeeded", "Failed", "Bound", "Unknown", ""}))
	rulesDraw(t, s, "startTime", rapid.Just[any]("2026-01-01T00:00:00Z"))
	rulesDraw(t, s, "currentRevision", rulesAnyName)
	rulesDraw(t, s, "updateRevision", rulesAnyName)
	rulesDraw(t, s, "conditions", rapid.OneOf(rulesAnyList(rulesAnyCondition), rapid.Just(rulesGood)))
	if rapid.Bool().Draw(t, "route") {
		delete(s, "conditions")
		s["parents"] = rulesAccepted
	}
	rulesDraw(t, s, "state", rapid.SampledFrom([]any{"valid", "pending", "invalid"}))
	rulesDraw(t, s, "sync", rapid.Just(map[string]any{"status": "Synced"}))
	rulesDraw(t, s, "health", rapid.Just(map[string]any{"status": "Healthy"}))
	rulesDraw(t, s, "loadBalancer", rapid.Just(map[string]any{"ingress": []any{map[string]any{"ip": "192.0.2.1"}}}))
	rulesDraw(t, s, "containerStatuses", rulesAnyList(rulesAnyContainer))
	rulesDraw(t, s, "initContainerStatuses", rulesAnyList(rulesAnyContainer))
	return s
})

// rulesAnyObject is a well-formed object of any kind, with fields of all of them.
var rulesAnyObject = rapid.Custom(func(t *rapid.T) *unstructured.Unstructured {
	kind := rulesAnyKind.Draw(t, "kind")
	created := time.Now().Add(rulesAnyAge.Draw(t, "age")).UTC().Format(time.RFC3339)
	metadata := map[string]any{"name": "x", "creationTimestamp": created, "annotations": map[string]any{"a": "b"}, "managedFields": []any{map[string]any{}}}
	obj := map[string]any{"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "data": map[string]any{"a": "b"}}
	if rapid.IntRange(0, 9).Draw(t, "deleted?") == 0 {
		metadata["deletionTimestamp"] = created
	}
	rulesDraw(t, obj, "spec", rulesAnySpec)
	rulesDraw(t, obj, "status", rulesAnyStatus)
	rulesDraw(t, metadata, "generation", rapid.Just[any](int64(2)))
	if s, ok := obj["status"].(map[string]any); ok {
		rulesDraw(t, s, "observedGeneration", rapid.SampledFrom([]any{int64(2), int64(2), int64(2), int64(1)}))
	}
	return &unstructured.Unstructured{Object: obj}
})

// rulesLikeKstatus changes in obj what the rules read and kstatus does not. Package status
// documents the differences at Rules.
func rulesLikeKstatus(obj *unstructured.Unstructured) {
	s, _ := obj.Object["status"].(map[string]any)
	spec, _ := obj.Object["spec"].(map[string]any)
	kind := obj.GetKind()
	delete(s, "initContainerStatuses")
	if s["phase"] == "Pending" {
		delete(s, "containerStatuses")
	}
	if kind == "Pod" && s["phase"] == "Failed" {
		s["phase"] = "Succeeded"
	}
	if strategy, _ := spec["updateStrategy"].(map[string]any); strategy["type"] == "OnDelete" {
		delete(strategy, "type")
	}
	if _, observed := s["observedGeneration"]; !observed && (kind == "PodDisruptionBudget" || spec["replicas"] == int64(0)) {
		delete(obj.Object["metadata"].(map[string]any), "generation")
	}
	if conditions, ok := s["conditions"].([]any); ok && kind == "Job" {
		s["conditions"] = slices.DeleteFunc(conditions, func(c any) bool {
			t := c.(map[string]any)["type"]
			return t == "SuccessCriteriaMet" || t == "FailureTarget"
		})
	}
}

// By the rules of kstatus alone Compute says what kstatus says.
func TestRulesAreThoseOfKstatus(t *testing.T) {
	rules := &status.Rules{PodWaiting: []string{"CrashLoopBackOff"}}
	theirKinds := rulesAnyObject.Filter(func(obj *unstructured.Unstructured) bool { return !slices.Contains(rulesOwnKinds, obj.GetKind()) })
	rapid.Check(t, func(t *rapid.T) {
		obj := theirKinds.Draw(t, "object")
		rulesLikeKstatus(obj)
		theirs, theirErr := kstatus.Compute(obj)
		ours, err := rules.Compute(obj, nil, time.Now())
		if (err != nil) != (theirErr != nil) {
			t.Fatalf("got the error %v, kstatus has %v", err, theirErr)
		}
		if err != nil {
			return
		}
		if string(ours.Status) != string(theirs.Status) || ours.Message != theirs.Message {
			t.Fatalf("got %+v, kstatus says %s: %s", ours, theirs.Status, theirs.Message)
		}
	})
}
