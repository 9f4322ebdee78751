// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"strings"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/apiary-go/apiary/status"
)

// rulesObject returns the object that a text describes, such as
// "apps/v1 Deployment {spec: {replicas: 2}}".
func rulesObject(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	version, text, _ := strings.Cut(text, " ")
	kind, fields, _ := strings.Cut(text, " ")
	data, err := yaml.YAMLToJSON([]byte(fields))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	obj := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(data, &obj.Object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if obj.Object == nil {
		obj.Object = map[string]any{}
	}
	obj.SetAPIVersion(version)
	obj.SetKind(kind)
	return obj
}

// rulesRow is an object and what it is by the rules, and by kstatus.
type rulesRow struct {
	name    string
	object  string
	status  status.Status
	message string
}

// rulesCheck checks rows by which kstatus says the same.
func rulesCheck(t *testing.T, head string, rows []rulesRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			obj := rulesObject(t, head+row.object)
			got, err := (*status.Rules)(nil).Compute(obj, nil, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if want := (status.Result{Status: row.status, Message: row.message}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if !rulesCheckMasked(t, nil, obj, time.Now(), true) {
				t.Error("cannot be read")
			}
			theirs, err := kstatus.Compute(obj)
			if err != nil {
				t.Fatal("kstatus: ", err)
			}
			if string(theirs.Status) != string(got.Status) || theirs.Message != got.Message {
				t.Errorf("got %+v, kstatus says %s: %s", got, theirs.Status, theirs.Message)
			}
		})
	}
}

// What is the same for all kinds, and for those without a rule of their own.
func TestRuleGeneral(t *testing.T) {
	rulesCheck(t, "example.com/v1 Widget ", []rulesRow{
		{"nothing known", ``, status.Current, "Resource is current"},
		{"being deleted", `{metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", generation: 2}, status: {observedGeneration: 1}}`,
			status.Terminating, "Resource scheduled for deletion"},
		{"generation not observed", `{metadata: {generation: 2}, status: {observedGeneration: 1, conditions: [{type: Ready, status: "True"}]}}`,
			status.InProgress, "Widget generation is 2, but latest observed generation is 1"},
		{"generation observed", `{metadata: {generation: 2}, status: {observedGeneration: 2}}`, status.Current, "Resource is current"},
		{"no generation", `{status: {observedGeneration: 2}}`, status.Current, "Resource is current"},
		{"reconciling", `{status: {conditions: [{type: Reconciling, status: "True", message: at it}, {type: Stalled, status: "True"}, {type: Ready, status: "True"}]}}`,
			status.InProgress, "at it"},
		{"stalled", `{status: {conditions: [{type: Stalled, status: "True", message: no quota}, {type: Reconciling, status: "True"}]}}`,
			status.Failed, "no quota"},
		{"neither", `{status: {conditions: [{type: Stalled, status: "False"}, {type: Reconciling, status: "Unknown"}]}}`,
			status.Current, "Resource is current"},
		{"ready", `{status: {conditions: [{type: Ready, status: "True"}]}}`, status.Current, "Resource is Ready"},
		{"not ready", `{status: {conditions: [{type: Ready, status: "False", message: soon}]}}`, status.InProgress, "soon"},
		{"ready unknown", `{status: {conditions: [{type: Ready, status: Unknown, message: who knows}]}}`, status.InProgress, "who knows"},
		{"ready says nothing", `{status: {conditions: [{type: Ready, status: ""}, {type: Ready, status: "False", message: second}]}}`, status.InProgress, "second"},
		{"nulls", `{metadata: null, spec: null, status: {conditions: null}}`, status.Current, "Resource is current"},
		{"conditions of nulls", `{status: {conditions: [null, {type: null}]}}`, status.Current, "Resource is current"},
	})
}

func TestRuleDeployment(t *testing.T) {
	const ok = `replicas: 2, updatedReplicas: 2, availableReplicas: 2, readyReplicas: 2`
	const done = `conditions: [{type: Progressing, status: "True", reason: NewReplicaSetAvailable}, {type: Available, status: "True"}]`
	rows := []rulesRow{
		{"new", ``, status.InProgress, "Replicas: 0/1"},
		{"too few", `{spec: {replicas: 2}, status: {replicas: 1}}`, status.InProgress, "Replicas: 1/2"},
		{"too few updated", `{spec: {replicas: 2}, status: {replicas: 3, updatedReplicas: 1}}`, status.InProgress, "Updated: 1/2"},
		{"too many", `{spec: {replicas: 2}, status: {replicas: 3, updatedReplicas: 2}}`, status.InProgress, "Pending termination: 1"},
		{"too few available", `{spec: {replicas: 2}, status: {replicas: 2, updatedReplicas: 2, availableReplicas: 1}}`, status.InProgress, "Available: 1/2"},
		{"too few ready", `{spec: {replicas: 2}, status: {replicas: 2, updatedReplicas: 2, availableReplicas: 2, readyReplicas: 1}}`, status.InProgress, "Ready: 1/2"},
		{"progressing", `{spec: {replicas: 2, progressDeadlineSeconds: 600}, status: {` + ok + `, conditions: [{type: Progressing, status: "True", reason: ReplicaSetUpdated}, {type: Available, status: "True"}]}}`,
			status.InProgress, "ReplicaSet not Available"},
		{"more updated than there should be", `{spec: {replicas: 1}, status: {replicas: 1, updatedReplicas: 2, availableReplicas: 1}}`, status.InProgress, "Available: 1/2"},
		{"no longer progressing", `{spec: {replicas: 2, progressDeadlineSeconds: 600}, status: {` + ok + `, conditions: [{type: Progressing, status: "False", reason: NewReplicaSetAvailable}]}}`,
			status.InProgress, "ReplicaSet not Available"},
		{"paused", `{spec: {replicas: 2, paused: true, progressDeadlineSeconds: 600}, status: {` + ok + `, conditions: [{type: Progressing, status: Unknown, reason: DeploymentPaused}, {type: Available, status: "True"}]}}`,
			status.InProgress, "ReplicaSet not Available"},
		{"no deadline", `{spec: {replicas: 2}, status: {` + ok + `, conditions: [{type: Available, status: "True"}]}}`, status.Current, "Deployment is available. Replicas: 2"},
		{"deadline for ever", `{spec: {replicas: 2, progressDeadlineSeconds: 2147483647}, status: {` + ok + `, conditions: [{type: Available, status: "True"}]}}`,
			status.Current, "Deployment is available. Replicas: 2"},
		{"not available", `{spec: {replicas: 2}, status: {` + ok + `, conditions: [{type: Available, status: "False"}]}}`, status.InProgress, "Deployment not Available"},
		{"deadline exceeded", `{spec: {replicas: 2}, status: {replicas: 1, conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded}]}}`,
			status.Failed, "Progress deadline exceeded"},
		{"done", `{spec: {replicas: 2, progressDeadlineSeconds: 600}, status: {` + ok + `, ` + done + `}}`, status.Current, "Deployment is available. Replicas: 2"},
		{"zero", `{spec: {replicas: 0, progressDeadlineSeconds: 600}, status: {` + done + `}}`, status.Current, "Deployment is available. Replicas: 0"},
		{"stalled", `{spec: {replicas: 2}, status: {` + ok + `, conditions: [{type: Stalled, status: "True", message: so}]}}`, status.Failed, "so"},
	}
	rulesCheck(t, "apps/v1 Deployment ", rows)
	rulesCheck(t, "extensions/v1beta1 Deployment ", rows)
}

func TestRuleReplicaSet(t *testing.T) {
	rows := []rulesRow{
		{"new", ``, status.InProgress, "Labelled: 0/1"},
		{"failure", `{spec: {replicas: 0}, status: {conditions: [{type: ReplicaFailure, status: "True"}]}}`, status.InProgress, "Replica Failure condition. Check Pods"},
		{"too few available", `{spec: {replicas: 2}, status: {fullyLabeledReplicas: 2, availableReplicas: 1}}`, status.InProgress, "Available: 1/2"},
		{"too few ready", `{spec: {replicas: 2}, status: {fullyLabeledReplicas: 2, availableReplicas: 2, readyReplicas: 1}}`, status.InProgress, "Ready: 1/2"},
		{"too many", `{spec: {replicas: 1}, status: {replicas: 2, fullyLabeledReplicas: 1, availableReplicas: 1, readyReplicas: 1}}`, status.InProgress, "Pending termination: 1"},
		{"done", `{spec: {replicas: 1}, status: {replicas: 1, fullyLabeledReplicas: 1, availableReplicas: 1, readyReplicas: 1}}`, status.Current, "ReplicaSet is available. Replicas: 1"},
	}
	rulesCheck(t, "apps/v1 ReplicaSet ", rows)
	rulesCheck(t, "extensions/v1beta1 ReplicaSet ", rows)
}

func TestRuleStatefulSet(t *testing.T) {
	const ok = `replicas: 3, readyReplicas: 3, currentReplicas: 3`
	rulesCheck(t, "apps/v1 StatefulSet ", []rulesRow{
		{"new", ``, status.InProgress, "Replicas: 0/1"},
		{"too few ready", `{spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 2}}`, status.InProgress, "Ready: 2/3"},
		{"too many", `{spec: {replicas: 3}, status: {replicas: 4, readyReplicas: 3}}`, status.InProgress, "Pending termination: 1"},
		{"partition", `{spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 1}}}, status: {` + ok + `, updatedReplicas: 1}}`, status.InProgress, "updated: 1/2"},
		{"partition done", `{spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 1}}}, status: {` + ok + `, updatedReplicas: 2}}`,
			status.Current, "Partition rollout complete. updated: 2"},
		{"too few current", `{spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 3, currentReplicas: 2}}`, status.InProgress, "current: 2/3"},
		{"revisions", `{spec: {replicas: 3}, status: {` + ok + `, currentRevision: a, updateRevision: b}}`, status.InProgress, "Waiting for updated revision to match current"},
		{"done", `{spec: {replicas: 3}, status: {` + ok + `, currentRevision: a, updateRevision: a}}`, status.Current, "All replicas scheduled as expected. Replicas: 3"},
		{"on delete", `{spec: {replicas: 3, updateStrategy: {type: OnDelete}}, status: {replicas: 3, readyReplicas: 3}}`, status.Current, "StatefulSet is using the ondelete update strategy"},
	})
}

func TestRuleDaemonSet(t *testing.T) {
	const seen = `metadata: {generation: 1}, status: {observedGeneration: 1`
	rows := []rulesRow{
		{"no generation", ``, status.InProgress, "DaemonSet metadata.generation not found"},
		{"new", `{metadata: {generation: 1}}`, status.InProgress, "DaemonSet status.observedGeneration not found"},
		{"no number", `{` + seen + `}}`, status.InProgress, "Missing .status.desiredNumberScheduled"},
		{"too few current", `{` + seen + `, desiredNumberScheduled: 2, currentNumberScheduled: 1}}`, status.InProgress, "Current: 1/2"},
		{"too few updated", `{` + seen + `, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1}}`, status.InProgress, "Updated: 1/2"},
		{"too few available", `{` + seen + `, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}}`,
			status.InProgress, "Available: 1/2"},
		{"too few ready", `{` + seen + `, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 1}}`,
			status.InProgress, "Ready: 1/2"},
		{"done", `{` + seen + `, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 2}}`,
			status.Current, "All replicas scheduled as expected. Replicas: 2"},
	}
	rulesCheck(t, "apps/v1 DaemonSet ", rows)
	rulesCheck(t, "extensions/v1beta1 DaemonSet ", rows)
}

func TestRulesOfOtherKinds(t *testing.T) {
	kind := func(version, kind, rest string) string { return version + " " + kind + " " + rest }
	crd := func(conditions string) string {
		return kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", `{status: {conditions: [`+conditions+`]}}`)
	}
	rulesCheck(t, "", []rulesRow{
		{"claim, new", kind("v1", "PersistentVolumeClaim", ``), status.InProgress, "PVC is not Bound. phase: unknown"},
		{"claim, pending", kind("v1", "PersistentVolumeClaim", `{status: {phase: Pending}}`), status.InProgress, "PVC is not Bound. phase: Pending"},
		{"claim, bound", kind("v1", "PersistentVolumeClaim", `{status: {phase: Bound}}`), status.Current, "PVC is Bound"},
		{"service", kind("v1", "Service", ``), status.Current, "Service is ready"},
		{"service, load balancer without address", kind("v1", "Service", `{spec: {type: LoadBalancer}}`), status.InProgress, "ClusterIP not set. Service type: LoadBalancer"},
		{"service, load balancer", kind("v1", "Service", `{spec: {type: LoadBalancer, clusterIP: 10.0.0.1}}`), status.Current, "Service is ready"},
		{"cron job", kind("batch/v1", "CronJob", `{spec: {suspend: true}}`), status.Current, "Resource is always ready"},
		{"config map", kind("v1", "ConfigMap", `{data: {a: b}}`), status.Current, "Resource is always ready"},
		{"secret", kind("v1", "Secret", ``), status.Current, "Resource is always ready"},
		{"service account", kind("v1", "ServiceAccount", ``), status.Current, "Resource is current"},
		{"budget", kind("policy/v1", "PodDisruptionBudget", ``), status.Current, "AllowedDisruptions has been computed."},
		{"budget, not seen", kind("policy/v1", "PodDisruptionBudget", `{metadata: {generation: 2}, status: {observedGeneration: 1}}`),
			status.InProgress, "PodDisruptionBudget generation is 2, but latest observed generation is 1"},
		{"definition, new", crd(``), status.InProgress, "Install in progress"},
		{"definition, names taken", crd(`{type: NamesAccepted, status: "False", message: taken}, {type: Established, status: "True"}`), status.Failed, "taken"},
		{"definition, installing", crd(`{type: Established, status: "False", reason: Installing}`), status.InProgress, "Install in progress"},
		{"definition, not established", crd(`{type: Established, status: "False", reason: NotAccepted, message: so}`), status.Failed, "so"},
		{"definition, established", crd(`{type: NamesAccepted, status: "True"}, {type: Established, status: "True"}`), status.Current, "CRD is established"},
	})
}
