// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/status"
)

// What a rule reads and cannot is an error that names the kind and the field.
func TestRuleMalformed(t *testing.T) {
	const unschedulable = `status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable}]}`
	for _, row := range []struct{ object, err string }{
		{`example.com/v1 Widget {metadata: []}`, "rule for Widget.example.com: metadata is a list, want an object"},
		{`example.com/v1 Widget {metadata: {deletionTimestamp: 1}}`, "metadata.deletionTimestamp is a number, want a string"},
		{`example.com/v1 Widget {metadata: {generation: soon}}`, `metadata.generation is a string, want a whole number`},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: 6f7a}}`, `status.observedGeneration is a string, want a whole number`},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: true}}`, "status.observedGeneration is a boolean, want a whole number"},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: 1.5}}`, "status.observedGeneration is a float, want a whole number"},
		{`example.com/v1 Widget {metadata: {generation: 1}, status: {observedGeneration: {}}}`, "status.observedGeneration is an object, want a whole number"},
		{`example.com/v1 Widget {status: fine}`, `status is a string, want an object`},
		{`example.com/v1 Widget {status: ` + strings.Repeat("x", 50) + `}`, `status is a string, want an object`},
		{`example.com/v1 Widget {status: {conditions: {}}}`, "status.conditions is an object, want a list"},
		{`example.com/v1 Widget {status: {conditions: [{}, Ready]}}`, `status.conditions[] is a string, want an object`},
		{`example.com/v1 Widget {status: {conditions: [{type: 1}]}}`, "status.conditions[].type is a number, want a string"},
		{`example.com/v1 Widget {status: {conditions: [{status: true}]}}`, "status.conditions[].status is a boolean, want a string"},
		{`example.com/v1 Widget {status: {conditions: [{reason: []}]}}`, "status.conditions[].reason is a list, want a string"},
		{`example.com/v1 Widget {status: {conditions: [{message: 1}]}}`, "status.conditions[].message is a number, want a string"},

		{`v1 Pod {status: {phase: 1}}`, "rule for Pod: status.phase is a number, want a string"},
		{`v1 Pod {status: {phase: Unknown}}`, `status.phase is not a known phase of a Pod`},
		{`v1 Pod {status: {phase: Running, containerStatuses: {}}}`, "status.containerStatuses is an object, want a list"},
		{`v1 Pod {status: {phase: Running, containerStatuses: [a]}}`, `status.containerStatuses[] is a string, want an object`},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{name: 1}]}}`, "status.containerStatuses[].name is a number, want a string"},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{state: waiting}]}}`, `status.containerStatuses[].state is a string, want an object`},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{state: {waiting: true}}]}}`, "status.containerStatuses[].state.waiting is a boolean, want an object"},
		{`v1 Pod {status: {phase: Running, containerStatuses: [{state: {waiting: {reason: 1}}}]}}`, "status.containerStatuses[].state.waiting.reason is a number, want a string"},
		{`v1 Pod {status: {phase: Pending, initContainerStatuses: [1]}}`, "status.initContainerStatuses[] is a number, want an object"},
		{`v1 Pod {metadata: {creationTimestamp: 1}, ` + unschedulable + `}`, "metadata.creationTimestamp is a number, want a string"},
		{`v1 Pod {metadata: {creationTimestamp: yesterday}, ` + unschedulable + `}`, `metadata.creationTimestamp is not a time in RFC 3339 format`},

		{`apps/v1 Deployment {spec: []}`, "rule for Deployment.apps: spec is a list, want an object"},
		{`apps/v1 Deployment {spec: {replicas: many}}`, `spec.replicas is a string, want a whole number`},
		{`apps/v1 Deployment {status: {readyReplicas: []}}`, "status.readyReplicas is a list, want a whole number"},
		{`apps/v1 Deployment {spec: {replicas: many}, status: {readyReplicas: []}}`, `spec.replicas is a string`},
		{`apps/v1 ReplicaSet {status: {availableReplicas: 1.5}}`, "status.availableReplicas is a float, want a whole number"},
		{`apps/v1 StatefulSet {spec: {updateStrategy: OnDelete}}`, `spec.updateStrategy is a string, want an object`},
		{`apps/v1 StatefulSet {spec: {updateStrategy: {type: 1}}}`, "spec.updateStrategy.type is a number, want a string"},
		{`apps/v1 StatefulSet {spec: {updateStrategy: {rollingUpdate: {partition: half}}}}`, `spec.updateStrategy.rollingUpdate.partition is a string, want a whole number`},
		{`apps/v1 StatefulSet {status: {readyReplicas: many}}`, `status.readyReplicas is a string, want a whole number`},
		{`apps/v1 DaemonSet {status: {numberReady: many}}`, `status.numberReady is a string, want a whole number`},
		{`batch/v1 Job {spec: {suspend: 1}}`, "spec.suspend is a number, want true or false"},
		{`batch/v1 Job {status: {startTime: 1}}`, "status.startTime is a number, want a string"},
		{`v1 PersistentVolumeClaim {status: {phase: 1}}`, "status.phase is a number, want a string"},
		{`v1 Service {spec: {type: 1}}`, "spec.type is a number, want a string"},
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

// Neither a panic of a rule nor a line about an object shows more of it than a line has.
func TestStatusesAreLines(t *testing.T) {
	kind := schema.GroupKind{Kind: "Secret"}
	rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{kind: func(obj *unstructured.Unstructured, _ []status.ObjectStatus, _ time.Time) (status.Result, error) {
		panic(obj)
	}}}
	_, err := rules.Compute(rulesObject(t, `v1 Secret {data: {password: c4nary}}`), nil, time.Now())
	if err == nil || strings.Contains(err.Error(), "c4nary") || !strings.Contains(err.Error(), "panicked: a *unstructured.Unstructured") {
		t.Error(err)
	}
	long := strings.Repeat("long\n ", 1<<17)
	for _, s := range []status.ObjectStatus{{Message: long}, {Err: errors.New(long)}} {
		if line := s.String(); len(line) > 2000 || strings.Contains(line, "\n") {
			t.Errorf("%d bytes: %.100q", len(line), line)
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
