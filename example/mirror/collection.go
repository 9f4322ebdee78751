// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// collection is the objects that one informer mirrors: a resource, in one namespace or
// in all.
type collection struct {
	resource  schema.GroupVersionResource
	namespace string
}

// String returns the name of the collection in the file and in printed lines, such as
// "pods.v1", "deployments.v1.apps", or "shop/pods.v1" for one namespace.
//
// The name has everything that selects the objects, since a resume version is valid for
// the same selection only. A new selection begins with a list.
func (c collection) String() string {
	name := c.resource.Resource + "." + c.resource.Version
	if c.resource.Group != "" {
		name += "." + c.resource.Group
	}
	if c.namespace != "" {
		name = c.namespace + "/" + name
	}
	return name
}

// resourceName is resource[.version[.group]].
var resourceName = regexp.MustCompile(`^([a-z][-a-z0-9]*)(?:\.(v[0-9]+(?:(?:alpha|beta)[0-9]+)?)(?:\.([a-z0-9][-.a-z0-9]*))?)?$`)

// parseCollections parses the arguments of the command. It makes no request, so it
// works without a server. The informer reports resources that the server does not have,
// and waits for them.
func parseCollections(namespace string, args []string) (list []collection, err error) {
	for _, arg := range args {
		parts := resourceName.FindStringSubmatch(arg)
		if parts == nil {
			return nil, fmt.Errorf("%q: want a resource as plural, version and group, such as pods, pods.v1 or deployments.v1.apps", arg)
		}
		c := collection{namespace: namespace}
		c.resource = schema.GroupVersionResource{Resource: parts[1], Version: parts[2], Group: parts[3]}
		if c.resource.Version == "" {
			c.resource.Version = "v1"
		}
		if slices.Contains(list, c) {
			return nil, fmt.Errorf("%q: %s is named twice", arg, c)
		}
		list = append(list, c)
	}
	return list, nil
}
