// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"fmt"
	"strings"
)

// conformanceKind is a kind that the calls of the conformance test are made for.
type conformanceKind struct {
	at, plural, kind string
	namespaced       bool
	custom           bool
	body             string // the fields of an object beside the metadata
	change           string // a merge patch that changes the spec
	status           string // of a kind with the subresource
	fields           string // a field selector that selects the object "a" after all changes
}

// conformanceCall is an HTTP request. In its path and its body, ${name.rv}, ${name.uid} and
// ${name.continue} are from the answer to the call that was saved with this name.
type conformanceCall struct {
	name, method, path string
	body               string
	contentType        string
	accept             string
	save               string
}

const (
	mergePatch  = "application/merge-patch+json"
	jsonPatch   = "application/json-patch+json"
	strategic   = "application/strategic-merge-patch+json"
	applyPatch  = "application/apply-patch+yaml"
	partialList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// calls returns the calls for a kind, in order. Each depends on those before it.
func (k conformanceKind) calls() []conformanceCall {
	all := k.at + "/" + k.plural
	if k.namespaced {
		all = k.at + "/namespaces/$ns/" + k.plural
	}
	a := all + "/a"
	apiVersion := strings.TrimPrefix(strings.TrimPrefix(k.at, "apis/"), "api/")
	object := func(metadata string, more ...string) string {
		fields := append([]string{fmt.Sprintf(`"apiVersion":%q,"kind":%q,"metadata":{%s}`, apiVersion, k.kind, metadata), k.body}, more...)
		return "{" + strings.Join(fields, ",") + "}"
	}
	metaOnly := func(metadata string, more ...string) string {
		fields := append([]string{fmt.Sprintf(`"apiVersion":%q,"kind":%q,"metadata":{%s}`, apiVersion, k.kind, metadata)}, more...)
		return "{" + strings.Join(fields, ",") + "}"
	}
	labelled := `"name":"a","labels":{"app":"x","gone":"soon"},"annotations":{"n":"1"}`
	var calls []conformanceCall
	add := func(name, method, path, body string, more ...string) {
		c := conformanceCall{name: name, method: method, path: path, body: body}
		for _, m := range more {
			switch {
			case strings.HasPrefix(m, "save "):
				c.save = strings.TrimPrefix(m, "save ")
			case strings.HasPrefix(m, "accept "):
				c.accept = strings.TrimPrefix(m, "accept ")
			default:
				c.contentType = m
			}
		}
		calls = append(calls, c)
	}

	add("list empty", "GET", all, "", "save start")
	add("get missing", "GET", a, "")
	add("delete missing", "DELETE", a, "")
	add("update other name missing", "PUT", a, object(`"name":"b"`))
	add("patch missing", "PATCH", a, `{}`, mergePatch)
	add("patch garbage missing", "PATCH", a, `{`, mergePatch)
	add("json patch missing", "PATCH", a, `[]`, jsonPatch)

	add("create dry run", "POST", all+"?dryRun=All", object(labelled))
	add("get after dry run", "GET", a, "")
	add("create dry run bad", "POST", all+"?dryRun=Some", object(labelled))
	status := `"kind2":0`
	if k.status != "" {
		status = `"status":` + k.status
	}
	add("create", "POST", all, object(labelled, strings.Replace(status, `"kind2":0`, `"kind":"`+k.kind+`"`, 1)), "save first")
	add("create again", "POST", all, object(labelled))
	add("create bad name", "POST", all, object(`"name":"A_b"`))
	add("create name with slash", "POST", all, object(`"name":"a/b"`))
	add("create no name", "POST", all, object(``))
	add("create bad label", "POST", all, object(`"name":"c","labels":{"x":"%%"}`))
	add("create bad finalizer", "POST", all, object(`"name":"c","finalizers":["%%"]`))
	add("create bad owner", "POST", all, object(`"name":"c","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p"}]`))
	add("create with version", "POST", all, object(`"name":"c","resourceVersion":"1"`))
	add("create with own metadata", "POST", all, object(`"name":"own","uid":"mine","generation":7,"creationTimestamp":"2001-01-01T00:00:00Z","deletionTimestamp":"2001-01-01T00:00:00Z"`))
	add("delete own", "DELETE", all+"/own", "")
	add("create generate name", "POST", all, object(`"generateName":"gen-","labels":{"gen":"1"}`))
	add("delete generated", "DELETE", all+"?labelSelector=gen%3D1", "")
	add("create wrong kind", "POST", all, `{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"c"}}`)
	add("create wrong version", "POST", all, strings.Replace(object(`"name":"c"`), apiVersion, "example.org/v9", 1))
	add("create garbage", "POST", all, `{"metadata`)
	add("create empty", "POST", all, ``)
	if k.namespaced && !k.custom {
		add("create without namespace", "POST", k.at+"/"+k.plural, object(`"name":"c"`))
	}
	if k.namespaced {
		add("create other namespace", "POST", all, object(`"name":"c","namespace":"other"`))
		add("list all namespaces", "GET", k.at+"/"+k.plural+"?labelSelector=app%3Dnone", "")
	} else {
		add("namespaced path", "GET", k.at+"/namespaces/$ns/"+k.plural, "")
	}
	if !k.custom { // a custom resource ignores the rest of the path
		add("create on an item", "POST", a, object(labelled))
		add("update collection", "PUT", all, object(`"name":"a"`))
		add("patch collection", "PATCH", all, `{}`, mergePatch)
	}

	add("get", "GET", a, "")
	add("get metadata", "GET", a, "", "accept application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	add("get version 0", "GET", a+"?resourceVersion=0", "")
	add("get unknown subresource", "GET", a+"/unknown", "")
	if k.namespaced { // a list of cluster-scoped objects has others
		add("list", "GET", all, "")
		add("list metadata", "GET", all, "", "accept "+partialList)
		add("list name not", "GET", all+"?fieldSelector=metadata.name!%3Da", "")
		add("list version 0", "GET", all+"?resourceVersion=0&labelSelector=app", "")
	}
	add("list label", "GET", all+"?labelSelector=app%3Dx", "")
	add("list labels", "GET", all+"?labelSelector=app+in+(x,y),!nothing", "")
	add("list label not", "GET", all+"?labelSelector=app%3Dy", "")
	add("list field name", "GET", all+"?fieldSelector=metadata.name%3Da", "")
	add("list field unsupported", "GET", all+"?fieldSelector=spec.unknown%3Da", "")
	add("list field namespace", "GET", all+"?fieldSelector=metadata.name%3Da,metadata.namespace!%3Dx", "")
	add("list bad field selector", "GET", all+"?fieldSelector=metadata.name", "")
	add("list bad label selector", "GET", all+"?labelSelector=a%3D%25", "")
	add("list bad version", "GET", all+"?resourceVersion=abc", "")
	add("list match without version", "GET", all+"?resourceVersionMatch=Exact", "")
	add("list bad match", "GET", all+"?resourceVersionMatch=Roughly&resourceVersion=1", "")
	add("list exact 0", "GET", all+"?resourceVersionMatch=Exact&resourceVersion=0", "")
	add("list not older", "GET", all+"?resourceVersionMatch=NotOlderThan&resourceVersion=${first.rv}&labelSelector=app%3Dx", "")
	add("list bad continue", "GET", all+"?limit=1&continue=garbage", "")

	add("update", "PUT", a, object(`"name":"a","labels":{"app":"y"},"resourceVersion":"${first.rv}"`), "save second")
	add("update same", "PUT", a, object(`"name":"a","labels":{"app":"y"},"resourceVersion":"${second.rv}"`))
	add("update conflict", "PUT", a, object(`"name":"a","resourceVersion":"${first.rv}"`))
	add("update without version", "PUT", a, object(`"name":"a","labels":{"app":"x"}`))
	add("update other name", "PUT", a, object(`"name":"b"`))
	add("update no name", "PUT", a, object(``))
	add("update other uid", "PUT", a, object(`"name":"a","uid":"other","resourceVersion":"${second.rv}"`))
	add("update bad label", "PUT", a, object(`"name":"a","labels":{"x":"%%"}`))
	add("update bad version", "PUT", a, object(`"name":"a","resourceVersion":"abc"`))
	add("update garbage", "PUT", a, `{`)
	add("update wrong kind", "PUT", a, `{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"a"}}`)
	add("reset labels", "PATCH", a, `{"metadata":{"labels":{"app":"x"}}}`, mergePatch)

	add("merge patch", "PATCH", a, `{"metadata":{"labels":{"merge":"1"}}}`, mergePatch, "save third")
	add("merge patch same", "PATCH", a, `{"metadata":{"labels":{"merge":"1"}}}`, mergePatch)
	add("merge patch removes", "PATCH", a, `{"metadata":{"labels":{"merge":null}}}`, mergePatch)
	add("merge patch conflict", "PATCH", a, `{"metadata":{"resourceVersion":"${third.rv}","labels":{"merge":"2"}}}`, mergePatch)
	add("merge patch dry run", "PATCH", a+"?dryRun=All", `{"metadata":{"labels":{"dry":"1"}}}`, mergePatch)
	add("merge patch garbage", "PATCH", a, `{`, mergePatch)
	add("merge patch name", "PATCH", a, `{"metadata":{"name":"b"}}`, mergePatch)
	add("merge patch uid", "PATCH", a, `{"metadata":{"uid":"other"}}`, mergePatch)
	add("merge patch bad label", "PATCH", a, `{"metadata":{"labels":{"x":"%%"}}}`, mergePatch)
	add("merge patch generation", "PATCH", a, `{"metadata":{"generation":9}}`, mergePatch)
	add("json patch", "PATCH", a, `[{"op":"add","path":"/metadata/labels/json","value":"1"}]`, jsonPatch)
	add("json patch test fails", "PATCH", a, `[{"op":"test","path":"/metadata/labels/json","value":"2"}]`, jsonPatch)
	add("json patch no path", "PATCH", a, `[{"op":"remove","path":"/metadata/labels/none"}]`, jsonPatch)
	add("json patch garbage", "PATCH", a, `{}`, jsonPatch)
	add("strategic patch", "PATCH", a, `{"metadata":{"labels":{"strategic":"1","json":null}}}`, strategic)
	add("strategic patch garbage", "PATCH", a, `{`, strategic)
	add("unknown patch", "PATCH", a, `{}`, "application/unknown")
	add("force of a merge patch", "PATCH", a+"?force=true", `{}`, mergePatch)
	add("change", "PATCH", a, k.change, mergePatch)
	add("change same", "PATCH", a, k.change, mergePatch)
	add("own by patch", "PATCH", a, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}]}}`, mergePatch)

	add("get status", "GET", a+"/status", "")
	if k.status != "" {
		add("status by patch", "PATCH", a+"/status", `{"status":`+k.status+`}`, mergePatch)
		if k.custom {
			add("label by status", "PATCH", a+"/status", `{"metadata":{"labels":{"ignored":"1"}}}`, mergePatch)
		}
		add("status by patch same", "PATCH", a+"/status", `{"status":`+k.status+`}`, mergePatch)
		add("status by update conflict", "PUT", a+"/status", object(`"name":"a","resourceVersion":"${first.rv}"`, `"status":`+k.status))
		add("status by main patch", "PATCH", a, `{"status":null}`, mergePatch)
		add("get after status", "GET", a, "")
		add("status of missing", "PATCH", all+"/missing/status", `{}`, mergePatch)
		add("delete status", "DELETE", a+"/status", "")
		add("create status", "POST", a+"/status", object(labelled))
		add("spec by status", "PATCH", a+"/status", k.change, mergePatch)
	}
	add("list fields", "GET", all+"?fieldSelector="+strings.NewReplacer("!=", "!%3D", "=", "%3D").Replace(k.fields)+"&labelSelector=app", "")

	b := all + "/b"
	add("apply without manager", "PATCH", b, object(`"name":"b"`), applyPatch)
	add("apply dry run", "PATCH", b+"?fieldManager=one&dryRun=All", object(`"name":"b"`), applyPatch)
	add("apply", "PATCH", b+"?fieldManager=one", object(`"name":"b","labels":{"app":"x","one":"1"}`), applyPatch)
	add("apply same", "PATCH", b+"?fieldManager=one", object(`"name":"b","labels":{"app":"x","one":"1"}`), applyPatch)
	add("apply conflict", "PATCH", b+"?fieldManager=two", metaOnly(`"name":"b","labels":{"app":"z"}`), applyPatch)
	add("apply force", "PATCH", b+"?fieldManager=two&force=true", metaOnly(`"name":"b","labels":{"app":"z","two":"1"}`), applyPatch)
	add("apply removes", "PATCH", b+"?fieldManager=one", object(`"name":"b","labels":{}`), applyPatch)
	add("update after apply", "PATCH", b+"?fieldManager=three", `{"metadata":{"labels":{"two":"2"}}}`, mergePatch)
	add("apply conflict with update", "PATCH", b+"?fieldManager=two", metaOnly(`"name":"b","labels":{"app":"z","two":"1"}`), applyPatch)
	add("apply to a", "PATCH", a+"?fieldManager=one", metaOnly(`"name":"a","annotations":{"one":"1"}`), applyPatch)
	add("apply conflict on a", "PATCH", a+"?fieldManager=one", metaOnly(`"name":"a","labels":{"app":"z"}`), applyPatch)
	add("apply other name", "PATCH", b+"?fieldManager=one", object(`"name":"c"`), applyPatch)
	add("apply garbage", "PATCH", b+"?fieldManager=one", `{`, applyPatch)
	add("apply wrong kind", "PATCH", b+"?fieldManager=one", `{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"b"}}`, applyPatch)
	if k.status != "" {
		add("apply status", "PATCH", b+"/status?fieldManager=one", metaOnly(`"name":"b"`, `"status":`+k.status), applyPatch)
		add("apply status missing", "PATCH", all+"/missing/status?fieldManager=one", metaOnly(`"name":"missing"`, `"status":`+k.status), applyPatch)
	}

	add("page one", "GET", all+"?limit=1&labelSelector=app", "", "save page")
	add("page two", "GET", all+"?limit=1&labelSelector=app&continue=${page.continue}", "")

	add("add finalizer", "PATCH", a, `{"metadata":{"finalizers":["example.org/hold"]}}`, mergePatch)
	add("delete dry run", "DELETE", b+"?dryRun=All", "")
	add("delete wrong uid", "DELETE", a, `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"other"}}`)
	add("delete wrong version", "DELETE", a, `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"resourceVersion":"1"}}`)
	add("delete bad policy", "DELETE", a+"?propagationPolicy=Sometimes", "")
	add("delete both policies", "DELETE", a, `{"kind":"DeleteOptions","apiVersion":"v1","orphanDependents":true,"propagationPolicy":"Orphan"}`)
	add("delete garbage", "DELETE", a, `{`)
	add("delete held", "DELETE", a, "")
	add("delete held again", "DELETE", a, "")
	add("get deleted", "GET", a, "")
	add("list deleted", "GET", all+"?labelSelector=app%3Dx", "")
	add("create deleted", "POST", all, object(labelled))
	add("patch deleted", "PATCH", a, `{"metadata":{"labels":{"late":"1"}}}`, mergePatch)
	add("finalizer late", "PATCH", a, `{"metadata":{"finalizers":["example.org/hold","example.org/late"]}}`, mergePatch)
	add("undelete", "PATCH", a, `{"metadata":{"deletionTimestamp":null}}`, mergePatch)
	add("remove finalizer", "PATCH", a, `{"metadata":{"finalizers":null}}`, mergePatch)
	add("get gone", "GET", a, "")
	add("create again after deletion", "POST", all, object(labelled))
	add("delete orphan", "DELETE", a+"?propagationPolicy=Orphan", "")
	add("remove orphan finalizer", "PATCH", a, `{"metadata":{"finalizers":null}}`, mergePatch)
	add("create for foreground", "POST", all, object(labelled))
	add("delete foreground", "DELETE", a, `{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground"}`)
	add("remove foreground finalizer", "PATCH", a, `{"metadata":{"finalizers":null}}`, mergePatch)
	add("create for background", "POST", all, object(labelled))
	add("delete background", "DELETE", a, `{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}`)
	add("create missing by update", "PUT", all+"/c", object(`"name":"c","labels":{"app":"x"}`))
	add("create c", "POST", all, object(`"name":"c","labels":{"app":"x"}`))
	add("delete collection bad selector", "DELETE", all+"?labelSelector=a%3D%25", "")
	add("delete collection bad field", "DELETE", all+"?fieldSelector=spec.unknown%3Da", "")
	add("delete collection dry run", "DELETE", all+"?labelSelector=app%3Dx&dryRun=All", "")
	add("delete collection", "DELETE", all+"?labelSelector=app%3Dx", "")
	add("list after delete collection", "GET", all+"?labelSelector=app", "")
	add("delete b", "DELETE", b, "")

	watch := all + "?watch=1&timeoutSeconds=1&allowWatchBookmarks=false&resourceVersion=${start.rv}"
	if k.namespaced {
		add("watch", "GET", watch, "")
		add("watch metadata", "GET", watch, "", "accept application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	}
	add("watch label", "GET", watch+"&labelSelector=app%3Dx", "")
	add("watch field", "GET", watch+"&fieldSelector=metadata.name%3Da", "")
	add("watch from third", "GET", all+"?watch=1&timeoutSeconds=1&resourceVersion=${third.rv}&labelSelector=app%3Dx", "")
	add("watch field unsupported", "GET", watch+"&fieldSelector=spec.unknown%3Da", "")
	add("watch bad version", "GET", all+"?watch=1&resourceVersion=abc", "")
	add("watch match", "GET", all+"?watch=1&timeoutSeconds=1&resourceVersion=1&resourceVersionMatch=NotOlderThan", "")
	add("watch initial without match", "GET", all+"?watch=1&timeoutSeconds=1&sendInitialEvents=true", "")
	add("create d", "POST", all, object(`"name":"d","labels":{"app":"d"}`))
	add("watch version 0", "GET", all+"?watch=1&timeoutSeconds=1&resourceVersion=0&labelSelector=app%3Dd", "")
	add("watch initial", "GET", all+"?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=app%3Dd", "")
	add("delete d", "DELETE", all+"/d", "")
	return calls
}

// selectorCalls lists each kind with each field that a field selector of some kind can have.
func selectorCalls() []conformanceCall {
	var calls []conformanceCall
	for _, list := range strings.Fields(`
		api/v1/pods api/v1/nodes api/v1/events api/v1/secrets api/v1/configmaps api/v1/services api/v1/namespaces
		api/v1/replicationcontrollers api/v1/persistentvolumes api/v1/endpoints apis/apps/v1/deployments apis/apps/v1/replicasets
		apis/batch/v1/jobs apis/batch/v1/cronjobs apis/certificates.k8s.io/v1/certificatesigningrequests
		apis/rbac.authorization.k8s.io/v1/clusterroles apis/storage.k8s.io/v1/storageclasses apis/discovery.k8s.io/v1/endpointslices
		apis/events.k8s.io/v1/events apis/resource.k8s.io/v1/resourceslices
		apis/conformance.example.org/v1/gears apis/conformance.example.org/v1/cogs`) {
		for _, field := range strings.Fields(`
			metadata.name metadata.namespace metadata.uid spec.nodeName spec.host spec.restartPolicy spec.schedulerName
			spec.serviceAccountName spec.hostNetwork status.phase status.podIP status.podIPs status.nominatedNodeName
			spec.unschedulable involvedObject.kind involvedObject.uid regarding.kind reason reportingComponent
			reportingController source type spec.clusterIP spec.type status.replicas status.successful spec.signerName
			spec.driver spec.pool.name spec.color`) {
			calls = append(calls, conformanceCall{
				name: list + " by " + field, method: "GET", path: list + "?fieldSelector=" + field + "%3Dnothing",
			})
		}
	}
	for _, path := range []string{"api/v1/unknowns", "apis/example.org/v9/widgets", "apis/apps/v9/deployments", "unknown", "version/x"} {
		calls = append(calls, conformanceCall{name: "unknown path " + path, method: "GET", path: path})
	}
	return append(calls,
		conformanceCall{name: "too large version", method: "GET", path: "api/v1/configmaps?resourceVersion=99999999999"},
		conformanceCall{name: "too large version for a watch", method: "GET", path: "api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion=99999999999"},
	)
}
