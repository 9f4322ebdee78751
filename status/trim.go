// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// specRead are the parts of the spec that rules read, and the readers of kstatus.
var specRead = map[schema.GroupKind][]string{
	podKind:         {"nodeName"},
	serviceKind:     {"type", "clusterIP"},
	deploymentKind:  {"replicas", "selector", "paused", "progressDeadlineSeconds"},
	replicaSetKind:  {"replicas", "selector"},
	statefulSetKind: {"replicas", "selector", "updateStrategy"},
	daemonSetKind:   {"selector", "updateStrategy"},
	jobKind:         {"parallelism", "completions", "selector", "suspend"},
	cronJobKind:     {"suspend"},
	{Group: "extensions", Kind: "Deployment"}:                         {"replicas", "selector", "paused", "progressDeadlineSeconds"},
	{Group: "extensions", Kind: "ReplicaSet"}:                         {"replicas", "selector"},
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: {"group", "names", "scope"},
}

// Trim takes from obj, which it modifies, what no rule reads: managed fields,
// annotations, data, and most of the spec. Labels and selectors stay. Of what a rule of
// ByKind may read that has no Keep, everything stays but the managed fields.
func (r *Rules) Trim(obj *unstructured.Unstructured) {
	metadata, _ := obj.Object["metadata"].(map[string]any)
	delete(metadata, "managedFields")
	kind := obj.GroupVersionKind().GroupKind()
	var keep []string
	if r != nil && r.ByKind[kind] != nil {
		var limited bool
		if keep, limited = r.Keep[kind]; !limited {
			return
		}
	}
	kept := selected(obj.Object, keep)
	if !slices.Contains(keep, "metadata.annotations") {
		delete(metadata, "annotations")
	}
	if spec, ok := obj.Object["spec"].(map[string]any); ok && kept["spec"] == nil && len(specRead[kind]) > 0 {
		part := map[string]any{}
		for _, field := range specRead[kind] {
			if value, ok := spec[field]; ok {
				part[field] = value
			}
		}
		kept["spec"] = part
	}
	for _, field := range []string{"apiVersion", "kind", "metadata", "status"} {
		if value, ok := obj.Object[field]; ok {
			kept[field] = value
		}
	}
	if kind == podKind && len(keep) == 0 {
		trimPodStatus(kept)
	}
	obj.Object = kept
}

// selected returns those parts of content that the paths lead to.
func selected(content map[string]any, paths []string) map[string]any {
	out := map[string]any{}
	for _, path := range paths {
		fields := strings.Split(path, ".")
		value, ok, _ := unstructured.NestedFieldNoCopy(content, fields...)
		if !ok {
			continue
		}
		to := out
		for _, field := range fields[:len(fields)-1] {
			next, ok := to[field].(map[string]any)
			if !ok {
				next = map[string]any{}
				to[field] = next
			}
			to = next
		}
		to[fields[len(fields)-1]] = value
	}
	return out
}

// trimPodStatus keeps of a pod's status what rules read.
func trimPodStatus(content map[string]any) {
	status, ok := content["status"].(map[string]any)
	if !ok {
		return
	}
	part := pick(status, "phase", "reason", "message", "conditions", "observedGeneration", "startTime")
	for _, list := range []string{"containerStatuses", "initContainerStatuses"} {
		containers, ok := status[list].([]any)
		if !ok {
			continue
		}
		trimmed := make([]any, 0, len(containers))
		for _, c := range containers {
			if fields, ok := c.(map[string]any); ok {
				trimmed = append(trimmed, pick(fields, "name", "ready", "restartCount", "state"))
			}
		}
		part[list] = trimmed
	}
	content["status"] = part
}

func pick(from map[string]any, fields ...string) map[string]any {
	to := make(map[string]any, len(fields))
	for _, field := range fields {
		if value, ok := from[field]; ok {
			to[field] = value
		}
	}
	return to
}
