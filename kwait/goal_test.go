// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/clitest"
	"github.com/apiary-go/apiary/status"
)

func TestGoals(t *testing.T) {
	for text, want := range map[string]goal{
		"current":              {},
		"deleted":              {deleted: true},
		"delete":               {deleted: true},
		"condition=Ready":      {condition: &condition{"Ready", "True"}},
		"condition=ready=no":   {condition: &condition{"ready", "no"}},
		"condition=Ready=a=b":  {condition: &condition{"Ready", "a=b"}},
		"condition=x.io/Ready": {condition: &condition{"x.io/Ready", "True"}},
	} {
		if got, err := parseGoal(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestConditions(t *testing.T) {
	const failed = "metadata: {generation: 2}\nstatus: {conditions: [{type: Stalled, status: 'True', message: stuck}]}"
	for name, test := range map[string]struct {
		goal, object string
		want         status.Status
		message      string
	}{
		"met":             {"Ready", "status: {conditions: [{type: Other, status: 'False'}, {type: Ready, status: 'True', reason: Why, message: how}]}", status.Current, "Ready=True: Why: how"},
		"not met":         {"Ready", "status: {conditions: [{type: Ready, status: 'False', reason: Why}]}", status.InProgress, "Ready=False: Why"},
		"missing":         {"Ready", "status: {conditions: [{type: Other, status: 'True'}]}", status.InProgress, "no condition Ready"},
		"no status":       {"Ready", "", status.InProgress, "no condition Ready"},
		"value":           {"Ready=False", "status: {conditions: [{type: Ready, status: 'False'}]}", status.Current, "Ready=False"},
		"letters":         {"ready=true", "status: {conditions: [{type: Ready, status: 'True'}]}", status.Current, "Ready=True"},
		"old condition":   {"Ready", "metadata: {generation: 2}\nstatus: {conditions: [{type: Ready, status: 'True', observedGeneration: 1}]}", status.InProgress, "Ready=True is of generation 1, and the object has generation 2"},
		"old status":      {"Ready", "metadata: {generation: 2}\nstatus: {observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]}", status.InProgress, "Ready=True is of generation 1, and the object has generation 2"},
		"condition first": {"Ready", "metadata: {generation: 2}\nstatus: {observedGeneration: 1, conditions: [{type: Ready, status: 'True', observedGeneration: 2}]}", status.Current, "Ready=True"},
		"failed":          {"Ready", failed, status.Failed, "stuck"},
		"failed and met":  {"Stalled", failed, status.Current, "Stalled=True: stuck"},
		"waits to fail":   {"Failed", failed, status.InProgress, "no condition Failed"},
		"terminating":     {"Ready", "metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}", status.Terminating, "Resource scheduled for deletion"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := yaml.ToJSON([]byte("apiVersion: example.com/v1\nkind: Hive\n" + test.object))
			if err != nil {
				t.Fatal(err)
			}
			obj := &unstructured.Unstructured{}
			if err := obj.UnmarshalJSON(data); err != nil {
				t.Fatal(err)
			}
			g, err := parseGoal("condition=" + test.goal)
			if err != nil {
				t.Fatal(err)
			}
			rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{}, Keep: map[schema.GroupKind][]string{}}
			g.apply(rules, []status.ID{{GroupKind: obj.GroupVersionKind().GroupKind(), Name: "a"}})
			rules.Trim(obj)
			got, err := rules.Compute(obj, nil, time.Now())
			if err != nil || got.Status != test.want || got.Message != test.message {
				t.Errorf("%v %q, %v; want %v %q", got.Status, got.Message, err, test.want, test.message)
			}
		})
	}
}

func TestWaitCondition(t *testing.T) {
	inWait(t, func(w *waiting) {
		notReady := pod("one", true)
		notReady.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady"}}
		w.add(notReady, pod("two", true))
		w.start("", "pod", "one", "two", "--for", "condition=ready", "-o", "text")
		clitest.Expect(t, w.after(time.Minute), "Pod/shop/one  InProgress   Ready=False: ContainersNotReady", "Pod/shop/two  ready=True   Ready=True\n")
		w.stillRuns()
		w.add(pod("one", true))
		w.mustEnd(0)
		clitest.Expect(t, w.out.Take(), "all 2 are ready=True")
	})
}

// A failure ends a wait for a condition, except for the condition Failed.
func TestWaitConditionFailed(t *testing.T) {
	for condition, code := range map[string]int{"Ready": 1, "Failed": 2} {
		t.Run(condition, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				crashed := crashing()
				crashed.Status.ContainerStatuses[0].LastTerminationState = exited("OOMKilled", 137)
				w.add(crashed)
				w.start("", "pod/one", "--for", "condition="+condition, "--timeout", "1m")
				w.mustEnd(code)
				clitest.Expect(t, w.out.Take(), "(last exit: OOMKilled, exit code 137)")
			})
		})
	}
	inWait(t, func(w *waiting) {
		w.add(&batchv1.Job{ObjectMeta: inShop("task"), Status: batchv1.JobStatus{
			Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}},
		}})
		w.start("", "job/task", "--for", "condition=failed")
		w.mustEnd(0)
	})
}

// An object that cannot be read counts as Failed for the reasons of --fail-reasons.
func TestWaitFailReasons(t *testing.T) {
	for reasons, code := range map[string]int{"KindNotInstalled": 1, "Forbidden,RuleError": 2} {
		t.Run(reasons, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.start(hivesManifest, "--fail-reasons", reasons, "--timeout", "1m")
				w.mustEnd(code)
			})
		})
	}
}

// The flags are the options of the library.
func TestWaitRules(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: inShop("disk"), Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}}
	paused := web(1, 1)
	paused.Spec.Paused, paused.Spec.ProgressDeadlineSeconds = true, new(int32(600))
	paused.Status.Conditions[0] = appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionUnknown, Reason: "DeploymentPaused"}
	balancer := &corev1.Service{ObjectMeta: inShop("front"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1"}}
	unseen := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Hive", "metadata": map[string]any{"namespace": "shop", "name": "first"},
	}}
	certificate := unseen.DeepCopy()
	certificate.SetGroupVersionKind(schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"})
	for name, test := range map[string]struct {
		object runtime.Object
		args   []string
		code   int
	}{
		"claim":           {claim, []string{"persistentvolumeclaim/disk"}, 2},
		"unbound claim":   {claim, []string{"persistentvolumeclaim/disk", "--unbound-claims"}, 0},
		"paused":          {paused, []string{"deployment/web"}, 2},
		"paused, allowed": {paused, []string{"deployment/web", "--paused-deployments"}, 0},
		"balancer":        {balancer, []string{"service/front"}, 0},
		"no address":      {balancer, []string{"service/front", "--load-balancers"}, 2},
		"no status":       {unseen, []string{"hive/first"}, 0},
		"strict":          {unseen, []string{"hive/first", "--strict"}, 2},
		"certificate":     {certificate, []string{"certificate/first"}, 0},
		"well-known":      {certificate, []string{"certificate/first", "--well-known"}, 2},
		"crash":           {crashing(), []string{"pod/one"}, 1},
		"crash, allowed":  {crashing(), []string{"pod/one", "--pod-waiting", "InvalidImageName"}, 2},
		"crash, none":     {crashing(), []string{"pod/one", "--pod-waiting", ""}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.api.Install(fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Hive"})
				w.api.Install(fakeapi.Kind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"})
				w.add(test.object)
				w.start("", append(test.args, "--timeout", "1m")...)
				w.mustEnd(test.code)
			})
		})
	}
}
