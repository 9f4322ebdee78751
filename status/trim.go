// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// trimAll is the path of all fields.
const trimAll = "*"

var (
	trimTop      = []string{"apiVersion", "kind"}
	trimMetadata = []string{
		"name", "namespace", "uid", "labels", "ownerReferences", "generation", "resourceVersion",
		"creationTimestamp", "deletionTimestamp", "finalizers",
	}
	trimPodStatus = []string{
		"phase", "reason", "message", "conditions", "observedGeneration", "containerStatuses", "initContainerStatuses",
	} // trimContainers among them
	trimContainers = []string{"containerStatuses", "initContainerStatuses"}
	trimContainer  = []string{"name", "ready", "restartCount", "state"}
)

// Trim removes from obj what no rule reads:
//
//   - the managed fields and the annotations
//   - of the spec, all except a few fields of kinds with a rule of their own
//   - of the status of a Pod, all except the phase, the conditions and the states of
//     containers; of that of a Node, the images
//   - everything outside metadata, spec and status, such as the data of a Secret
//
// The fields in Keep stay, and all except the managed fields with KeepAll. An object of a kind in ByKind loses only the managed fields,
// unless Keep has the kind too.
//
// Compute returns the same for the object before and after. Trim modifies obj, but none
// of its maps and slices: it replaces them. A nil obj is allowed.
func (r *Rules) Trim(obj *unstructured.Unstructured) {
	if obj == nil || obj.Object == nil {
		return
	}
	kind := obj.GroupVersionKind().GroupKind()
	keep, whole := r.trimKeep(kind)
	if whole {
		obj.Object = maps.Clone(obj.Object)
		trimSet(obj.Object, "metadata", trimWithout(obj.Object["metadata"], "managedFields"))
		return
	}
	old := obj.Object
	trimmed := make(map[string]any, len(trimTop)+3)
	for _, name := range trimTop {
		trimSet(trimmed, name, old[name])
	}
	trimSet(trimmed, "metadata", trimSection(old["metadata"], trimMetadata))
	trimSet(trimmed, "spec", trimSection(old["spec"], r.ruleKind(kind).spec))
	switch kind {
	case podKind:
		trimSet(trimmed, "status", trimPod(old["status"]))
	case nodeKind:
		trimSet(trimmed, "status", trimWithout(old["status"], "images"))
	default:
		trimSet(trimmed, "status", old["status"])
	}
	for _, path := range keep {
		trimmed, _ = trimRestored(trimmed, old, strings.Split(path, ".")).(map[string]any)
	}
	obj.Object = trimmed
}

// trimKeep returns the paths to keep in addition, and whether to keep everything.
func (r *Rules) trimKeep(kind schema.GroupKind) (keep []string, whole bool) {
	switch {
	case r == nil:
		return nil, false
	case r.KeepAll:
		return nil, true
	}
	keep, listed := r.Keep[kind]
	if _, ok := r.ByKind[kind]; ok && !listed {
		return nil, true
	}
	return keep, slices.Contains(keep, trimAll)
}

// trimMask returns the names for [source.WithFields]. An object that is decoded with
// only these fields is the same after Trim. A malformed one can differ, but not its
// status. masked is false if all fields are needed.
func (r *Rules) trimMask(kind schema.GroupKind) (names []string, masked bool) {
	keep, whole := r.trimKeep(kind)
	odd := func(path string) bool { return strings.ContainsAny(path, "[]") } // a mask does not take these in a name
	if whole || slices.ContainsFunc(keep, odd) {
		return nil, false
	}
	names = slices.Concat(trimTop, trimBelow("metadata", trimMetadata), trimBelow("spec", r.ruleKind(kind).spec), keep)
	if kind != podKind {
		return append(names, "status"), true
	}
	for _, field := range trimPodStatus {
		if slices.Contains(trimContainers, field) {
			names = append(names, trimBelow("status."+field, trimContainer)...)
		} else {
			names = append(names, "status."+field)
		}
	}
	return names, true
}

// trimBelow returns the paths of the named fields below a path.
func trimBelow(path string, names []string) []string {
	below := make([]string, len(names))
	for i, name := range names {
		below[i] = path + "." + name
	}
	return below
}

// trimPathValid reports whether Keep can have a path.
func trimPathValid(path string) bool {
	return !slices.Contains(strings.Split(path, "."), "") && (path == trimAll || !strings.Contains(path, trimAll))
}

// trimSet sets a field, unless v is nil.
func trimSet(fields map[string]any, name string, v any) {
	if v != nil {
		fields[name] = v
	}
}

// trimPick returns the named fields: in a copy, or fields itself if there are no
// others.
func trimPick(fields map[string]any, names []string) map[string]any {
	n := trimCount(fields, names)
	if n == len(fields) {
		return fields
	}
	picked := make(map[string]any, n)
	for _, name := range names {
		if v, ok := fields[name]; ok {
			picked[name] = v
		}
	}
	return picked
}

// trimCount returns how many fields have one of the given names.
func trimCount(fields map[string]any, names []string) (n int) {
	for _, name := range names {
		if _, ok := fields[name]; ok {
			n++
		}
	}
	return n
}

// trimSection is trimPick for a field that should hold an object. A value of another
// type is kept, since the rule reports it, unless names is empty. It is nil if nothing
// is left.
func trimSection(v any, names []string) any {
	if len(names) == 0 {
		return nil
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return v
	}
	picked := trimPick(fields, names)
	if len(picked) == 0 {
		return nil
	}
	return picked
}

// trimWithout returns the object v without a field: a copy, or v itself if it has none.
func trimWithout(v any, name string) any {
	fields, ok := v.(map[string]any)
	if _, has := fields[name]; !ok || !has {
		return v
	}
	rest := maps.Clone(fields)
	delete(rest, name)
	return rest
}

func trimPod(v any) any {
	status, ok := trimSection(v, trimPodStatus).(map[string]any)
	if !ok {
		return trimSection(v, trimPodStatus)
	}
	copied := false
	for _, field := range trimContainers {
		list, ok := status[field].([]any)
		if !ok || !slices.ContainsFunc(list, trimChangesContainer) {
			continue
		}
		if !copied {
			status, copied = maps.Clone(status), true
		}
		trimmed := make([]any, len(list))
		for i, container := range list {
			trimmed[i] = trimSection(container, trimContainer)
		}
		status[field] = trimmed
	}
	return status
}

// trimChangesContainer reports whether trimSection changes a container.
func trimChangesContainer(v any) bool {
	fields, ok := v.(map[string]any)
	return ok && (len(fields) == 0 || trimCount(fields, trimContainer) < len(fields))
}

// trimRestored returns a copy of trimmed with the value that old has at the path.
func trimRestored(trimmed any, old map[string]any, path []string) any {
	v, ok := old[path[0]]
	if !ok {
		return trimmed
	}
	if len(path) > 1 {
		below, ok := v.(map[string]any)
		if !ok {
			return trimmed
		}
		left, _ := trimmed.(map[string]any)
		if v = trimRestored(left[path[0]], below, path[1:]); v == nil {
			return trimmed
		}
	}
	fields, _ := trimmed.(map[string]any)
	restored := make(map[string]any, len(fields)+1)
	maps.Copy(restored, fields)
	restored[path[0]] = v
	return restored
}
