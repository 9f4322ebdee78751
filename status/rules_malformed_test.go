// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/status"
)

// What a rule reads and cannot is an error that names the kind and the field.
func TestRuleMalformed(t *testing.T) {
	const unschedulable = `status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable}]}`
	for _, row := range []struct{ object, err string }{
		{`example.com/v1 Widget {metadata: []}`, "rule for Widget.example.com: metadata is a list, want an object"},
		{`example.com/v1 Widget {metadata: {deletionTimestamp: 1}}`, "metadata.deletionTimestamp is 1, want a string"},
		{`example.com/v1 Widget {metadata: {generation: soon}}`, `metadata.generation is "soon", want a whole number`},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: 6f7a}}`, `status.observedGeneration is "6f7a", want a whole number`},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: true}}`, "status.observedGeneration is true, want a whole number"},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: 1.5}}`, "status.observedGeneration is 1.5, want a whole number"},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: {}}}`, "status.observedGeneration is an object, want a whole number"},
		{`example.com/v1 Widget {status: fine}`, `status is "fine", want an object`},
		{`example.com/v1 Widget {status: ` + strings.Repeat("x", 50) + `}`, `status is "` + strings.Repeat("x", 40) + `"…, want an object`},
		{`example.com/v1 Widget {status: {conditions: {}}}`, "status.conditions is an object, want a list"},
		{`example.com/v1 Widget {status: {conditions: [{}, Ready]}}`, `status.conditions[] is "Ready", want an object`},
		{`example.com/v1 Widget {status: {conditions: [{type: 1}]}}`, "status.conditions[].type is 1, want a string"},
		{`example.com/v1 Widget {status: {conditions: [{status: true}]}}`, "status.conditions[].status is true, want a string"},
		{`example.com/v1 Widget {status: {conditions: [{reason: []}]}}`, "status.conditions[].reason is a list, want a string"},
		{`example.com/v1 Widget {status: {conditions: [{message: 1}]}}`, "status.conditions[].message is 1, want a string"},

		{`v1 Pod {status: {phase: 1}}`, "rule for Pod: status.phase is 1, want a string"},
		{`v1 Pod {status: {phase: Unknown}}`, `unknown phase "Unknown"`},
		{`v1 Pod {status: {phase: Running, containerStatuses: {}}}`, "status.containerStatuses is an object, want a list"},
		{`v1 Pod {status: {phase: Running, containerStatuses: [a]}}`, `status.containerStatuses[] is "a", want an object`},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{name: 1}]}}`, "status.containerStatuses[].name is 1, want a string"},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{state: waiting}]}}`, `status.containerStatuses[].state is "waiting", want an object`},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{state: {waiting: true}}]}}`, "status.containerStatuses[].state.waiting is true, want an object"},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{state: {waiting: {reason: 1}}}]}}`, "status.containerStatuses[].state.waiting.reason is 1, want a string"},
		{`v1 Pod {status: {phase: Pending, initContainerStatuses: [1]}}`, "status.initContainerStatuses[] is 1, want an object"},
		{`v1 Pod {metadata: {creationTimestamp: 1}, ` + unschedulable + `}`, "metadata.creationTimestamp is 1, want a string"},
		{`v1 Pod {metadata: {creationTimestamp: yesterday}, ` + unschedulable + `}`, `metadata.creationTimestamp: parsing time "yesterday"`},

		{`apps/v1 Deployment {spec: []}`, "rule for Deployment.apps: spec is a list, want an object"},
		{`apps/v1 Deployment {spec: {replicas: many}}`, `spec.replicas is "many", want a whole number`},
		{`apps/v1 Deployment {status: {readyReplicas: []}}`, "status.readyReplicas is a list, want a whole number"},
		{`apps/v1 Deployment {spec: {replicas: many}, status: {readyReplicas: []}}`, `spec.replicas is "many"`},
		{`apps/v1 ReplicaSet {status: {availableReplicas: 1.5}}`, "status.availableReplicas is 1.5, want a whole number"},
		{`apps/v1 StatefulSet {spec: {updateStrategy: OnDelete}}`, `spec.updateStrategy is "OnDelete", want an object`},
		{`apps/v1 StatefulSet {spec: {updateStrategy: {type: 1}}}`, "spec.updateStrategy.type is 1, want a string"},
		{`apps/v1 StatefulSet {spec: {updateStrategy: {rollingUpdate: {partition: half}}}}`, `spec.updateStrategy.rollingUpdate.partition is "half", want a whole number`},
		{`apps/v1 StatefulSet {status: {readyReplicas: many}}`, `status.readyReplicas is "many", want a whole number`},
		{`apps/v1 DaemonSet {status: {numberReady: many}}`, `status.numberReady is "many", want a whole number`},
		{`batch/v1 Job {spec: {suspend: 1}}`, "spec.suspend is 1, want true or false"},
		{`batch/v1 Job {status: {startTime: 1}}`, "status.startTime is 1, want a string"},
		{`v1 PersistentVolumeClaim {status: {phase: 1}}`, "status.phase is 1, want a string"},
		{`v1 Service {spec: {type: 1}}`, "spec.type is 1, want a string"},
	} {
		result, err := (*status.Rules)(nil).Compute(rulesObject(t, row.object), nil, time.Now())
		if err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: got %+v and the error %v, want %q", row.object, result, err, row.err)
		}
		if result != (status.Result{}) {
			t.Errorf("%s: got %+v beside the error", row.object, result)
		}
		if !rulesCheckMasked(t, nil, rulesObject(t, row.object), time.Now(), false) && row.err != "rule for Widget.example.com: metadata is a list, want an object" {
			t.Errorf("%s: cannot be read", row.object)
		}
	}
}

// What no rule reads may be of any type.
func TestRuleReadsNoMoreThanItNeeds(t *testing.T) {
	for _, object := range []string{
		`example.com/v1 Widget {spec: [], status: {replicas: many, phase: 1}}`,
		`v1 Service {spec: {type: ClusterIP, ports: 1}, status: {loadBalancer: 1}}`,
		`v1 Secret {data: 1}`,
		`example.com/v1 Widget {metadata: {deletionTimestamp: now, generation: soon}, status: fine}`,
	} {
		if _, err := (*status.Rules)(nil).Compute(rulesObject(t, object), nil, time.Now()); err != nil {
			t.Errorf("%s: %v", object, err)
		}
	}
}

// rulesRenumbered returns a copy of v with other numbers.
func rulesRenumbered(v any, number func(int64) any) any {
	switch v := v.(type) {
	case map[string]any:
		fields := map[string]any{}
		for k, x := range v {
			fields[k] = rulesRenumbered(x, number)
		}
		return fields
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = rulesRenumbered(x, number)
		}
		return list
	case int64:
		return number(v)
	}
	return v
}

// A number is what it is in whatever type, and the object stays as it is.
func TestRuleNumbers(t *testing.T) {
	types := map[string]func(int64) any{
		"int":     func(n int64) any { return int(n) },
		"int32":   func(n int64) any { return int32(n) },
		"float64": func(n int64) any { return float64(n) },
		"string":  func(n int64) any { b, _ := json.Marshal(n); return string(b) },
	}
	for _, text := range []string{
		`argoproj.io/v1alpha1 Rollout {metadata: {generation: 3}, status: {observedGeneration: 3, conditions: [{type: Ready, status: "True"}]}}`,
		`argoproj.io/v1alpha1 Rollout {metadata: {generation: 3}, status: {observedGeneration: 2}}`,
		`apps/v1 Deployment {spec: {replicas: 2, progressDeadlineSeconds: 600}, status: {replicas: 2, updatedReplicas: 2, availableReplicas: 2, readyReplicas: 1}}`,
		`apps/v1 ReplicaSet {spec: {replicas: 2}, status: {replicas: 3, fullyLabeledReplicas: 2, availableReplicas: 2, readyReplicas: 2}}`,
		`apps/v1 StatefulSet {spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 1}}}, status: {replicas: 3, readyReplicas: 3, updatedReplicas: 2}}`,
		`apps/v1 StatefulSet {spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 3, currentReplicas: 3}}`,
		`apps/v1 DaemonSet {metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, ` +
			`updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 2}}`,
		`batch/v1 Job {spec: {completions: 2}, status: {succeeded: 2, conditions: [{type: Complete, status: "True"}]}}`,
	} {
		obj := rulesObject(t, text)
		want, err := (*status.Rules)(nil).Compute(obj, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for name, number := range types {
			other := &unstructured.Unstructured{Object: rulesRenumbered(obj.Object, number).(map[string]any)}
			before := rulesRenumbered(other.Object, nil)
			got, err := (*status.Rules)(nil).Compute(other, nil, time.Now())
			if err != nil || got != want {
				t.Errorf("%s, as %s: got %+v, %v; want %+v", text, name, got, err, want)
			}
			if !reflect.DeepEqual(before, any(other.Object)) {
				t.Errorf("%s, as %s: is %v after Compute", text, name, other.Object)
			}
		}
	}
}

// Nulls are missing, and floats that hold no whole number are not rounded.
func TestRuleNullsAndFloats(t *testing.T) {
	null := rulesObject(t, `apps/v1 DaemonSet {metadata: {generation: 1}, status: {observedGeneration: null}}`)
	got, err := (*status.Rules)(nil).Compute(null, nil, time.Now())
	if err != nil || got.Message != "DaemonSet status.observedGeneration not found" {
		t.Errorf("got %+v, %v for a null", got, err)
	}
	if _, ok := null.Object["status"].(map[string]any)["observedGeneration"]; !ok {
		t.Error("Compute removed a null from the object")
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 0.5} {
		obj := rulesObject(t, `apps/v1 Deployment {}`)
		obj.Object["spec"] = map[string]any{"replicas": f}
		if got, err := (*status.Rules)(nil).Compute(obj, nil, time.Now()); err == nil {
			t.Errorf("got %+v for %g replicas", got, f)
		}
	}
}
