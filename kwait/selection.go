// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/restmapper"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// reference is an argument: a name of an object, or all objects of a type that are
// selected. The type is a resource, its short name or its kind, perhaps with a version
// and a group.
type reference struct{ resource, name string }

// parseReferences parses the arguments as kubectl does: TYPE/NAME ..., TYPE[,TYPE] NAME
// ..., or TYPE[,TYPE] if the objects are selected.
func parseReferences(args []string, selected bool) ([]reference, error) {
	switch {
	case len(args) == 0 && selected:
		return nil, errors.New("-l and --all need a type, such as deployments")
	case len(args) == 0:
		return nil, nil
	}
	var refs []reference
	if slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "/") }) {
		if selected {
			return nil, fmt.Errorf("%q: -l and --all take types without names", args)
		}
		for _, arg := range args {
			resource, name, ok := strings.Cut(arg, "/")
			if !ok || strings.Contains(resource, ",") {
				return nil, fmt.Errorf("%q: want TYPE/NAME, as the other arguments are", arg)
			}
			refs = append(refs, reference{resource, name})
		}
	} else {
		names := args[1:]
		switch {
		case selected && len(names) > 0:
			return nil, fmt.Errorf("%q: -l and --all take types without names, separated by commas", args)
		case selected:
			names = []string{""}
		case len(names) == 0:
			return nil, fmt.Errorf("%q: name the object, such as %s/NAME, or select objects with -l or --all", args[0], args[0])
		}
		for resource := range strings.SplitSeq(args[0], ",") {
			for _, name := range names {
				refs = append(refs, reference{resource, name})
			}
		}
	}
	for _, ref := range refs {
		if ref.resource == "" {
			return nil, fmt.Errorf("%q: a type is missing", args)
		}
		if wrong := content.IsPathSegmentName(ref.name); !selected && (ref.name == "" || len(wrong) > 0) {
			return nil, fmt.Errorf("%s %q: not a name of an object %s", ref.resource, ref.name, strings.Join(wrong, ", "))
		}
	}
	return refs, nil
}

// resolver finds the objects of references.
type resolver struct {
	mapper    meta.RESTMapperWithContext
	metadata  metadata.Interface
	namespace string // of namespaced objects; empty: all
	selector  string
}

func newResolver(client discovery.DiscoveryInterface, objects metadata.Interface, namespace, selector string) *resolver {
	cached := memory.NewMemCacheClientWithContext(discovery.ToDiscoveryInterfaceWithContext(client))
	mapper := restmapper.NewDeferredDiscoveryRESTMapperWithContext(cached)
	return &resolver{
		mapper:    restmapper.NewShortcutExpanderWithContext(mapper, cached, nil),
		metadata:  objects,
		namespace: namespace,
		selector:  selector,
	}
}

// resolve returns the IDs of the objects, in the order of the references.
func (r *resolver) resolve(ctx context.Context, refs []reference) ([]status.ID, error) {
	var ids []status.ID
	for _, ref := range refs {
		mapping, err := r.mapping(ctx, ref.resource)
		if err != nil {
			return nil, fmt.Errorf("find the type %q: %s", ref.resource, informer.Explain(err))
		}
		id := status.ID{GroupKind: mapping.GroupVersionKind.GroupKind(), Name: ref.name}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			id.Namespace = r.namespace
		}
		if ref.name != "" {
			ids = append(ids, id)
			continue
		}
		selected, err := r.list(ctx, mapping.Resource, id)
		if err != nil {
			return nil, fmt.Errorf("list %s: %s", mapping.Resource.GroupResource(), informer.Explain(err))
		}
		ids = append(ids, selected...)
	}
	return ids, nil
}

// mapping finds a type by its resource, singular or plural, its short name, or its kind.
func (r *resolver) mapping(ctx context.Context, name string) (*meta.RESTMapping, error) {
	versioned, resource := schema.ParseResourceArg(name)
	var kind schema.GroupVersionKind
	var err error
	if versioned != nil {
		kind, _ = r.mapper.KindForWithContext(ctx, *versioned)
	}
	if kind.Empty() {
		kind, err = r.mapper.KindForWithContext(ctx, resource.WithVersion(""))
	}
	if err == nil {
		return r.mapper.RESTMappingWithContext(ctx, kind.GroupKind(), kind.Version)
	}
	if !meta.IsNoMatchError(err) {
		return nil, err
	}
	if versioned, kind := schema.ParseKindArg(name); versioned != nil {
		if mapping, err := r.mapper.RESTMappingWithContext(ctx, versioned.GroupKind(), versioned.Version); err == nil {
			return mapping, nil
		}
	} else if mapping, err := r.mapper.RESTMappingWithContext(ctx, kind); err == nil {
		return mapping, nil
	}
	return nil, errors.New("the server does not have it")
}

// list returns the selected objects of the kind and namespace of id.
func (r *resolver) list(ctx context.Context, resource schema.GroupVersionResource, id status.ID) ([]status.ID, error) {
	var ids []status.ID
	opts := metav1.ListOptions{LabelSelector: r.selector, Limit: 500}
	for {
		page, err := r.metadata.Resource(resource).Namespace(id.Namespace).List(ctx, opts)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			ids = append(ids, status.ID{GroupKind: id.GroupKind, Namespace: page.Items[i].Namespace, Name: page.Items[i].Name})
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			return ids, nil
		}
	}
}
