// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// selection selects the objects of a list or a watch.
type selection struct {
	namespace string
	labels    labels.Selector
	fields    fields.Selector
	paths     map[string][]string // of the fields
	name      string              // if the field selector has metadata.name
}

func selectionOf(req Request, kind Kind) (selection, error) {
	sel := selection{namespace: req.Namespace, paths: map[string][]string{}}
	var err error
	if sel.labels, err = labels.Parse(req.Options.LabelSelector); err != nil {
		return sel, apierrors.NewBadRequest("unable to parse requirement: " + err.Error())
	}
	if sel.fields, err = fields.ParseSelector(req.Options.FieldSelector); err != nil {
		return sel, apierrors.NewBadRequest(err.Error())
	}
	for _, r := range sel.fields.Requirements() {
		if !kind.selectable(r.Field) {
			return sel, apierrors.NewBadRequest(fmt.Sprintf("Unable to find %q that match label selector %q, field selector %q: field label not supported: %s",
				req.Resource, req.Options.LabelSelector, req.Options.FieldSelector, r.Field))
		}
		sel.paths[r.Field] = strings.Split(r.Field, ".")
	}
	return sel, nil
}

// selectable returns true if field selectors of the kind can have this field.
func (k Kind) selectable(field string) bool {
	switch field {
	case "metadata.name":
		return true
	case "metadata.namespace":
		// Custom resources, and kinds with a list of fields of their own, have it only if they
		// have a namespace.
		return !k.ClusterScoped || !k.traits.custom && len(k.traits.fields) == 0
	}
	return slices.Contains(k.traits.fields, field)
}

func (s selection) matches(obj runtime.Object) bool {
	accessor, _ := meta.Accessor(obj)
	if s.namespace != "" && accessor.GetNamespace() != s.namespace || !s.labels.Matches(labels.Set(accessor.GetLabels())) {
		return false
	}
	if s.fields.Empty() {
		return true
	}
	m, err := toMap(obj)
	if err != nil {
		return false
	}
	set := fields.Set{}
	for field, path := range s.paths {
		set[field] = fieldOf(m, field, path)
	}
	return s.fields.Matches(set)
}

// fieldOf returns the value of a field as field selectors compare it.
func fieldOf(m map[string]any, field string, path []string) string {
	switch field {
	case "spec.host":
		path = []string{"spec", "nodeName"}
	case "spec.hostNetwork", "spec.unschedulable": // the zero value is not in the map
		value, _, _ := unstructured.NestedBool(m, path...)
		return fmt.Sprint(value)
	case "status.replicas":
		value, _, _ := unstructured.NestedInt64(m, path...)
		return fmt.Sprint(value)
	case "status.successful":
		value, _, _ := unstructured.NestedInt64(m, "status", "succeeded")
		return fmt.Sprint(value)
	case "status.podIP":
		ips, _, _ := unstructured.NestedSlice(m, "status", "podIPs")
		if len(ips) > 0 {
			first, _ := ips[0].(map[string]any)
			return fmt.Sprint(first["ip"])
		}
	case "reportingComponent", "source":
		component, _, _ := unstructured.NestedString(m, "source", "component")
		if field == "reportingComponent" || component == "" {
			component, _, _ = unstructured.NestedString(m, "reportingComponent")
		}
		return component
	}
	value, found, _ := unstructured.NestedFieldNoCopy(m, path...)
	if !found || value == nil {
		return ""
	}
	return fmt.Sprint(value)
}
