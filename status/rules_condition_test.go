// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/status"
)

// An object is Current by its conditions alone, in its status or at each parent.
func TestByCondition(t *testing.T) {
	const accepted = `{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "True"}`
	for _, c := range []struct {
		types, object string
		status        status.Status
		message       string
	}{
		{"Ready", ``, status.InProgress, "no condition Ready yet"},
		{"Ready", `{status: {phase: Done}}`, status.InProgress, "no condition Ready yet"},
		{"Ready", `{status: {conditions: [{type: Other, status: "True"}]}}`, status.InProgress, "no condition Ready yet"},
		{"Ready", `{status: {conditions: [{type: Ready, status: "True"}]}}`, status.Current, "Resource is Ready"},
		{"Ready", `{status: {conditions: [{type: Ready, status: "False", reason: Working, message: at it}]}}`, status.InProgress, "condition Ready is False: at it"},
		{"Ready", `{status: {conditions: [{type: Ready, status: "False", reason: Failed}]}}`, status.InProgress, "condition Ready is False: Failed"},
		{"Ready", `{status: {conditions: [{type: Ready, status: Unknown}]}}`, status.InProgress, "condition Ready is Unknown"},
		{"Ready", `{metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}}`, status.InProgress, "condition Ready is for an older generation"},
		{"Ready", `{metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "True", observedGeneration: 2}]}}`, status.Current, "Resource is Ready"},
		{"Ready", `{metadata: {generation: 2}, status: {observedGeneration: 1, conditions: [{type: Ready, status: "True"}]}}`, status.InProgress, "Widget generation is 2, but latest observed generation is 1"},
		{"Ready", `{metadata: {deletionTimestamp: "2026-01-01T00:00:00Z"}, status: {conditions: [{type: Ready, status: "True"}]}}`, status.Terminating, "Resource scheduled for deletion"},
		{"Ready", `{status: {conditions: [{type: Ready, status: "False"}, {type: Stalled, status: "True", message: no quota}]}}`, status.Failed, "no quota"},
		{"Ready", `{status: {conditions: [{type: Stalled, status: "True", message: no quota}]}}`, status.Failed, "no quota"},
		{"Ready", `{status: {conditions: [{type: Ready, status: "True"}, {type: Stalled, status: "True"}, {type: Reconciling, status: "True"}]}}`, status.Current, "Resource is Ready"},
		{"Available Programmed", `{status: {conditions: [{type: Available, status: "True"}]}}`, status.InProgress, "no condition Programmed yet"},
		{"Available Programmed", `{status: {conditions: [{type: Programmed, status: "True"}, {type: Available, status: "True"}]}}`, status.Current, "Resource is Available and Programmed"},
		{"Accepted", `{status: {parents: []}}`, status.InProgress, "no condition Accepted yet"},
		{"Accepted ResolvedRefs", `{status: {parents: [{parentRef: {name: a}, conditions: [` + accepted + `]}]}}`, status.Current, "Resource is Accepted and ResolvedRefs"},
		{"Accepted ResolvedRefs", `{status: {parents: [{parentRef: {name: a}, conditions: [` + accepted + `]}, {parentRef: {name: b}, conditions: [{type: Accepted, status: "True"}]}]}}`,
			status.InProgress, "parent b: no condition ResolvedRefs yet"},
		{"Accepted", `{status: {parents: [{parentRef: {name: a}}]}}`, status.InProgress, "parent a: no condition Accepted yet"},
		{"Accepted", `{metadata: {generation: 3}, status: {parents: [{parentRef: {name: a}, conditions: [{type: Accepted, status: "True", observedGeneration: 2}]}]}}`,
			status.InProgress, "parent a: condition Accepted is for an older generation"},
		{"Accepted", `{status: {ancestors: [{ancestorRef: {name: a}, conditions: [{type: Accepted, status: "False", reason: Conflicted}]}]}}`,
			status.InProgress, "parent a: condition Accepted is False: Conflicted"},
		{"Accepted", `{status: {ancestors: [{ancestorRef: {name: a}, conditions: [{type: Accepted, status: "True"}]}]}}`, status.Current, "Resource is Accepted"},
		{"Ready", `{status: {conditions: [{type: Ready, status: "True"}], parents: [no, objects]}}`, status.Current, "Resource is Ready"},
	} {
		widget := schema.GroupKind{Group: "example.com", Kind: "Widget"}
		rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{widget: status.ByCondition(strings.Fields(c.types)...)}}
		want := status.Result{Status: c.status, Message: c.message}
		if got := rulesCompute(t, rules, "example.com/v1 Widget "+c.object, nil, time.Now()); got != want {
			t.Errorf("%s of %s: got %+v, want %+v", c.types, c.object, got, want)
		}
		rules.Keep = map[schema.GroupKind][]string{widget: nil} // so that the spec is removed
		rulesCheckMasked(t, rules, rulesObject(t, "example.com/v1 Widget "+c.object), time.Now(), true)
	}
}

// A rule without a type, and an object that it cannot read, are errors. The types are
// those at the time of the call.
func TestByConditionErrors(t *testing.T) {
	for object, c := range map[string]struct {
		types []string
		err   string
	}{
		`example.com/v1 Widget {}`:                                           {nil, "no type of a condition"},
		`example.com/v1 Widget {status: {conditions: {}}}`:                   {[]string{"Ready"}, "status.conditions is an object, want a list"},
		`example.com/v1 Widget {status: {parents: [a]}}`:                     {[]string{"Ready"}, "status.parents[] is a string, want an object"},
		`example.com/v1 Widget {status: {parents: [{conditions: [1]}]}}`:     {[]string{"Ready"}, "status.parents[].conditions[] is a number, want an object"},
		`example.com/v1 Widget {status: {ancestors: [{ancestorRef: edge}]}}`: {[]string{"Ready"}, "status.ancestors[].ancestorRef is a string, want an object"},
	} {
		got, err := status.ByCondition(c.types...)(rulesObject(t, object), nil, time.Now())
		if err == nil || !strings.Contains(err.Error(), c.err) || got != (status.Result{}) {
			t.Errorf("%s: got %+v, %v, want %q", object, got, err, c.err)
		}
	}
	types := []string{"Ready"}
	rule := status.ByCondition(types...)
	types[0] = "Other"
	if got, err := rule(rulesObject(t, `example.com/v1 Widget {status: {conditions: [{type: Ready, status: "True"}]}}`), nil, time.Now()); err != nil || got.Status != status.Current {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What a rule for a well-known kind cannot read is an error, and its messages say why.
func TestRulesWellKnown(t *testing.T) {
	rules := &status.Rules{WellKnown: true}
	const route = `gateway.networking.k8s.io/v1 HTTPRoute `
	const accepted = `conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "True"}]`
	for object, want := range map[string]string{
		route + `{spec: {parentRefs: [a]}, status: {parents: [{` + accepted + `}]}}`:                                                                                            "spec.parentRefs[] is a string, want an object",
		route + `{spec: {parentRefs: [{name: a, port: x}]}, status: {parents: [{` + accepted + `}]}}`:                                                                           "spec.parentRefs[].port is a string, want a whole number",
		route + `{spec: {parentRefs: [{name: a, sectionName: b}]}, status: {parents: [{parentRef: {name: a}, ` + accepted + `}]}}`:                                              "parent a: no status yet",
		route + `{metadata: {namespace: shop}, spec: {parentRefs: [{name: a}]}, status: {parents: [{parentRef: {name: a, namespace: infra}, ` + accepted + `}]}}`:               "parent a: no status yet",
		route + `{metadata: {namespace: shop}, spec: {parentRefs: [{name: a}]}, status: {parents: [{parentRef: {name: a, namespace: shop, kind: Gateway}, ` + accepted + `}]}}`: "Resource is Accepted and ResolvedRefs",
		`acme.cert-manager.io/v1 Order {status: {state: 1}}`:                                                                                                                    "status.state is a number, want a string",
		`acme.cert-manager.io/v1 Order {status: {state: invalid, reason: wrong token}}`:                                                                                         "state is invalid: wrong token",
		`acme.cert-manager.io/v1 Challenge {}`: "state is unknown",
		`cert-manager.io/v1 CertificateRequest {status: {conditions: [{type: Denied, status: "True", message: not you}]}}`:              "condition Denied is True: not you",
		`cluster.x-k8s.io/v1beta2 MachineSet {spec: {replicas: x}}`:                                                                     "spec.replicas is a string, want a whole number",
		`cluster.x-k8s.io/v1beta2 MachineDeployment {status: {phase: 1}}`:                                                               "status.phase is a number, want a string",
		`cluster.x-k8s.io/v1beta2 Cluster {status: {deprecated: 1}}`:                                                                    "status.deprecated is a number, want an object",
		`cluster.x-k8s.io/v1beta1 Machine {status: {phase: Failed, failureMessage: no such image}}`:                                     "no such image",
		`cluster.x-k8s.io/v1beta1 Machine {status: {phase: Failed}}`:                                                                    "phase is Failed",
		`argoproj.io/v1alpha1 Application {status: {sync: Synced}}`:                                                                     "status.sync is a string, want an object",
		`argoproj.io/v1alpha1 Application {status: {sync: {status: OutOfSync}, operationState: {phase: Error, message: no such path}}}`: "operation is Error: no such path",
		`argoproj.io/v1alpha1 Rollout {status: {phase: Paused, message: CanaryPauseStep}}`:                                              "phase is Paused: CanaryPauseStep",
		`example.com/v1 Widget {status: {conditions: [{type: Synced, status: "False", message: no access}]}}`:                           "condition Synced is False: no access",
		`example.com/v1 Widget {status: {parents: [no, objects]}}`:                                                                      "Resource is current",
	} {
		got, err := rules.Compute(rulesObject(t, object), nil, time.Now())
		if err == nil && got.Message != want || err != nil && !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("%s: got %+v, %v, want %q", object, got, err, want)
		}
		if !rulesCheckMasked(t, rules, rulesObject(t, object), time.Now(), false) {
			t.Errorf("%s: cannot be read", object)
		}
	}
}
