// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/apiary-go/apiary/status"
	"github.com/apiary-go/apiary/store"
)

func rulesKind(text string) schema.GroupKind { return schema.ParseGroupKind(text) }

// rulesChild returns the status of a Pod, or of what it is.
func rulesChild(t *testing.T, s status.Status, object string) status.ObjectStatus {
	obj := rulesObject(t, object)
	return status.ObjectStatus{ID: status.IDOf(obj), Status: s, Object: obj}
}

// Who owns Pods fails with them, if it is not there yet and they fail for good.
func TestRuleOfPods(t *testing.T) {
	crashing := rulesChild(t, status.Failed, `v1 Pod {metadata: {name: a}}`)
	unknown := crashing
	unknown.Object = nil
	others := []status.ObjectStatus{
		unknown,
		rulesChild(t, status.Current, `v1 Pod {metadata: {name: b}}`),
		rulesChild(t, status.InProgress, `v1 Pod {metadata: {name: c}}`),
		rulesChild(t, status.Failed, `v1 Pod {metadata: {name: d, deletionTimestamp: "2026-01-01T00:00:00Z"}}`),
		rulesChild(t, status.Failed, `v1 Pod {metadata: {name: e}, status: {conditions: [{type: PodScheduled, status: "False", reason: Unschedulable}]}}`),
		rulesChild(t, status.Failed, `example.com/v1 Pod {metadata: {name: f}}`),
		rulesChild(t, status.Failed, `v1 Pod {metadata: {name: g}, status: {phase: Failed, reason: Evicted}}`),
	}
	failed := status.Result{Status: status.Failed, Message: "2 pods have failed"}
	for _, head := range []string{"apps/v1 ReplicaSet ", "extensions/v1beta1 ReplicaSet ", "apps/v1 StatefulSet ", "apps/v1 DaemonSet ", "extensions/v1beta1 DaemonSet ", "v1 ReplicationController "} {
		own := rulesCompute(t, nil, head, nil, time.Now())
		if got := rulesCompute(t, nil, head, others, time.Now()); got != own {
			t.Errorf("%s: got %+v, want %+v", head, got, own)
		}
		if got := rulesCompute(t, nil, head, append(others, crashing, crashing), time.Now()); got != failed {
			t.Errorf("%s: got %+v, want %+v", head, got, failed)
		}
		const unseen = `{metadata: {generation: 2}, status: {observedGeneration: 1}}`
		if got := rulesCompute(t, nil, head+unseen, []status.ObjectStatus{crashing, crashing}, time.Now()); got != failed {
			t.Errorf("%s, unseen: got %+v, want %+v", head, got, failed)
		}
	}
	for _, object := range []string{
		`apps/v1 ReplicaSet {spec: {replicas: 0}}`,
		`apps/v1 ReplicaSet {metadata: {deletionTimestamp: "2026-01-01T00:00:00Z"}}`,
		`apps/v1 Deployment {}`,
		`batch/v1 Job {}`,
		`example.com/v1 Widget {status: {conditions: [{type: Ready, status: "False"}]}}`,
	} {
		if got, want := rulesCompute(t, nil, object, []status.ObjectStatus{crashing}, time.Now()), rulesCompute(t, nil, object, nil, time.Now()); got != want {
			t.Errorf("%s: got %+v, want %+v", object, got, want)
		}
	}
}

func TestRulesByKind(t *testing.T) {
	obj := rulesObject(t, `example.com/v1 Widget {metadata: {name: a, deletionTimestamp: "2026-01-01T00:00:00Z"}}`)
	children := []status.ObjectStatus{rulesChild(t, status.Failed, `v1 Pod {}`)}
	now := time.Now()
	compute := func(rule status.Rule) (status.Result, error) {
		rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{rulesKind("Widget.example.com"): rule}}
		return rules.Compute(obj, children, now)
	}
	want := status.Result{Status: status.Failed, Message: "so", Recheck: now.Add(1)}
	got, err := compute(func(o *unstructured.Unstructured, c []status.ObjectStatus, n time.Time) (status.Result, error) {
		if o != obj || len(c) != 1 || !c[0].Equal(children[0]) || n != now {
			t.Errorf("the rule is given %v, %v, %v", o, c, n)
		}
		return want, nil
	})
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		rule status.Rule
		err  string
	}{
		"fails": {func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
			return want, boom
		}, "rule for Widget.example.com: boom"},
		"panics": {func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
			panic("ouch")
		}, "rule for Widget.example.com panicked"},
		"is nil": {nil, "panicked"},
		"is empty": {func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
			return status.Result{}, nil
		}, `returned the status ""`},
		"is unknown": {func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
			return status.Result{Status: status.Unknown}, nil
		}, `returned the status "Unknown"`},
	} {
		got, err := compute(c.rule)
		if err == nil || !strings.Contains(err.Error(), c.err) || got != (status.Result{}) {
			t.Errorf("a rule that %s: got %+v, %v; want %q", name, got, err, c.err)
		}
		var panicked *store.PanicError
		if errors.As(err, &panicked) && (panicked.Key.Name != "a" || len(panicked.Stack) == 0) {
			t.Errorf("got %+v", panicked)
		}
		if name == "fails" && !errors.Is(err, boom) {
			t.Error("the error does not wrap that of the rule")
		}
	}
}

func TestRulesOfNothing(t *testing.T) {
	for _, obj := range []*unstructured.Unstructured{nil, {}} {
		if got, err := (&status.Rules{}).Compute(obj, nil, time.Now()); err == nil || got != (status.Result{}) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestRulesUnboundClaims(t *testing.T) {
	rules := &status.Rules{UnboundClaims: true}
	for object, want := range map[string]status.Status{
		`v1 PersistentVolumeClaim {status: {phase: Pending}}`:                              status.Current,
		`v1 PersistentVolumeClaim {status: {phase: Bound}}`:                                status.Current,
		`v1 PersistentVolumeClaim {status: {phase: Lost}}`:                                 status.Failed,
		`v1 PersistentVolumeClaim {}`:                                                      status.InProgress,
		`v1 PersistentVolumeClaim {metadata: {deletionTimestamp: "2026-01-01T00:00:00Z"}}`: status.Terminating,
	} {
		if got := rulesCompute(t, rules, object, nil, time.Now()); got.Status != want {
			t.Errorf("%s: got %+v, want %s", object, got, want)
		}
	}
}

func TestRulesStrict(t *testing.T) {
	strict := &status.Rules{Strict: true}
	limited := &status.Rules{Strict: true, HasStatus: func(k schema.GroupKind) bool { return k == rulesKind("Widget.example.com") }}
	lenient := &status.Rules{HasStatus: func(schema.GroupKind) bool { return true }}
	none := status.Result{Status: status.InProgress, Message: "no status yet"}
	for _, c := range []struct {
		rules  *status.Rules
		object string
		none   bool
	}{
		{strict, `example.com/v1 Widget {}`, true},
		{strict, `example.com/v1 Widget {status: null}`, true},
		{strict, `example.com/v1 Widget {status: {}}`, true},
		{strict, `example.com/v1 Widget {status: {a: b}}`, false},
		{strict, `example.com/v1 Gadget {}`, true},
		{limited, `example.com/v1 Widget {}`, true},
		{limited, `example.com/v1 Gadget {}`, false},
		{strict, `example.com/v1 Widget {status: {conditions: [{type: A, status: Unknown, reason: Pending}, {type: B, status: Unknown, reason: Pending}]}}`, true},
		{strict, `example.com/v1 Widget {status: {replicas: 0, conditions: [{type: A, status: Unknown, reason: Pending}]}}`, true},
		{strict, `example.com/v1 Widget {status: {conditions: [{type: A, status: Unknown, reason: Pending}, {type: B, status: "False", reason: Pending}]}}`, false},
		{strict, `example.com/v1 Widget {status: {conditions: [{type: A, status: Unknown, reason: Waiting}]}}`, false},
		{strict, `example.com/v1 Widget {metadata: {generation: 2}, status: {conditions: [{type: A, status: Unknown, reason: Pending}, {type: B, status: "True", observedGeneration: 1}]}}`, false},
		{strict, `example.com/v1 Widget {status: {conditions: []}}`, false},
		{nil, `example.com/v1 Widget {status: {conditions: [{type: A, status: Unknown, reason: Pending}]}}`, false},
		{strict, `v1 ServiceAccount {}`, false},
		{strict, `v1 Service {}`, false},
		{strict, `v1 ConfigMap {}`, false},
		{lenient, `example.com/v1 Widget {}`, false},
		{nil, `example.com/v1 Widget {}`, false},
	} {
		if got := rulesCompute(t, c.rules, c.object, nil, time.Now()); (got == none) != c.none || !c.none && got.Status != status.Current {
			t.Errorf("%s: got %+v", c.object, got)
		}
	}
}

func TestRulesChildren(t *testing.T) {
	rules := &status.Rules{Owns: map[schema.GroupKind][]schema.GroupKind{
		rulesKind("Rollout.argoproj.io"): {rulesKind("ReplicaSet.apps")},
		rulesKind("Job.batch"):           {},
	}}
	for _, c := range []struct {
		rules    *status.Rules
		owner    string
		children []schema.GroupKind
	}{
		{nil, "Deployment.apps", []schema.GroupKind{rulesKind("ReplicaSet.apps")}},
		{nil, "ReplicaSet.apps", []schema.GroupKind{rulesKind("Pod")}},
		{nil, "ReplicationController", []schema.GroupKind{rulesKind("Pod")}},
		{nil, "StatefulSet.apps", []schema.GroupKind{rulesKind("Pod")}},
		{nil, "DaemonSet.apps", []schema.GroupKind{rulesKind("Pod")}},
		{nil, "Job.batch", []schema.GroupKind{rulesKind("Pod")}},
		{nil, "CronJob.batch", []schema.GroupKind{rulesKind("Job.batch")}},
		{nil, "Pod", nil},
		{nil, "Rollout.argoproj.io", nil},
		{rules, "Rollout.argoproj.io", []schema.GroupKind{rulesKind("ReplicaSet.apps")}},
		{rules, "Job.batch", nil},
		{rules, "ReplicaSet.apps", []schema.GroupKind{rulesKind("Pod")}},
	} {
		got := c.rules.Children(rulesKind(c.owner))
		if !slices.Equal(got, c.children) {
			t.Errorf("%s: got %v, want %v", c.owner, got, c.children)
		}
		for i := range got { // the result is the caller's
			got[i].Kind = "Spoilt"
		}
		if again := c.rules.Children(rulesKind(c.owner)); !slices.Equal(again, c.children) {
			t.Errorf("%s: got %v the second time", c.owner, again)
		}
	}
}

func TestRulesMetadataOnly(t *testing.T) {
	secret, account := rulesKind("Secret"), rulesKind("ServiceAccount")
	none := func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
		return status.Result{Status: status.Current}, nil
	}
	for name, rules := range map[string]*status.Rules{
		"ByKind": {ByKind: map[schema.GroupKind]status.Rule{secret: none}},
		"Keep":   {Keep: map[schema.GroupKind][]string{secret: {"data"}}},
		"owner":  {Owns: map[schema.GroupKind][]schema.GroupKind{secret: {rulesKind("Pod")}}},
		"owned":  {Owns: map[schema.GroupKind][]schema.GroupKind{rulesKind("Pod"): {secret}}},
	} {
		if rules.MetadataOnly(secret) || !rules.MetadataOnly(account) {
			t.Errorf("%s: got %t, %t", name, rules.MetadataOnly(secret), rules.MetadataOnly(account))
		}
	}
	for _, kind := range []string{"Namespace", "Pod", "Service", "Deployment.apps", "CronJob.batch", "Widget.example.com", "Secret.example.com"} {
		if (*status.Rules)(nil).MetadataOnly(rulesKind(kind)) {
			t.Errorf("%s: is said to have no status", kind)
		}
	}
}

// The kinds of Kubernetes that have no status are those whose types have none,
// leaving out what is not stored.
func TestRulesMetadataOnlyByTypes(t *testing.T) {
	notStored := []string{"Binding", "ComponentStatus", "Eviction.policy", "RangeAllocation"}
	// From v1.37 on one has a status, and the other is there.
	later := []string{"CSINode.storage.k8s.io", "ClusterTrustBundle.certificates.k8s.io"}
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		kind := gvk.GroupKind()
		if _, ok := typ.FieldByName("ObjectMeta"); !ok || gvk.Version != "v1" || slices.Contains(notStored, kind.String()) {
			continue
		}
		_, has := typ.FieldByName("Status")
		only := (*status.Rules)(nil).MetadataOnly(kind)
		if only == has && !(slices.Contains(later, kind.String()) && !only) {
			t.Errorf("%s: has a status is %t, is metadata only is %t", gvk, has, only)
		}
	}
}

func TestRulesValidate(t *testing.T) {
	rule := func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
		return status.Result{}, nil
	}
	pod, empty := rulesKind("Pod"), schema.GroupKind{Group: "apps"}
	for _, good := range []*status.Rules{
		nil, {},
		{ByKind: map[schema.GroupKind]status.Rule{pod: rule}, Jobs: status.JobCompleted, PodWaiting: []string{},
			Owns: map[schema.GroupKind][]schema.GroupKind{pod: {pod}, rulesKind("Job.batch"): nil},
			Keep: map[schema.GroupKind][]string{pod: {"*", "spec.a", "data"}}},
	} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
	for want, bad := range map[string]*status.Rules{
		`ByKind has an entry without a kind (group "apps")`:                     {ByKind: map[schema.GroupKind]status.Rule{empty: rule}},
		`ByKind has no rule for Pod`:                                            {ByKind: map[schema.GroupKind]status.Rule{pod: nil}},
		`Owns has an entry without a kind`:                                      {Owns: map[schema.GroupKind][]schema.GroupKind{empty: {pod}}},
		`Owns has an entry without a kind (`:                                    {Owns: map[schema.GroupKind][]schema.GroupKind{pod: {empty}}},
		`Keep has an entry without a kind`:                                      {Keep: map[schema.GroupKind][]string{empty: nil}},
		`Keep has the path "" for Pod`:                                          {Keep: map[schema.GroupKind][]string{pod: {""}}},
		`Keep has the path ".spec" for Pod`:                                     {Keep: map[schema.GroupKind][]string{pod: {".spec"}}},
		`Keep has the path "spec.*" for Pod`:                                    {Keep: map[schema.GroupKind][]string{pod: {"spec.*"}}},
		`PodWaiting has an empty reason`:                                        {PodWaiting: []string{""}},
		`Jobs is 2`:                                                             {Jobs: 2},
		"Jobs is -1: want JobStarted or JobCompleted\nstatus.Rules: PodWaiting": {Jobs: -1, PodWaiting: []string{""}},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := (&status.Rules{Jobs: 2}).Compute(rulesObject(t, "batch/v1 Job {}"), nil, time.Now()); err == nil {
		t.Error("Compute works by a policy that there is not")
	}
}
