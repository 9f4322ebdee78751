// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/status"
)

func TestTrim(t *testing.T) {
	const meta = `metadata: {name: a, namespace: b, uid: u, labels: {l: m}, ownerReferences: [{uid: o}], generation: 2, resourceVersion: "3", ` +
		`creationTimestamp: "2026-01-01T00:00:00Z", deletionTimestamp: "2026-01-02T00:00:00Z", finalizers: [f]`
	const all = meta + `, annotations: {x: y}, managedFields: [{manager: m}], selfLink: s}`
	const left = meta + `}`
	for _, c := range []struct{ object, want string }{
		{`v1 Secret {` + all + `, type: Opaque, data: {a: b}, stringData: {c: d}}`, `v1 Secret {` + left + `}`},
		{`v1 ConfigMap {` + all + `, data: {a: b}, binaryData: {c: d}, immutable: true}`, `v1 ConfigMap {` + left + `}`},
		{`example.com/v1 Widget {` + all + `, spec: {replicas: 1}, status: {a: {b: c}}, more: 1}`, `example.com/v1 Widget {` + left + `, status: {a: {b: c}}}`},
		{`apps/v1 Deployment {` + all + `, spec: {replicas: 1, selector: {a: b}, paused: true, progressDeadlineSeconds: 2, template: {}, strategy: {}}, status: {replicas: 1, any: 2}}`,
			`apps/v1 Deployment {` + left + `, spec: {replicas: 1, selector: {a: b}, paused: true, progressDeadlineSeconds: 2}, status: {replicas: 1, any: 2}}`},
		{`example.com/v1 Widget {spec: x, status: y}`, `example.com/v1 Widget {status: y}`},
		{`apps/v1 ReplicaSet {spec: {replicas: 1, selector: {a: b}, template: {}}}`, `apps/v1 ReplicaSet {spec: {replicas: 1, selector: {a: b}}}`},
		{`apps/v1 StatefulSet {spec: {replicas: 1, selector: {a: b}, updateStrategy: {type: c}, volumeClaimTemplates: []}}`,
			`apps/v1 StatefulSet {spec: {replicas: 1, selector: {a: b}, updateStrategy: {type: c}}}`},
		{`apps/v1 DaemonSet {spec: {selector: {a: b}, template: {}}}`, `apps/v1 DaemonSet {spec: {selector: {a: b}}}`},
		{`batch/v1 Job {spec: {parallelism: 1, completions: 2, suspend: true, selector: {a: b}, template: {}}}`,
			`batch/v1 Job {spec: {parallelism: 1, completions: 2, suspend: true, selector: {a: b}}}`},
		{`batch/v1 CronJob {spec: {suspend: true, jobTemplate: {}}}`, `batch/v1 CronJob {spec: {suspend: true}}`},
		{`v1 Service {spec: {type: a, clusterIP: b, ports: []}}`, `v1 Service {spec: {type: a, clusterIP: b}}`},
		{`v1 PersistentVolumeClaim {spec: {a: b}, status: {phase: Bound}}`, `v1 PersistentVolumeClaim {status: {phase: Bound}}`},
		{`v1 Node {spec: {podCIDR: a}, status: {images: [a], phase: b}}`, `v1 Node {status: {phase: b}}`},
		{`v1 Pod {spec: {nodeName: n, containers: []}, status: {phase: p, reason: r, message: m, podIP: i, conditions: [{type: t, x: y}], observedGeneration: 1,
			containerStatuses: [{name: a, ready: true, restartCount: 1, state: {waiting: {reason: b, message: c}}, image: d, lastState: {}}, null, 1],
			initContainerStatuses: [{name: a, imageID: b}], ephemeralContainerStatuses: []}}`,
			`v1 Pod {spec: {nodeName: n}, status: {phase: p, reason: r, message: m, conditions: [{type: t, x: y}], observedGeneration: 1,
			containerStatuses: [{name: a, ready: true, restartCount: 1, state: {waiting: {reason: b, message: c}}}, null, 1],
			initContainerStatuses: [{name: a}]}}`},
		{`v1 Pod {spec: {a: b}, status: {podIP: i}}`, `v1 Pod {}`},
		{`v1 Pod {metadata: 1, spec: 2, status: 3}`, `v1 Pod {metadata: 1, spec: 2, status: 3}`},
		{`v1 Node {status: 3}`, `v1 Node {status: 3}`},
	} {
		obj := rulesObject(t, c.object)
		(*status.Rules)(nil).Trim(obj)
		if want := rulesObject(t, c.want); !reflect.DeepEqual(obj.Object, want.Object) {
			t.Errorf("%s\ngot  %v\nwant %v", c.object, obj.Object, want.Object)
		}
		rulesCheckMasked(t, nil, rulesObject(t, c.object), time.Now(), true)
	}
	(*status.Rules)(nil).Trim(nil)
	(*status.Rules)(nil).Trim(&unstructured.Unstructured{})
}

func TestTrimKeeps(t *testing.T) {
	none := func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
		return status.Result{}, nil
	}
	kind := rulesKind("Widget.example.com")
	const object = `example.com/v1 Widget {metadata: {name: a, annotations: {b: c}, managedFields: [d]}, spec: {e: {f: 1, g: 2}, h: i, q: {o: p}}, data: {j: k}, status: {l: m}}`
	const whole = `example.com/v1 Widget {metadata: {name: a, annotations: {b: c}}, spec: {e: {f: 1, g: 2}, h: i, q: {o: p}}, data: {j: k}, status: {l: m}}`
	for name, c := range map[string]struct {
		byKind bool
		keep   []string
		want   string
	}{
		"a rule":               {true, nil, whole},
		"everything":           {false, []string{"*"}, whole},
		"a rule, everything":   {true, []string{"spec.h", "*"}, whole},
		"a rule that has said": {true, []string{"spec.h"}, `example.com/v1 Widget {metadata: {name: a}, spec: {h: i}, status: {l: m}}`},
		"a rule of the status": {true, []string{}, `example.com/v1 Widget {metadata: {name: a}, status: {l: m}}`},
		"paths": {false, []string{"spec.e.f", "spec.h", "data", "status.l", "metadata.annotations", "spec.h.no", "no.such", "spec.e.x", "spec.x", "spec.q.x"},
			`example.com/v1 Widget {metadata: {name: a, annotations: {b: c}}, spec: {e: {f: 1}, h: i}, data: {j: k}, status: {l: m}}`},
	} {
		rules := &status.Rules{}
		if c.byKind {
			rules.ByKind = map[schema.GroupKind]status.Rule{kind: none}
		}
		if c.keep != nil {
			rules.Keep = map[schema.GroupKind][]string{kind: c.keep}
		}
		obj := rulesObject(t, object)
		old := obj.Object
		rules.Trim(obj)
		if before := rulesObject(t, object); !reflect.DeepEqual(old, before.Object) {
			t.Errorf("%s: modified to %v", name, old)
		}
		if want := rulesObject(t, c.want); !reflect.DeepEqual(obj.Object, want.Object) {
			t.Errorf("%s\ngot  %v\nwant %v", name, obj.Object, want.Object)
		}
		if !rulesCheckMasked(t, rules, rulesObject(t, object), time.Now(), true) {
			t.Errorf("%s: not read", name)
		}
	}
	all := rulesObject(t, object)
	keepAll := &status.Rules{KeepAll: true}
	keepAll.Trim(all)
	if want := rulesObject(t, whole); !reflect.DeepEqual(all.Object, want.Object) || keepAll.MetadataOnly(rulesKind("Secret")) {
		t.Errorf("with KeepAll: got %v, want %v", all.Object, want.Object)
	}
	if !rulesCheckMasked(t, keepAll, rulesObject(t, object), time.Now(), true) {
		t.Error("with KeepAll: not read")
	}
	pods := &status.Rules{Keep: map[schema.GroupKind][]string{rulesKind("Pod"): {"status.podIP", "spec.nodeName"}}}
	pod := rulesObject(t, `v1 Pod {spec: {nodeName: a, b: c}, status: {phase: d, podIP: e, hostIP: f}}`)
	pods.Trim(pod)
	if want := rulesObject(t, `v1 Pod {spec: {nodeName: a}, status: {phase: d, podIP: e}}`); !reflect.DeepEqual(pod.Object, want.Object) {
		t.Errorf("got %v, want %v", pod.Object, want.Object)
	}
}

// rulesSpoilt is an object one or two of whose fields are of some other type.
var rulesSpoilt = rapid.Custom(func(t *rapid.T) *unstructured.Unstructured {
	obj := rulesAnyObject.Draw(t, "object")
	for range rapid.IntRange(0, 2).Draw(t, "spoilt") {
		fields := obj.Object
		for {
			names := make([]string, 0, len(fields))
			for name := range fields {
				names = append(names, name)
			}
			if len(names) == 0 {
				break
			}
			name := rapid.SampledFrom(rulesSorted(names)).Draw(t, "field")
			below, ok := fields[name].(map[string]any)
			if ok && rapid.IntRange(0, 3).Draw(t, "deeper") > 0 {
				fields = below
				continue
			}
			fields[name] = rapid.SampledFrom([]any{nil, "x", "3", int64(1), 2.0, 0.5, true, []any{nil, "x"}, map[string]any{"x": "y"}}).Draw(t, "value")
			break
		}
	}
	return obj
})

// What Trim takes no rule reads, be the object well-formed or not. What is below
// the metadata, the spec and the status stays as it is.
func TestTrimTakesWhatNoRuleReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := &status.Rules{
			Jobs:          status.JobPolicy(rapid.IntRange(0, 1).Draw(t, "jobs")),
			Strict:        rapid.Bool().Draw(t, "strict"),
			UnboundClaims: rapid.Bool().Draw(t, "unbound"),
		}
		obj := rulesSpoilt.Draw(t, "object")
		now := time.Now()
		want, wantErr := rules.Compute(obj, nil, now)
		trimmed := &unstructured.Unstructured{Object: map[string]any{}}
		for k, v := range obj.Object {
			trimmed.Object[k] = v
		}
		before := rulesRenumbered(obj.Object, func(n int64) any { return n })
		rules.Trim(trimmed)
		if !reflect.DeepEqual(any(obj.Object), before) {
			t.Fatalf("Trim made it %v", obj.Object)
		}
		got, err := rules.Compute(trimmed, nil, now)
		if got != want || rulesText(err) != rulesText(wantErr) {
			t.Fatalf("got %+v, %v of the trimmed object, %+v, %v of the object", got, err, want, wantErr)
		}
		again := trimmed.DeepCopy()
		rules.Trim(again)
		if !reflect.DeepEqual(again.Object, trimmed.Object) {
			t.Fatalf("trimmed twice it is %v, once %v", again.Object, trimmed.Object)
		}
	})
}
