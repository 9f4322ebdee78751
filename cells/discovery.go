// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer"
)

// kinds maps kinds to resources by discovery.
//
// It requests one group and version at a time, and caches the response. So a program makes
// one request for each group that it uses, and broken groups of others do no harm. Unlike
// client-go's discovery, a request ends with its context. Failures are not cached and not
// retried here: the Reflector retries with a backoff.
type kinds struct {
	client rest.Interface

	mu     sync.Mutex
	groups map[string]*groupVersion // by path
}

// groupVersion is the answer for one group and version.
type groupVersion struct {
	// turn is held during a request.
	turn chan struct{}

	// Guarded by turn.
	resources []metav1.APIResource
	known     bool
}

func newKinds(client rest.Interface) *kinds {
	return &kinds{client: client, groups: map[string]*groupVersion{}}
}

// target names a kind as far as it is known before the server is asked. Kind or
// Resource is set; an empty Version is the preferred one of the group.
type target struct {
	Group, Version, Kind, Resource string
}

func (t target) String() string {
	name := t.Kind
	if name == "" {
		name = t.Resource
	}
	if t.Version != "" {
		name += "." + t.Version
	}
	if t.Group != "" {
		name += "." + t.Group
	}
	return name
}

// noMatch is the error that meta.IsNoMatchError recognises.
func (t target) noMatch(version string) error {
	if t.Kind != "" {
		err := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: t.Group, Kind: t.Kind}}
		if version != "" {
			err.SearchedVersions = []string{version}
		}
		return err
	}
	return &meta.NoResourceMatchError{
		PartialResource: schema.GroupVersionResource{Group: t.Group, Version: version, Resource: t.Resource},
	}
}

// found describes a target, from discovery.
type found struct {
	resource   schema.GroupVersionResource
	kind       schema.GroupVersionKind
	namespaced bool
	status     bool // whether it has the subresource
}

// find returns t from the cache or the server. If the server does not have t,
// meta.IsNoMatchError is true for the error.
func (k *kinds) find(ctx context.Context, t target) (found, error) {
	version := t.Version
	if version == "" {
		var err error
		if version, err = k.preferred(ctx, t); err != nil {
			return found{}, err
		}
	}
	gv := schema.GroupVersion{Group: t.Group, Version: version}
	resources, cached, err := k.resources(ctx, gv, false)
	if err == nil && cached && !slices.ContainsFunc(resources, t.matches) {
		// The cached response can be older than the kind.
		resources, _, err = k.resources(ctx, gv, true)
	}
	if apierrors.IsNotFound(err) {
		return found{}, t.noMatch(version)
	}
	if err != nil {
		return found{}, fmt.Errorf("discovery: %w", err)
	}
	for _, r := range resources {
		if t.matches(r) {
			return found{
				resource:   gv.WithResource(r.Name),
				kind:       gv.WithKind(r.Kind),
				namespaced: r.Namespaced,
				status:     slices.ContainsFunc(resources, func(sub metav1.APIResource) bool { return sub.Name == r.Name+"/status" }),
			}, nil
		}
	}
	return found{}, t.noMatch(version)
}

// matches reports whether r is what t names, and no subresource of it.
func (t target) matches(r metav1.APIResource) bool {
	for _, c := range r.Name {
		if c == '/' {
			return false
		}
	}
	if t.Resource != "" {
		return r.Name == t.Resource
	}
	return r.Kind == t.Kind
}

// preferred asks for the preferred version of a group.
func (k *kinds) preferred(ctx context.Context, t target) (string, error) {
	if t.Group == "" {
		return "v1", nil
	}
	group := &metav1.APIGroup{}
	err := k.get(ctx, "/apis/"+t.Group, group)
	switch {
	case apierrors.IsNotFound(err):
		return "", t.noMatch("")
	case err != nil:
		return "", fmt.Errorf("discovery: %w", err)
	case group.PreferredVersion.Version != "":
		return group.PreferredVersion.Version, nil
	case len(group.Versions) > 0:
		return group.Versions[0].Version, nil
	default:
		return "", t.noMatch("")
	}
}

// get reads a path of the server into obj. If something else than an API server answers,
// it returns an informer.AnswerError.
func (k *kinds) get(ctx context.Context, path string, obj runtime.Object) error {
	result := k.client.Get().AbsPath(path).MaxRetries(0).Do(ctx)
	err := result.Into(obj)
	body, failure := result.Raw()
	if err == nil || failure != nil {
		return err
	}
	var code int
	var contentType string
	result.StatusCode(&code).ContentType(&contentType)
	if len(body) == 0 || strings.HasPrefix(contentType, "text/") {
		return informer.NewAnswerError(code, contentType, body)
	}
	return err
}

// forget removes gv from the cache.
func (k *kinds) forget(ctx context.Context, gv schema.GroupVersion) {
	k.mu.Lock()
	g := k.groups[path(gv)]
	k.mu.Unlock()
	if g == nil {
		return
	}
	select {
	case g.turn <- struct{}{}:
		g.known, g.resources = false, nil
		<-g.turn
	case <-ctx.Done():
	}
}

// absent asks the server whether it lacks t. It is true only if the server describes its
// groups, or the group and version of t, and t is in none of them.
func (t target) absent(ctx context.Context, client rest.Interface) (bool, error) {
	version := t.Version
	if t.Group == "" && version == "" {
		version = "v1"
	}
	if t.Group != "" {
		groups := &metav1.APIGroupList{}
		if err := client.Get().AbsPath("/apis").MaxRetries(0).Do(ctx).Into(groups); err != nil {
			return false, fmt.Errorf("discovery: %w", err)
		}
		if len(groups.Groups) == 0 {
			return false, errors.New("discovery: the list of groups is empty, so nothing can be concluded")
		}
		i := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == t.Group })
		if i < 0 {
			return true, nil
		}
		if version == "" {
			version = groups.Groups[i].PreferredVersion.Version
		}
		has := func(v metav1.GroupVersionForDiscovery) bool { return v.Version == version }
		if !slices.ContainsFunc(groups.Groups[i].Versions, has) {
			return true, nil
		}
	}
	gv := schema.GroupVersion{Group: t.Group, Version: version}
	list := &metav1.APIResourceList{}
	if err := client.Get().AbsPath(path(gv)).MaxRetries(0).Do(ctx).Into(list); err != nil {
		return false, fmt.Errorf("discovery: %w", err)
	}
	if list.GroupVersion != gv.String() {
		return false, fmt.Errorf("discovery: asked for %s, the server describes %q", gv, list.GroupVersion)
	}
	return !slices.ContainsFunc(list.APIResources, t.matches), nil
}

// path is where the server describes gv.
func path(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "/api/" + gv.Version
	}
	return "/apis/" + gv.Group + "/" + gv.Version
}

// resources returns the resources of gv, and whether they are from the cache. Concurrent
// calls for the same gv share one request.
func (k *kinds) resources(ctx context.Context, gv schema.GroupVersion, fresh bool) (_ []metav1.APIResource, cached bool, _ error) {
	k.mu.Lock()
	g := k.groups[path(gv)]
	if g == nil {
		g = &groupVersion{turn: make(chan struct{}, 1)}
		k.groups[path(gv)] = g
	}
	k.mu.Unlock()

	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	if g.known && !fresh {
		return g.resources, true, nil
	}
	list := &metav1.APIResourceList{}
	if err := k.get(ctx, path(gv), list); err != nil {
		g.known, g.resources = false, nil
		return nil, false, err
	}
	g.known, g.resources = true, list.APIResources
	return list.APIResources, false, nil
}
