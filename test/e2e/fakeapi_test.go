// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"fmt"
	"sync"
	"testing"

	"github.com/apiary-go/apiary/fakeapi"
)

const conformanceCRDs = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.conformance.example.org}
spec:
  group: conformance.example.org
  scope: Namespaced
  names: {kind: Gear, plural: gears, singular: gear}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    selectableFields: [{jsonPath: .spec.color}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties: {color: {type: string}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: cogs.conformance.example.org}
spec:
  group: conformance.example.org
  scope: Cluster
  names: {kind: Cog, plural: cogs, singular: cog}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`

const podSpec = `"spec":{"containers":[{"name":"c","image":"i"}]}`

const podTemplate = `"selector":{"matchLabels":{"x":"y"}},"template":{"metadata":{"labels":{"x":"y"}},` + podSpec + `}`

// conformanceKinds are the kinds that the calls are made for.
var conformanceKinds = []conformanceKind{
	{at: "api/v1", plural: "configmaps", kind: "ConfigMap", namespaced: true,
		body: `"data":{"k":"1"}`, change: `{"data":{"k":"2"}}`, fields: "metadata.name=a"},
	{at: "api/v1", plural: "secrets", kind: "Secret", namespaced: true,
		body: `"type":"Opaque","stringData":{}`, change: `{"data":{"k":"Mg=="}}`, fields: "type=Opaque"},
	{at: "api/v1", plural: "pods", kind: "Pod", namespaced: true,
		body: podSpec, change: `{"spec":{"containers":[{"name":"c","image":"other"}]}}`, status: `{"phase":"Running"}`,
		fields: "spec.nodeName=,status.phase=Running,spec.hostNetwork=false"},
	{at: "api/v1", plural: "services", kind: "Service", namespaced: true,
		body: `"spec":{"clusterIP":"None","ports":[{"port":80,"targetPort":80}]}`, change: `{"spec":{"publishNotReadyAddresses":true}}`,
		status: `{"loadBalancer":{}}`, fields: "spec.clusterIP=None"},
	{at: "api/v1", plural: "serviceaccounts", kind: "ServiceAccount", namespaced: true,
		body: `"automountServiceAccountToken":false`, change: `{"automountServiceAccountToken":true}`, fields: "metadata.namespace!=x"},
	{at: "api/v1", plural: "nodes", kind: "Node",
		body: `"spec":{"podCIDR":"10.0.0.0/24"}`, change: `{"spec":{"unschedulable":true}}`,
		status: `{"conditions":[{"type":"Ready","status":"True"}]}`, fields: "spec.unschedulable=true"},
	{at: "api/v1", plural: "events", kind: "Event", namespaced: true,
		body:   `"involvedObject":{"kind":"Pod","namespace":"$ns","name":"p"},"reason":"Tested","type":"Normal","source":{"component":"s"}`,
		change: `{"message":"m"}`, fields: "involvedObject.name=p,reason=Tested,type=Normal,source=s"},
	{at: "apis/apps/v1", plural: "deployments", kind: "Deployment", namespaced: true,
		body: `"spec":{` + podTemplate + `}`, change: `{"spec":{"replicas":3}}`, status: `{"replicas":2}`, fields: "metadata.name!=b"},
	{at: "apis/apps/v1", plural: "statefulsets", kind: "StatefulSet", namespaced: true,
		body: `"spec":{"serviceName":"s",` + podTemplate + `}`, change: `{"spec":{"replicas":3}}`, status: `{"replicas":2}`, fields: "metadata.name!=b"},
	{at: "apis/rbac.authorization.k8s.io/v1", plural: "roles", kind: "Role", namespaced: true,
		body: `"rules":[]`, change: `{"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}`, fields: "metadata.name=a"},
	{at: "apis/coordination.k8s.io/v1", plural: "leases", kind: "Lease", namespaced: true,
		body: `"spec":{"holderIdentity":"h"}`, change: `{"spec":{"holderIdentity":"i"}}`, fields: "metadata.name=a"},
	{at: "apis/networking.k8s.io/v1", plural: "networkpolicies", kind: "NetworkPolicy", namespaced: true,
		body: `"spec":{"podSelector":{}}`, change: `{"spec":{"podSelector":{"matchLabels":{"x":"y"}}}}`, fields: "metadata.name=a"},
	{at: "apis/conformance.example.org/v1", plural: "gears", kind: "Gear", namespaced: true, custom: true,
		body: `"spec":{"color":"red"}`, change: `{"spec":{"color":"blue"}}`, status: `{"ready":true}`, fields: "spec.color=blue"},
	{at: "apis/conformance.example.org/v1", plural: "cogs", kind: "Cog", custom: true,
		body: `"spec":{"size":1}`, change: `{"spec":{"size":2}}`, fields: "metadata.name=a"},
}

// exceptions are the calls, by name or by kind and name, whose answers differ, and the reason.
// The package documentation of fakeapi lists what differs.
var exceptions = map[string]string{
	"too large version for a watch": "a real server waits for the version",
	"services/apply status missing": "a write of the status of a missing service would create it",
	"create bad finalizer":          "core kinds check the names of finalizers twice, and report both",
}

func namespaceCall(ns string) conformanceCall {
	return conformanceCall{name: "namespace", method: "POST", path: "api/v1/namespaces",
		body: fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"kubernetes.io/metadata.name":%[1]q}}}`, ns)}
}

// The server in memory answers like a real one, except for the calls in exceptions.
func TestFakeAPIConformance(t *testing.T) {
	cluster := sharedCluster(t)
	must(t, cluster.InstallCRDs(t.Context(), []byte(conformanceCRDs)))
	api := fakeapi.New(
		fakeapi.Kind{Group: "conformance.example.org", Version: "v1", Kind: "Gear", SelectableFields: []string{".spec.color"}},
		fakeapi.Kind{Group: "conformance.example.org", Version: "v1", Kind: "Cog", ClusterScoped: true, NoStatus: true},
	)
	t.Cleanup(api.Disconnect)
	var (
		mu    sync.Mutex
		total int
		used  = map[string]bool{}
	)
	check := func(t *testing.T, kind string, pair [2]*conformanceSide, sent [2]sent) {
		call := sent[0].call
		diff := answersDiffer(pair[0].answer(t, sent[0]), pair[1].answer(t, sent[1]))
		mu.Lock()
		defer mu.Unlock()
		total++
		if diff == "" {
			return
		}
		for _, name := range []string{call.name, kind + "/" + call.name} {
			if exceptions[name] != "" {
				used[name] = true
				return
			}
		}
		t.Errorf("%s: %s %s %s\n%s", call.name, call.method, call.path, call.body, diff)
	}
	// checkAll sends the calls in order, and watches that follow each other at the same time.
	checkAll := func(t *testing.T, kind string, pair [2]*conformanceSide, calls []conformanceCall) {
		for len(calls) > 0 {
			n := 1
			for n < len(calls) && calls[0].watches() && calls[n].watches() {
				n++
			}
			all := make([][2]sent, n)
			var wg sync.WaitGroup
			for i := range n {
				for side, s := range pair {
					wg.Go(func() { all[i][side] = s.send(t.Context(), calls[i]) })
				}
			}
			wg.Wait()
			for _, sent := range all {
				check(t, kind, pair, sent)
			}
			calls = calls[n:]
		}
	}
	sides := func(t *testing.T, ns string) [2]*conformanceSide {
		return [2]*conformanceSide{newSide(t, cluster.Config(), ns), newSide(t, api.Config(), ns)}
	}
	t.Run("kinds", func(t *testing.T) {
		for i, kind := range conformanceKinds {
			t.Run(kind.plural, func(t *testing.T) {
				t.Parallel()
				ns := fmt.Sprintf("conformance-%d", i)
				checkAll(t, kind.plural, sides(t, ns), append([]conformanceCall{namespaceCall(ns)}, kind.calls()...))
			})
		}
		t.Run("subresources", func(t *testing.T) {
			t.Parallel()
			const ns = "conformance-subresources"
			checkAll(t, "", sides(t, ns), append([]conformanceCall{namespaceCall(ns)}, subresourceCalls()...))
		})
		t.Run("selectors", func(t *testing.T) {
			t.Parallel()
			checkAll(t, "", sides(t, "conformance-none"), selectorCalls())
		})
	})
	if t.Failed() {
		return
	}
	for name := range exceptions {
		if !used[name] {
			t.Errorf("the exception %q has no difference", name)
		}
	}
	if total < 200 {
		t.Errorf("%d calls", total)
	}
	t.Logf("%d calls", total)
}
