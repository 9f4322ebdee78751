// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apiary-go/apiary/status"
)

// A condition for an older generation does not decide, whichever rule reads it.
func TestRulesConditionsOfAnOlderGeneration(t *testing.T) {
	const replicas = `spec: {replicas: 1}, status: {replicas: 1, updatedReplicas: 1, availableReplicas: 1, readyReplicas: 1, fullyLabeledReplicas: 1, conditions: `
	for _, c := range []struct {
		object   string
		old, now status.Status // with conditions for generation 1, and for 2
	}{
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Current},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "True", observedGeneration: "GEN"}]}}`, status.InProgress, status.Current},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {observedGeneration: 2, conditions: [{type: Ready, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Current},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "False", observedGeneration: GEN}]}}`, status.InProgress, status.InProgress},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Stalled, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Failed},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Stalled, status: "True", observedGeneration: GEN}, {type: Ready, status: "True", observedGeneration: 2}]}}`, status.Current, status.Failed},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Reconciling, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.InProgress},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Reconciling, status: "True", observedGeneration: GEN}, {type: Ready, status: "True"}]}}`, status.Current, status.InProgress},
		{`example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: Stalled, status: "False", observedGeneration: GEN}, {type: Other, status: "True", observedGeneration: GEN}]}}`, status.Current, status.Current},
		{`v1 Pod {metadata: {generation: 2}, status: {phase: Running, conditions: [{type: Ready, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Current},
		{`v1 Pod {metadata: {generation: 2}, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, observedGeneration: GEN}]}}`, status.InProgress, status.Failed},
		{`apps/v1 Deployment {metadata: {generation: 2}, ` + replicas + `[{type: Progressing, status: "True", reason: NewReplicaSetAvailable}, {type: Available, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Current},
		{`apps/v1 ReplicaSet {metadata: {generation: 2}, ` + replicas + `[{type: ReplicaFailure, status: "True", observedGeneration: GEN}]}}`, status.Current, status.InProgress},
		{`batch/v1 Job {metadata: {generation: 2}, status: {conditions: [{type: Failed, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Failed},
		{`apiextensions.k8s.io/v1 CustomResourceDefinition {metadata: {generation: 2}, status: {conditions: [{type: Established, status: "True", observedGeneration: GEN}]}}`, status.InProgress, status.Current},
	} {
		for gen, want := range map[string]status.Status{"1": c.old, "2": c.now, "3": c.now} {
			obj := rulesObject(t, strings.ReplaceAll(c.object, "GEN", gen))
			before := obj.DeepCopy()
			got, err := (*status.Rules)(nil).Compute(obj, nil, time.Now())
			if err != nil || got.Status != want {
				t.Errorf("%s, for generation %s: got %+v, %v, want %s", c.object, gen, got, err, want)
			}
			if !reflect.DeepEqual(obj, before) {
				t.Errorf("%s: the object was modified", c.object)
			}
			rulesCheckMasked(t, nil, obj, time.Now(), true)
		}
	}
}

// A Failed Pod that was unschedulable in an older generation only makes its owner Failed.
func TestRulesUnschedulableForAnOlderGeneration(t *testing.T) {
	set := rulesObject(t, `apps/v1 ReplicaSet {spec: {replicas: 1}}`)
	for gen, want := range map[string]status.Status{"1": status.Failed, "2": status.InProgress} {
		pod := rulesObject(t, strings.ReplaceAll(`v1 Pod {metadata: {generation: 2}, status: {conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, observedGeneration: GEN}]}}`, "GEN", gen))
		children := []status.ObjectStatus{{ID: status.IDOf(pod), Status: status.Failed, Object: pod}}
		if got, err := (*status.Rules)(nil).Compute(set, children, time.Now()); err != nil || got.Status != want {
			t.Errorf("for generation %s: got %+v, %v, want %s", gen, got, err, want)
		}
	}
}
