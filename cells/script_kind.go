// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// defaultNamespace is that of namespaced objects without one, as for kubectl.
const defaultNamespace = "default"

// kindHelp describes what findKind takes.
var kindHelp = []string{
	"A resource is named as in Cilium ('v1.pods', 'apps.v1.deployments'), as for kubectl",
	"('pods', 'deployments.apps', 'deployments.v1.apps'), or by its kind ('Pod.v1').",
}

// findKind returns the kind that a command names. If the mapper does not know it, discovery
// is done again.
func findKind(mapper meta.ResettableRESTMapper, name string) (*meta.RESTMapping, error) {
	find := func() (*meta.RESTMapping, error) {
		for _, candidate := range candidates(name) {
			gvk, err := mapper.KindFor(candidate)
			switch {
			case meta.IsNoMatchError(err):
				continue
			case err != nil:
				return nil, fmt.Errorf("resource %q: %w", name, err)
			}
			return mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		}
		return nil, &meta.NoResourceMatchError{PartialResource: schema.GroupVersionResource{Resource: name}}
	}
	return again(mapper, find)
}

// mappingOf returns the mapping of a kind. If the mapper does not know it, discovery is done
// again.
func mappingOf(mapper meta.ResettableRESTMapper, gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	return again(mapper, func() (*meta.RESTMapping, error) { return mapper.RESTMapping(gvk.GroupKind(), gvk.Version) })
}

func again(mapper meta.ResettableRESTMapper, find func() (*meta.RESTMapping, error)) (*meta.RESTMapping, error) {
	mapping, err := find()
	if meta.IsNoMatchError(err) {
		mapper.Reset()
		mapping, err = find()
	}
	return mapping, err
}

// candidates returns what a name can mean.
func candidates(name string) (all []schema.GroupVersionResource) {
	parts := strings.Split(name, ".")
	last := len(parts) - 1
	if last == 0 {
		return []schema.GroupVersionResource{{Resource: name}}
	}
	if versionPattern.MatchString(parts[last-1]) { // apps.v1.deployments
		all = append(all, schema.GroupVersionResource{
			Group: strings.Join(parts[:last-1], "."), Version: parts[last-1], Resource: parts[last],
		})
	}
	if versionPattern.MatchString(parts[1]) { // deployments.v1.apps, Pod.v1
		all = append(all, schema.GroupVersionResource{
			Resource: parts[0], Version: parts[1], Group: strings.Join(parts[2:], "."),
		})
	}
	return append(all, schema.GroupVersionResource{Resource: parts[0], Group: strings.Join(parts[1:], ".")})
}

// resourceName returns the name of a resource as Cilium writes it.
func resourceName(gvr schema.GroupVersionResource) string {
	if gvr.Group == "" {
		return gvr.Version + "." + gvr.Resource
	}
	return gvr.Group + "." + gvr.Version + "." + gvr.Resource
}
