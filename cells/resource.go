// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/resource"
)

// Resource provides a resource.Resource[T] of the objects that the options select.
// Default: all objects of the kind.
//
//	cells.Resource[*corev1.Pod](cells.InNamespace("shop"), cells.WithLabelSelector("app=web"))
//
// The kind is that of T in client-go's scheme, or in the scheme of [WithScheme]. For
// *unstructured.Unstructured the option [Unstructured] names the kind, for
// *metav1.PartialObjectMetadata the option [Metadata].
//
// The hive must have [Client], [ClientFrom] or [FakeClient], or a cluster for [OfCluster].
// The first use of the resource
// makes the first request: discovery, once for each group and version that the program
// uses. A kind that is not installed is reported as informer.CauseNotInstalled, and looked
// up again every five to ten seconds. If the client is disabled, the resource is a
// resource.Disabled, with an error that wraps [ErrNotConfigured].
//
// The name of the resource is its kind, such as "Pod.v1" or "Deployment.v1.apps", unless
// resource.WithName sets it. Logs, cell.Health and [Metrics] have the resource under this
// name. Health and metrics are optional.
//
// A hive can have one Resource of each T. For more, see [ResourceAs].
func Resource[T runtime.Object](opts ...Option) cell.Cell {
	return resourceCell[T](opts, "", func(p Params) (resource.Resource[T], error) {
		return NewResource[T](p, opts...)
	})
}

// ResourceAs is [Resource] under a type of your own, since a hive holds one value of
// each type:
//
//	type LocalPods resource.Resource[*corev1.Pod]
//
//	cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) LocalPods { return r },
//		cells.WithFieldSelector("spec.nodeName=node-1"))
//
// The default name of the resource is the name of the type, such as "main.LocalPods". as
// is called once, when the resource is constructed.
func ResourceAs[R any, T runtime.Object](as func(resource.Resource[T]) R, opts ...Option) cell.Cell {
	name := reflect.TypeFor[R]().String()
	return resourceCell[T](opts, name, func(p Params) (R, error) {
		var none R
		if as == nil {
			return none, fmt.Errorf("cells.ResourceAs for %s: the function is nil", name)
		}
		r, err := NewResource[T](p, append([]Option{func(o *options) { o.name = name }}, opts...)...)
		if err != nil {
			return none, err
		}
		return as(r), nil
	})
}

// Params has what [NewResource], [NewMirror] and [NewPush] need from the hive.
type Params struct {
	cell.In

	Lifecycle cell.Lifecycle
	Client    *ClientState `optional:"true"` // nil if the hive has named clusters only
	Clusters  Clusters
	Log       *slog.Logger
	Health    cell.Health `optional:"true"`
}

type resourceHook[T runtime.Object] struct{ hook }

// NewResource is [Resource] for constructors of your own, for example with a selector that
// depends on a flag:
//
//	cell.Provide(func(p cells.Params, cfg Config) (resource.Resource[*corev1.Pod], error) {
//		return cells.NewResource[*corev1.Pod](p, cells.WithFieldSelector("spec.nodeName="+cfg.NodeName))
//	})
//
// It makes no request. It fails if an option is invalid. [Private] has no effect here.
func NewResource[T runtime.Object](p Params, opts ...Option) (resource.Resource[T], error) {
	o := gather(opts)
	scope, err := o.scope(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("resource of %s: %w", reflect.TypeFor[T](), err)
	}
	name := cmp.Or(o.name, scope.target.String())
	if p, err = p.of(o); err != nil {
		return nil, fmt.Errorf("resource %s: %w", name, err)
	}
	// resource.WithName can set the name.
	name = nameOf(resource.Disabled[T](nil, append([]resource.Option{resource.WithName(name)}, o.resource...)...))
	log := p.logger(name, scope)
	name = p.Client.named(name)
	o.resource = append(slices.Clip(o.resource), resource.WithName(name))
	f := p.newFollowed(FollowedResource, name, scope, o)
	reading, err := f.reading(o, log)
	if err != nil {
		return nil, fmt.Errorf("resource %s: %w", name, err)
	}
	ended := func() {}
	// Hooks stop in reverse order: this one after the informer has ended.
	p.Lifecycle.Append(resourceHook[T]{hook{
		info: "resource " + name,
		stop: func(cell.HookContext) error {
			ended()
			return nil
		},
	}})
	if !p.Client.IsEnabled() {
		p.follow(f)
		return resource.Disabled[T](p.Client.Err(), append([]resource.Option{resource.WithLogger(p.Log)}, o.resource...)...), nil
	}
	all := []resource.Option{
		resource.WithLogger(log),
		resource.WithObserver(f.observer(log)),
		resource.WithSourceOptions(reading...),
	}
	all = append(all, o.resource...)
	var r resource.Resource[T]
	if scope.set == nil {
		r = resource.New[T](p.Lifecycle, &listWatch{scope: scope, client: p.Client}, all...)
	} else {
		r = resource.NewInNamespaces[T](p.Lifecycle, scope.set, func(namespace string) cache.ListerWatcher {
			return &listWatch{scope: scope.in(namespace), client: p.Client}
		}, all...)
	}
	f.resource, f.resync, f.access = r.(resource.Inspector).Stats, r.Resync, newAccess(r)
	f.synced = func(ctx context.Context) error {
		_, err := r.Store(ctx)
		return err
	}
	ended = p.follow(f)
	return r, nil
}

// nameOf returns the name of a resource that package resource made.
func nameOf[T runtime.Object](r resource.Resource[T]) string {
	return r.(resource.Inspector).Stats().Name
}

// logger returns the logger of what reads scope. The attribute selects shows the scope if
// the name does not.
func (p Params) logger(name string, scope scope) *slog.Logger {
	if selects := scope.String(); selects != name {
		return p.Log.With("selects", selects)
	}
	return p.Log
}

// resourceCell puts a constructor in a module of its own, unless it is private. The
// inspection command of hive, logs and health show the module.
func resourceCell[T runtime.Object](opts []Option, as string, constructor any) cell.Cell {
	o := gather(opts)
	if o.private {
		return cell.ProvidePrivate(constructor)
	}
	id, description := titles[T](o)
	if as != "" {
		id = as[strings.LastIndex(as, ".")+1:]
	}
	return cell.Module(moduleID(id), moduleDescription("Resource "+description), cell.Provide(constructor))
}

// titles returns the kind and the scope of T, for the titles of modules.
func titles[T any](o *options) (id, description string) {
	scope, err := o.scope(reflect.TypeFor[T]())
	if err != nil { // the constructor returns it
		id = strings.TrimPrefix(reflect.TypeFor[T]().String(), "*")
		return id, id
	}
	id, description = scope.target.String(), scope.String()
	if o.cluster != "" {
		id, description = o.cluster+" "+id, description+" of cluster "+o.cluster
	}
	return id, description
}

var (
	notInID          = regexp.MustCompile(`[^a-z0-9_]+`)
	notInDescription = regexp.MustCompile(`[^a-zA-Z0-9_\-]+`)
	humps            = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// moduleID makes an id that hive accepts: at most 31 of [a-z0-9_-].
func moduleID(name string) string {
	id := strings.ToLower(humps.ReplaceAllString(name, "$1-$2"))
	return fit("k8s-"+strings.Trim(notInID.ReplaceAllString(id, "-"), "-"), 31, name)
}

// moduleDescription makes a description that hive accepts: at most 80 of
// [a-zA-Z0-9_\- ].
func moduleDescription(s string) string {
	return fit(strings.TrimSpace(notInDescription.ReplaceAllString(s, " ")), 80, s)
}

// fit cuts a title to limit bytes. A title that is cut ends with a hash of what it is made
// of, so that others that begin alike differ.
func fit(title string, limit int, of string) string {
	if len(title) <= limit {
		return title
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(of))
	hash := fmt.Sprintf("-%08x", h.Sum32())
	title = title[:limit-len(hash)]
	if word := strings.LastIndex(title, " "); word > limit/2 {
		title = title[:word]
	}
	return strings.TrimRight(title, "- ") + hash
}
