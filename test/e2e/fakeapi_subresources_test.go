// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import "fmt"

// scaleCalls read and change the number of replicas of a kind.
func scaleCalls(at, plural, spec string) []conformanceCall {
	all := at + "/namespaces/$ns/" + plural
	path := all + "/scaled/scale"
	scale := func(metadata, spec string) string {
		return fmt.Sprintf(`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{%s},"spec":%s}`, metadata, spec)
	}
	var calls []conformanceCall
	add := func(name, method, path, body string, more ...string) {
		c := conformanceCall{name: name, method: method, path: path, body: body}
		for _, m := range more {
			if m == "save" {
				c.save = "scaled"
			} else {
				c.contentType = m
			}
		}
		calls = append(calls, c)
	}
	add("get scale missing", "GET", path, "")
	add("scale missing by update", "PUT", path, scale(`"name":"scaled"`, `{"replicas":1}`))
	add("scale missing by patch", "PATCH", path, `{"spec":{"replicas":1}}`, mergePatch)
	add("create to scale", "POST", all, `{"metadata":{"name":"scaled","labels":{"app":"x"}},"spec":`+spec+`}`, "save")
	add("get scale", "GET", path, "")
	add("scale by update", "PUT", path, scale(`"name":"scaled","resourceVersion":"${scaled.rv}"`, `{"replicas":3}`))
	add("scale by update conflict", "PUT", path, scale(`"name":"scaled","resourceVersion":"${scaled.rv}"`, `{"replicas":4}`))
	add("scale without version", "PUT", path, scale(`"name":"scaled"`, `{"replicas":5}`))
	add("scale same", "PUT", path, scale(`"name":"scaled"`, `{"replicas":5}`))
	add("scale other uid", "PUT", path, scale(`"name":"scaled","uid":"other"`, `{"replicas":1}`))
	add("scale other uid by patch", "PATCH", path, `{"metadata":{"uid":"other"},"spec":{"replicas":1}}`, mergePatch)
	add("scale other name", "PUT", path, scale(`"name":"other"`, `{"replicas":1}`))
	add("scale no name", "PUT", path, scale(``, `{"replicas":1}`))
	add("scale negative", "PUT", path, scale(`"name":"scaled"`, `{"replicas":-1}`))
	add("scale wrong kind", "PUT", path, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"scaled"}}`)
	add("scale garbage", "PUT", path, `{`)
	add("scale dry run", "PUT", path+"?dryRun=All", scale(`"name":"scaled"`, `{"replicas":9}`))
	add("scale by merge patch", "PATCH", path, `{"spec":{"replicas":6}}`, mergePatch)
	add("scale by merge patch conflict", "PATCH", path, `{"metadata":{"resourceVersion":"${scaled.rv}"},"spec":{"replicas":7}}`, mergePatch)
	add("scale by merge patch negative", "PATCH", path, `{"spec":{"replicas":-1}}`, mergePatch)
	add("scale by json patch", "PATCH", path, `[{"op":"replace","path":"/spec/replicas","value":0}]`, jsonPatch)
	add("scale by strategic patch", "PATCH", path, `{"spec":{"replicas":2}}`, strategic)
	add("label by scale", "PATCH", path, `{"metadata":{"labels":{"ignored":"1"}}}`, mergePatch)
	add("status by scale", "PATCH", path, `{"status":{"replicas":7}}`, mergePatch)
	add("scale by unknown patch", "PATCH", path, `{}`, "application/unknown")
	add("create scale", "POST", path, scale(`"name":"scaled"`, `{"replicas":1}`))
	add("delete scale", "DELETE", path, "")
	add("get scaled", "GET", all+"/scaled", "")
	add("status before scale", "PATCH", all+"/scaled/status", `{"status":{"replicas":2}}`, mergePatch)
	add("get scale with status", "GET", path, "")
	add("delete scaled", "DELETE", all+"/scaled?propagationPolicy=Background", "")
	add("watch scaled", "GET", all+"?watch=1&timeoutSeconds=1&allowWatchBookmarks=false&resourceVersion=${scaled.rv}", "")
	return calls
}

// podCalls bind and evict pods.
func podCalls() []conformanceCall {
	const all = "api/v1/namespaces/$ns/pods"
	var calls []conformanceCall
	add := func(name, method, path, body string, save ...string) {
		c := conformanceCall{name: name, method: method, path: path, body: body}
		if len(save) > 0 {
			c.save = save[0]
		}
		calls = append(calls, c)
	}
	pod := func(name, more string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]%s}}`, name, more)
	}
	bind := func(metadata, target string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Binding","metadata":{%s},"target":%s}`, metadata, target)
	}
	evict := func(metadata, options string) string {
		return fmt.Sprintf(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{%s}%s}`, metadata, options)
	}
	const node = `{"kind":"Node","name":"n"}`

	add("bind missing", "POST", all+"/a/binding", bind(`"name":"a"`, node))
	add("evict missing", "POST", all+"/a/eviction", evict(`"name":"a"`, ``))
	add("create to bind", "POST", all, pod("a", ""), "a")
	add("bind other name", "POST", all+"/a/binding", bind(`"name":"b"`, node))
	add("bind no name", "POST", all+"/a/binding", bind(``, node))
	add("bind other kind", "POST", all+"/a/binding", bind(`"name":"a"`, `{"kind":"Pod","name":"n"}`))
	add("bind to no node", "POST", all+"/a/binding", bind(`"name":"a"`, `{"kind":"Node"}`))
	add("bind wrong kind", "POST", all+"/a/binding", evict(`"name":"a"`, ``))
	add("bind garbage", "POST", all+"/a/binding", `{`)
	add("bind other uid", "POST", all+"/a/binding", bind(`"name":"a","uid":"other"`, node))
	add("bind other version", "POST", all+"/a/binding", bind(`"name":"a","resourceVersion":"1"`, node))
	add("bind dry run", "POST", all+"/a/binding?dryRun=All", bind(`"name":"a"`, node))
	add("get not bound", "GET", all+"/a", "")
	add("bind", "POST", all+"/a/binding", bind(`"name":"a","uid":"${a.uid}","annotations":{"by":"me"}`, node))
	add("get bound", "GET", all+"/a", "")
	add("bind again", "POST", all+"/a/binding", bind(`"name":"a"`, node))
	add("get binding", "GET", all+"/a/binding", "")
	add("update binding", "PUT", all+"/a/binding", bind(`"name":"a"`, node))
	add("delete binding", "DELETE", all+"/a/binding", "")
	add("create gated", "POST", all, pod("gated", `,"schedulingGates":[{"name":"g"}]`))
	add("bind gated", "POST", all+"/gated/binding", bind(`"name":"gated"`, node))
	add("create held", "POST", all, `{"metadata":{"name":"held","finalizers":["example.org/hold"]},`+podSpec+`}`)

	add("create to evict", "POST", all, pod("b", ""), "b")
	add("evict other name", "POST", all+"/b/eviction", evict(`"name":"a"`, ``))
	add("evict no name", "POST", all+"/b/eviction", evict(``, ``))
	add("evict wrong kind", "POST", all+"/b/eviction", bind(`"name":"b"`, node))
	add("evict garbage", "POST", all+"/b/eviction", `{`)
	add("evict other uid", "POST", all+"/b/eviction", evict(`"name":"b"`, `,"deleteOptions":{"preconditions":{"uid":"other"}}`))
	add("evict other version", "POST", all+"/b/eviction", evict(`"name":"b"`, `,"deleteOptions":{"preconditions":{"resourceVersion":"1"}}`))
	add("evict dry run", "POST", all+"/b/eviction?dryRun=All", evict(`"name":"b"`, ``))
	add("evict dry run in body", "POST", all+"/b/eviction", evict(`"name":"b"`, `,"deleteOptions":{"dryRun":["All"]}`))
	add("get not evicted", "GET", all+"/b", "")
	add("evict", "POST", all+"/b/eviction", evict(`"name":"b"`, ``))
	add("get evicted", "GET", all+"/b", "")
	add("evict held", "POST", all+"/held/eviction", evict(`"name":"held"`, ``))
	add("get held", "GET", all+"/held", "")
	add("evict held again", "POST", all+"/held/eviction", evict(`"name":"held"`, ``))
	add("bind held", "POST", all+"/held/binding", bind(`"name":"held"`, node))
	add("get eviction", "GET", all+"/gated/eviction", "")
	add("delete eviction", "DELETE", all+"/gated/eviction", "")
	add("watch bound and evicted", "GET", all+"?watch=1&timeoutSeconds=1&allowWatchBookmarks=false&resourceVersion=${a.rv}", "")
	return calls
}

// subresourceCalls are the calls for the subresources other than status.
func subresourceCalls() []conformanceCall {
	apps := `{` + podTemplate + `}`
	calls := podCalls()
	calls = append(calls, scaleCalls("apis/apps/v1", "deployments", apps)...)
	calls = append(calls, scaleCalls("apis/apps/v1", "replicasets", apps)...)
	calls = append(calls, scaleCalls("apis/apps/v1", "statefulsets", apps)...)
	return append(calls, scaleCalls("api/v1", "replicationcontrollers",
		`{"selector":{"x":"y"},"template":{"metadata":{"labels":{"x":"y"}},`+podSpec+`}}`)...)
}
