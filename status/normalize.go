// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"fmt"
	"maps"
	"strings"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/internal/redact"
)

// ruleField is a field that a rule of kstatus reads.
type ruleField struct {
	path   []string
	number bool // else a string
}

func ruleFieldsOf(number bool, paths ...string) []ruleField {
	fields := make([]ruleField, len(paths))
	for i, path := range paths {
		fields[i] = ruleField{strings.Split(path, "."), number}
	}
	return fields
}

var (
	statefulSetFields = append(ruleFieldsOf(false, "spec.updateStrategy.type", "status.currentRevision", "status.updateRevision"),
		ruleFieldsOf(true, "spec.replicas", "spec.updateStrategy.rollingUpdate.partition", "status.replicas",
			"status.readyReplicas", "status.currentReplicas", "status.updatedReplicas")...)
	daemonSetFields = ruleFieldsOf(true, "metadata.generation", "status.observedGeneration",
		"status.desiredNumberScheduled", "status.currentNumberScheduled", "status.updatedNumberScheduled",
		"status.numberAvailable", "status.numberReady")
	serviceFields = ruleFieldsOf(false, "spec.type", "spec.clusterIP")
	claimFields   = ruleFieldsOf(false, "status.phase")
)

// ruleFromKstatus applies the rule of kstatus for the kind. The rule gets obj, or a
// copy in which the fields in reads have the types that kstatus wants.
func ruleFromKstatus(obj *unstructured.Unstructured, reads ...ruleField) (Result, error) {
	fields, err := normalized(obj.Object, reads)
	if err != nil {
		return Result{}, err
	}
	rule := kstatus.GetLegacyConditionsFn(obj)
	if rule == nil {
		return Result{}, fmt.Errorf("kstatus has no rule for %s", obj.GroupVersionKind().GroupKind())
	}
	result, err := rule(&unstructured.Unstructured{Object: fields})
	if err != nil {
		return Result{}, redact.Error(err)
	}
	return Result{Status: Status(result.Status), Message: result.Message}, nil
}

// normalized returns obj with the fields in reads of the types that kstatus wants:
// numbers are int64, and none is null. It returns obj itself if nothing differs, and
// otherwise a copy that shares the rest with obj.
func normalized(obj map[string]any, reads []ruleField) (map[string]any, error) {
	o := ruleObject{}
	for _, field := range reads {
		parent := ruleFields{fields: obj}
		last := len(field.path) - 1
		for _, name := range field.path[:last] {
			parent = o.in(parent, name)
		}
		name := field.path[last]
		v, ok := parent.fields[name]
		switch {
		case !ok:
		case v == nil:
			obj = normalizedWith(obj, field.path, nil)
		case field.number:
			n, _ := o.count(parent, name)
			if _, ok := v.(int64); !ok {
				obj = normalizedWith(obj, field.path, n)
			}
		default:
			o.text(parent, name)
		}
		if o.err != nil {
			return nil, o.err
		}
	}
	return obj, nil
}

// normalizedWith returns a copy of fields with v at the path, or without the field at
// the path if v is nil. The field must exist.
func normalizedWith(fields map[string]any, path []string, v any) map[string]any {
	fields = maps.Clone(fields)
	switch {
	case len(path) > 1:
		below, _ := fields[path[0]].(map[string]any)
		fields[path[0]] = normalizedWith(below, path[1:], v)
	case v == nil:
		delete(fields, path[0])
	default:
		fields[path[0]] = v
	}
	return fields
}
